package nodeimage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A node image that was built here carries the registry's image: neither a registry nor the project's source is asked for then.
func TestRegistryFromNode(t *testing.T) {
	loaded := filepath.Join(t.TempDir(), "loaded")
	engine := shell(`case $1 in image) echo "No such image" >&2; exit 1;; load) cat > ` + loaded + `;; *) echo "asked to $*" >&2; exit 9;; esac`)
	inside := func(context.Context) ([]byte, error) { return []byte("an archive"), nil }
	ref, err := ResolveRegistry(t.Context(), engine, Repository+":v1.37.2-abc", inside)
	if ref != RegistryImage || err != nil {
		t.Fatalf("%q, %v", ref, err)
	}
	if got, err := os.ReadFile(loaded); string(got) != "an archive" {
		t.Errorf("loaded %q, %v", got, err)
	}
	// Anybody else's node image has none.
	inside = func(context.Context) ([]byte, error) { t.Error("asked for what is not there"); return nil, nil }
	pulling := shell(`case $1 in image) echo "No such image" >&2; exit 1;; pull) echo pulled;; esac`)
	if ref, err := ResolveRegistry(t.Context(), pulling, "kindest/node:v1.37.2", inside); ref != UpstreamRegistryImage || err != nil {
		t.Errorf("%q, %v", ref, err)
	}
	// A node that does not answer is one reason among others.
	ctx, cancel := context.WithCancel(t.Context())
	broken := func(context.Context) ([]byte, error) { cancel(); return nil, errors.New("node w1 does not answer") }
	if _, err := ResolveRegistry(ctx, engine, Repository+":v1.37.2-abc", broken); err == nil || !strings.Contains(err.Error(), "node w1 does not answer") {
		t.Errorf("%v", err)
	}
}
