package collect

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// On a disk that everything is on there are many entries: the largest file stays on the list, and so does the directory of many
// empty ones.
func TestLargest(t *testing.T) {
	uses := []v1alpha1.PathUse{{Path: "/core", Bytes: 1 << 40, Files: 1}, {Path: "/sessions", Files: 1e6}}
	for i := range int64(40) {
		uses = append(uses, v1alpha1.PathUse{Path: fmt.Sprint("/", i), Bytes: 100 + i, Files: 100 + i})
	}
	top := largest(uses)
	for _, want := range uses[:2] {
		if !slices.Contains(top, want) {
			t.Errorf("%s is missing: %v", want.Path, top)
		}
	}
	if top[0].Path != "/core" || len(top) != maxUsers+1 {
		t.Errorf("%v", top)
	}
}
