package nodeimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"

	"github.com/sickbay-dev/sickbay/internal/command"
	"github.com/sickbay-dev/sickbay/internal/pack"
	"github.com/sickbay-dev/sickbay/internal/trusted"
)

// DefaultVersion is the Kubernetes version built when none is asked for: the one line to change. Whatever stands here must be
// pinned, in images/kubernetes/go.mod or in images/kubernetes/versions, where the script pin adds one.
const DefaultVersion = "v1.37.2"

// ownTree is replaced by tests.
var ownTree = trusted.Own

// FindSource answers the project's images folder: the one of the source tree whose bin folder this program is in, so that what is changed
// there is built; else the one that is packed into this program, unpacked into the cache; else the one of the source tree around the working
// directory. A tree of somebody else's is never used: as root its programs would be run.
func FindSource() (string, error) {
	if root, err := ownTree(); root != "" && err == nil {
		return filepath.Join(root, "images"), nil
	}
	if packed != nil {
		cache, err := DefaultCacheDir()
		if err != nil {
			return "", err
		}
		return unpackSource(cache)
	}
	root, err := trusted.Source()
	if err != nil {
		return "", fmt.Errorf("building a node image needs the project's source: %w: run sickbay inside a clone of it, build it with `make build`, or name an image with --image", err)
	}
	return filepath.Join(root, "images"), nil
}

// unpackSource keeps one folder for each content.
func unpackSource(cache string) (_ string, err error) {
	if err := trusted.Path(cache); err != nil {
		return "", fmt.Errorf("keep the node image's source in the cache: %w; set SICKBAY_CACHE to a folder of your own", err)
	}
	dir := filepath.Join(cache, "source-"+hash(string(packed))[:12])
	if _, err := os.Stat(dir); err == nil {
		return filepath.Join(dir, "images"), nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("unpack the node image's source: %w", err)
	}
	work, err := os.MkdirTemp(cache, ".source-")
	if err != nil {
		return "", fmt.Errorf("unpack the node image's source: %w", err)
	}
	defer os.RemoveAll(work)
	err = errors.Join(pack.Unpack(bytes.NewReader(packed), work), os.Chmod(work, 0o755))
	if err == nil {
		if err = os.Rename(work, dir); errors.Is(err, fs.ErrExist) {
			err = nil // another process has just done it
		}
	}
	if err != nil {
		return "", fmt.Errorf("unpack the node image's source: %w", err)
	}
	return filepath.Join(dir, "images"), nil
}

// Versions answers the Kubernetes versions whose dependencies are pinned in the source (empty to look for it), the default first and then
// the newest.
func Versions(source string) ([]string, error) {
	if source == "" {
		var err error
		if source, err = FindSource(); err != nil {
			return nil, err
		}
	}
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
	if _, err := command.Output(cmd); err != nil {
		return kindFiles{}, fmt.Errorf("fetching kind's node files: %w", err)
	}
	out, err := command.Output(goCommand(ctx, root, "list", "-m", "-f", "{{.Dir}}\n{{.Version}}", "sigs.k8s.io/kind"))
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
