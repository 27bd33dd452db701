package collect

import (
	"slices"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
)

// TestSources: the agent looks at what it declares, and no source waits for one that waits for it: whom it comes after stands above it.
func TestSources(t *testing.T) {
	var above []string
	for _, r := range newLook(protocol.ObserveOptions{}, "/nowhere", noCommands).sources() {
		for _, a := range r.after {
			if !slices.Contains(above, a) {
				t.Errorf("%s comes after %s, which does not stand above it", r.name, a)
			}
		}
		if !slices.Contains(v1alpha1.NodeSources, r.name) || slices.Contains(above, r.name) {
			t.Errorf("%s is no source of its own", r.name)
		}
		above = append(above, r.name)
	}
	for _, s := range v1alpha1.NodeSources {
		if !slices.Contains(above, s) {
			t.Errorf("nobody looks at %s", s)
		}
	}
	if o := newLook(short, tree(t, nil), noCommands).run(t.Context()); !slices.Equal(o.Sources, above) || !o.Looked(v1alpha1.SourceCNI) || o.Looked(v1alpha1.SourceAPI) {
		t.Errorf("declared: %q", o.Sources)
	}
}
