package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
)

// DefaultVersion is the Kubernetes version built when none is asked for: the one line to change. Whatever stands here must be
// pinned, in images/kubernetes/go.mod or in images/kubernetes/versions, where the script pin adds one.
const DefaultVersion = "v1.37.2"

const modulePath = "github.com/sickbay-dev/sickbay"

// FindSource looks for the project's images folder: above the working directory, then above the running program.
func FindSource() (string, error) {
	var tried []string
	starts := []func() (string, error){os.Getwd, func() (string, error) {
		exe, err := os.Executable()
		if err != nil {
			return "", err
		}
		exe, err = filepath.EvalSymlinks(exe)
		return filepath.Dir(exe), err
	}}
	for _, start := range starts {
		dir, err := start()
		if err != nil {
			continue // the other place may do
		}
		tried = append(tried, dir)
		if found, ok := sourceAbove(dir); ok {
			return found, nil
		}
	}
	return "", fmt.Errorf("building a node image needs the project's source, found neither above %s: run sickbay inside a clone of it, or name an image with --image", strings.Join(tried, " nor above "))
}

func sourceAbove(dir string) (string, bool) {
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && slices.Contains(strings.Fields(firstLine(string(data))), modulePath) {
			images := filepath.Join(dir, "images")
			if info, err := os.Stat(images); err == nil && info.IsDir() {
				return images, true
			}
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}

func firstLine(s string) string { line, _, _ := strings.Cut(s, "\n"); return line }

// Versions answers the Kubernetes versions whose dependencies are pinned in the source, the default first and then the newest.
func Versions(source string) ([]string, error) {
	main, err := mainVersion(source)
	if err != nil {
		return nil, err
	}
	out := []string{main}
	files, err := filepath.Glob(filepath.Join(source, "kubernetes", "versions", "v*.mod"))
	if err != nil {
		return nil, fmt.Errorf("listing pinned versions: %w", err)
	}
	for _, f := range files {
		if v := strings.TrimSuffix(filepath.Base(f), ".mod"); v != main {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b string) int {
		if (a == DefaultVersion) != (b == DefaultVersion) {
			return map[bool]int{true: -1, false: 1}[a == DefaultVersion]
		}
		newer, err := version.MustParseGeneric(b).Compare(a)
		if err != nil {
			return strings.Compare(b, a)
		}
		return newer
	})
	return out, nil
}

var pinsKubernetes = regexp.MustCompile(`(?m)^\s*(?:require )?k8s\.io/kubernetes (v\S+)$`)

// mainVersion is the version that images/kubernetes/go.mod itself pins.
func mainVersion(source string) (string, error) {
	file := filepath.Join(source, "kubernetes", "go.mod")
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("listing pinned versions: %w", err)
	}
	m := pinsKubernetes.FindSubmatch(b)
	if m == nil {
		return "", fmt.Errorf("listing pinned versions: %s requires no k8s.io/kubernetes", file)
	}
	return string(m[1]), nil
}

// pinnedVersion finds the pinned version the user means by v1.36.3, 1.36.3, v1.36, 1.36 or nothing.
func pinnedVersion(source, want string) (string, error) {
	if want == "" {
		want = DefaultVersion
	}
	all, err := Versions(source)
	if err != nil {
		return "", err
	}
	full := "v" + strings.TrimPrefix(want, "v")
	for _, v := range all {
		if v == full || strings.HasPrefix(v, full+".") {
			return v, nil
		}
	}
	return "", &NotPinnedError{Want: want, Source: source, Pinned: all}
}

// NotPinnedError is a Kubernetes version that is not among the sources.
type NotPinnedError struct {
	Want, Source string
	Pinned       []string
}

func (e *NotPinnedError) Error() string {
	return fmt.Sprintf("version %s of Kubernetes is not pinned in %s: there are %s (images/kubernetes/versions/pin adds one)", e.Want, e.Source, strings.Join(e.Pinned, ", "))
}

func (*NotPinnedError) ExitCode() int { return 2 }

// modfileOf names the file that pins a version, relative to images/kubernetes; empty when go.mod itself does.
func modfileOf(source, want string) (string, error) {
	main, err := mainVersion(source)
	if err != nil || want == main {
		return "", err
	}
	return "versions/" + want + ".mod", nil
}

// kindFiles are kind's own node files in the module cache.
type kindFiles struct {
	dir  string // images/base/files of the module
	hash string
}

// findKindFiles asks Go where the kind module is, at the version the project's go.mod pins; its checksum stands for its
// contents.
func findKindFiles(ctx context.Context, source string) (kindFiles, error) {
	root := filepath.Dir(source)
	cmd := goCommand(ctx, root, "mod", "download", "-json", "sigs.k8s.io/kind")
	if _, err := output(cmd); err != nil {
		return kindFiles{}, fmt.Errorf("fetching kind's node files: %w", err)
	}
	out, err := output(goCommand(ctx, root, "list", "-m", "-f", "{{.Dir}}\n{{.Version}}", "sigs.k8s.io/kind"))
	if err != nil {
		return kindFiles{}, fmt.Errorf("looking for kind's node files: %w", err)
	}
	dir, version, _ := strings.Cut(strings.TrimSpace(out), "\n")
	files := filepath.Join(dir, "images", "base", "files")
	if _, err := os.Stat(files); err != nil {
		return kindFiles{}, fmt.Errorf("looking for kind's node files: %w", err)
	}
	tree, err := hashTree(files)
	return kindFiles{dir: files, hash: hash(version, tree)}, err
}

var errNotRoot = errors.New("not root")

// lookPath is exec.LookPath, replaced in tests.
var lookPath = exec.LookPath
