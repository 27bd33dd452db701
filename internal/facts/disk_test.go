package facts_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
	"github.com/sickbay-dev/sickbay/internal/facts"
)

// What make-room deletes is nobody's at the moment of deletion: the script looks again.
func TestDiscard(t *testing.T) {
	write := func(t *testing.T, path, text string) *os.File {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		return f
	}
	for name, c := range map[string]struct {
		file, text string
		inodes     bool
		open       bool // a process holds it
		stays      string
	}{
		"a file that nobody uses":                 {file: "old.tar", text: "x"},
		"a file that a process writes":            {file: "old.tar", text: "x", open: true, stays: "open"},
		"a directory of empty files":              {file: "tasks/1", inodes: true},
		"a directory of empty files, one held":    {file: "tasks/1", inodes: true, open: true, stays: "open"},
		"a directory with a file that says much":  {file: "tasks/1", text: "x", inodes: true, stays: "empty"},
		"a directory that was replaced by a link": {file: "tasks/1", inodes: true, stays: "no directory"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			f := write(t, filepath.Join(root, c.file), c.text)
			entry := filepath.Join(root, strings.Split(c.file, "/")[0])
			if strings.Contains(name, "link") {
				if err := os.Rename(entry, entry+"-kept"); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(entry+"-kept", entry); err != nil {
					t.Fatal(err)
				}
			}
			if !c.open {
				_ = f.Close()
			}
			o := &v1alpha1.Observation{Runtime: v1alpha1.Runtime{Name: "containerd", RootDir: root}}
			steps, _ := facts.MakeRoom(o, v1alpha1.Filesystem{Path: root, Bytes: 1 << 30, Inodes: 1000,
				TopUsers: []v1alpha1.PathUse{{Path: entry, Bytes: map[bool]int64{false: 1 << 29}[c.inodes], Files: 500, Dir: c.inodes}}}, c.inodes)
			if len(steps) != 1 || steps[0].Class != v1alpha1.Destructive {
				t.Fatalf("%+v", steps)
			}
			out, err := detectorstest.Script(t, steps[0].Exec, "")
			_, gone := os.Lstat(entry)
			if c.stays == "" && (err != nil || !os.IsNotExist(gone)) {
				t.Errorf("it stays: %v %s", err, out)
			}
			if c.stays != "" && (err == nil || gone != nil || !strings.Contains(out, c.stays)) {
				t.Errorf("want it to stay for %q: %v, %v: %s", c.stays, err, gone, out)
			}
			_ = f.Close()
		})
	}
}
