package docs_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestContributing does what CONTRIBUTING.md says to a copy of this repository: a block whose first line names a file is that file,
// or what is added to it at the place that the text names. The tests that know lists of failures then pass in the copy.
func TestContributing(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a copy of the repository")
	}
	text, err := os.ReadFile("../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := copyTree(t, "..")
	write := func(name, content string) {
		t.Helper()
		name = filepath.Join(dir, name)
		_ = os.Remove(name) // a link to the original
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Where a line goes in a file that is there: before the end of its list.
	ends := map[string]string{"api/failures/failures.go": "\n}\n\nvar compounds", "detectors/all/all.go": "\n)\n"}
	touched := map[string]bool{}
	blocks := filesIn(string(text))
	for _, b := range blocks {
		name, content := b[0], b[1]
		touched[filepath.Dir(name)] = true
		old, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			write(name, content)
			continue
		}
		before, after, ok := strings.Cut(string(old), ends[name])
		if !ok || ends[name] == "" || strings.Count(content, "\n") != 1 {
			t.Fatalf("%s is there, and %q is not one line for the end of its list", name, content)
		}
		write(name, before+"\n"+strings.TrimSuffix(content, "\n")+ends[name]+after)
	}
	if len(blocks) != 6 || len(touched) != 4 {
		t.Fatalf("%d blocks in %v; want one line in api/failures and one in detectors/all, a folder in scenarios and one in detectors", len(blocks), touched)
	}
	// make generate
	schema, err := os.ReadFile("scenario.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	write("docs/scenario.schema.json", string(schema))
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"test", "-trimpath", "-vet=off"}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("go test %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	run("./scenarios", "-run", "^TestSchemaIsUpToDate$", "-update")
	// Without what has nothing to do with lists of failures and takes long. By -trimpath the cache knows the tree of an earlier run, which
	// was in another folder.
	run("-short", "-skip", "^(TestRecorded|TestScripts|TestNeeds|TestFoundAfterARestart|FuzzStrangers)$", "./scenarios", "./detectors", "./detectors/all", "./detectors/pod-limit", "./internal/causal", "./docs", "./internal/npd")
	run("./cmd/sickbay", "-run", "^(TestExplain.*|TestCellsOfTheKillMatrix)$")
}

// filesIn are the blocks that name a file after their language, each with its content.
func filesIn(text string) (files [][2]string) {
	fence := ""
	for line := range strings.Lines(text) {
		bare := strings.TrimSpace(line)
		open := regexp.MustCompile("^(`{3,4})[a-z]+ ([^ ]+/[^ ]+)$").FindStringSubmatch(bare)
		switch {
		case fence == "" && open != nil:
			fence = open[1]
			files = append(files, [2]string{open[2]})
		case bare == fence:
			fence = ""
		case fence != "":
			files[len(files)-1][1] += line
		}
	}
	return files
}

// copyTree links every file of the module, without what other modules, git and builds have.
func copyTree(t *testing.T, root string) string {
	dir := t.TempDir()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, p)
		switch {
		case err != nil:
			return err
		case d.IsDir() && (rel == ".git" || rel == "bin" || rel == "dist" || rel == "images"):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(dir, rel), 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		if os.Link(p, filepath.Join(dir, rel)) == nil {
			return nil
		}
		content, err := os.ReadFile(p) // another filesystem
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, rel), content, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
