package all_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

// Edges that name a case are broken by the tests of its folder.
func TestEdgesThatRecordingsNeed(t *testing.T) {
	detectorstest.MutateEdges(t, func(needs string) ([]v1alpha1.Finding, []string, bool) {
		if name, _, isCase := strings.Cut(needs, ": "); isCase {
			if _, ok := failures.Lookup(name); !ok {
				t.Errorf("an edge of the causal graph needs %q, which names no failure", needs)
			}
			return nil, nil, false
		}
		dir := filepath.Join("testdata", needs)
		return detectors.Find(recorded(t, dir), all.Detectors()), wanted(t, dir), true
	})
}
