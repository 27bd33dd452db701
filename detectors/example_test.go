package detectors_test

import (
	"fmt"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
)

func swaps(h v1alpha1.History) []v1alpha1.Finding {
	var found []v1alpha1.Finding
	for _, s := range h.Last().Swaps {
		found = append(found, v1alpha1.Finding{Failure: "swap", Cause: "swap-on", Certainty: v1alpha1.Certain, Summary: s.Path + " is in use"})
	}
	return found
}

// A detector is a pure function of a node's history. The names of its findings are those of package failures.
func ExampleFind() {
	h := v1alpha1.History{{Node: "w1", Swaps: []v1alpha1.Swap{{Path: "/swapfile"}}}}
	for _, f := range detectors.Find(h, []detectors.Detector{{Failure: "swap", Judge: swaps}}) {
		fmt.Println(f.Name(), f.Node, f.Summary)
	}
	// Output: swap/swap-on w1 /swapfile is in use
}

func ExamplePlace_NewRemedy() {
	remedy := detectors.Place{Node: "w1", API: true}.NewRemedy("restart-runtime", detectors.Restart("w1", "containerd", "it hangs"), detectors.WaitReady("w1"))
	for _, s := range remedy.Steps {
		fmt.Println(s.Run)
	}
	// Output:
	// systemctl restart containerd
	// kubectl wait --for=condition=Ready node/w1 --timeout=120s
}
