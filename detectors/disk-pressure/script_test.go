package diskpressure

import (
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestSetThreshold(t *testing.T) {
	for in, want := range map[string]string{
		"evictionHard:\n  imagefs.available: 15%\n  nodefs.available: 99%\nevictionSoft:\n  nodefs.available: 15%\n":              "evictionHard:\n  imagefs.available: 15%\n  nodefs.available: 10%\nevictionSoft:\n  nodefs.available: 15%\n",
		"evictionSoft:\n  nodefs.available: 15%\n# ours\nevictionHard:\n  # much\n\n    \"nodefs.available\": \"99%\"\nkind: X\n": "evictionSoft:\n  nodefs.available: 15%\n# ours\nevictionHard:\n  # much\n\n    \"nodefs.available\": 10%\nkind: X\n",
		"evictionHard: {imagefs.available: 15%, nodefs.available: 99%}\n":                                                         "evictionHard: {imagefs.available: 15%, nodefs.available: 10%}\n",
		"evictionHard: {\"nodefs.available\": \"99%\", nodefs.inodesFree: 5%}\n":                                                  "evictionHard: {nodefs.available: 10%, nodefs.inodesFree: 5%}\n",
		"evictionHard:\n  nodefs.inodesFree: 5%\nevictionSoft:\n  nodefs.available: 15%\n":                                        "", // not there
		"kind: X\n": "",
	} {
		got, why := detectorstest.Edit(t, in, "", func(file string) v1alpha1.Step { return setThreshold("n", "nodefs.available", "10%", file) })
		if want == "" {
			if !strings.Contains(why, "set elsewhere") {
				t.Errorf("%q is not refused: %q %s", in, got, why)
			}
		} else if got != want {
			t.Errorf("%q became %q, not %q %s", in, got, want, why)
		}
	}
}
