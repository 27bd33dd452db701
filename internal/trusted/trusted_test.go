package trusted

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// project makes a source tree in a folder.
func project(t *testing.T, root string) {
	t.Helper()
	err := errors.Join(os.MkdirAll(filepath.Join(root, "images"), 0o755), os.MkdirAll(filepath.Join(root, "a", "b"), 0o755),
		os.WriteFile(filepath.Join(root, "go.mod"), []byte("module "+module+"\n"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
}

func TestSource(t *testing.T) {
	root := t.TempDir()
	project(t, root)
	// Modules in between, such as those below images, are not the project.
	if err := os.WriteFile(filepath.Join(root, "a", "go.mod"), []byte("module "+module+"/images/etcd\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{root, filepath.Join(root, "a", "b")} {
		t.Chdir(dir)
		if got, err := Source(); err != nil || got != root {
			t.Errorf("from %s: %q, %v", dir, got, err)
		}
	}
	t.Chdir(t.TempDir())
	if got, err := Source(); err == nil {
		t.Errorf("outside: %q", got)
	}
}

func TestTreeAroundAProgram(t *testing.T) {
	root := t.TempDir()
	project(t, root)
	for dir, want := range map[string]string{"bin": root, "a/bin": "", "a": ""} {
		exe := filepath.Join(root, dir, "sickbay")
		if err := errors.Join(os.MkdirAll(filepath.Dir(exe), 0o755), os.WriteFile(exe, nil, 0o755)); err != nil {
			t.Fatal(err)
		}
		if got, err := around(exe); err != nil || got != want {
			t.Errorf("%s: %q, %v", exe, got, err)
		}
	}
	link := filepath.Join(t.TempDir(), "sickbay")
	if err := errors.Join(os.Symlink(filepath.Join(root, "bin", "sickbay"), link), os.Chmod(root, 0o777)); err != nil {
		t.Fatal(err)
	}
	if got, err := around(link); err == nil {
		t.Errorf("everybody may write to the tree, and it is used: %q", got)
	}
}

// A go.mod in a folder above that somebody else could have put there: as root its programs would be built, and run.
func TestSourceOfSomebodyElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	t.Setenv("SUDO_UID", "")
	for name, spoil := range map[string]func(root string) error{
		"the folder is another user's":             func(root string) error { return os.Chown(root, 65534, 65534) },
		"everybody may write to the folder":        func(root string) error { return os.Chmod(root, 0o777) },
		"it is like /tmp":                          func(root string) error { return os.Chmod(root, 0o777|os.ModeSticky) },
		"go.mod is another user's":                 func(root string) error { return os.Chown(filepath.Join(root, "go.mod"), 65534, 65534) },
		"images is another user's":                 func(root string) error { return os.Chown(filepath.Join(root, "images"), 65534, 65534) },
		"a folder above it is another user's":      func(root string) error { return os.Chown(filepath.Dir(root), 65534, 65534) },
		"everybody may write to a folder above it": func(root string) error { return os.Chmod(filepath.Dir(root), 0o777) },
	} {
		root := filepath.Join(t.TempDir(), "project")
		project(t, root)
		t.Chdir(filepath.Join(root, "a"))
		if _, err := Source(); err != nil {
			t.Fatal(err)
		}
		if err := spoil(root); err != nil {
			t.Fatal(err)
		}
		if got, err := Source(); err == nil || !strings.Contains(err.Error(), "not used") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	root := filepath.Join(t.TempDir(), "project")
	project(t, root)
	t.Chdir(root)
	if err := errors.Join(os.Chown(root, 1234, 1234), os.Chmod(filepath.Dir(root), 0o777|os.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SUDO_UID", "1234")
	if _, err := Source(); err != nil {
		t.Errorf("of whoever called sudo, below a folder like /tmp: %v", err)
	}
}

func TestPathThatIsNotThereYet(t *testing.T) {
	dir := t.TempDir()
	if err := Path(filepath.Join(dir, "a", "b")); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := Path(filepath.Join(dir, "a", "b")); err == nil {
		t.Error("anybody could make it")
	}
}
