package collect

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
)

// tree makes a node's files below a directory of the test's own: path → content. A path that ends in a slash is a directory.
func tree(t testing.TB, files map[string]string) root {
	t.Helper()
	dir := t.TempDir()
	for p, content := range files {
		full := filepath.Join(dir, p)
		parent := filepath.Dir(full)
		if strings.HasSuffix(p, "/") {
			parent = full
		}
		must(t, os.MkdirAll(parent, 0o755))
		if !strings.HasSuffix(p, "/") {
			must(t, os.WriteFile(full, []byte(content), 0o644))
		}
	}
	return root(dir)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// noCommands is a node without any program.
func noCommands(context.Context, func(io.Reader) error, ...string) error { return os.ErrNotExist }

// at is a look at a tree, whose runtime is known to be configured as containerd's defaults say.
func at(t testing.TB, r root) *look {
	t.Helper()
	l := newLook(protocol.ObserveOptions{Node: "worker"}, r, noCommands)
	l.setSettings(defaultSettings(), true)
	return l
}

// read runs sources and gives what they made of the observation.
func read(t testing.TB, l *look, sources ...func(context.Context, *source) error) *v1alpha1.Observation {
	t.Helper()
	for _, f := range sources {
		must(t, f(t.Context(), newSource("test")))
	}
	return &l.obs
}
