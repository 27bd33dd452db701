package v1alpha1_test

import (
	"encoding/json"
	"fmt"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// What `sickbay diagnose -o json` prints is read with these types.
func ExampleFinding() {
	var diagnosis struct {
		Findings []v1alpha1.Finding `json:"findings"`
	}
	err := json.Unmarshal([]byte(`{"findings": [{
		"failure": "swap", "cause": "swap-on", "node": "w1", "object": null, "certainty": "certain",
		"summary": "swap is on and the kubelet does not start with it",
		"evidence": [{"source": "swaps", "text": "/swapfile (file)"}], "consequences": [],
		"remedy": {"name": "swap-off", "steps": [{"run": "swapoff /swapfile", "why": "its pages move back to memory", "disruptive": false}]}
	}]}`), &diagnosis)
	if err != nil {
		fmt.Println(err)
	}
	for _, f := range diagnosis.Findings {
		fmt.Println(f.Name(), "on", f.Node)
		for _, s := range f.Remedy.Steps {
			fmt.Println(s.Run)
		}
	}
	// Output:
	// swap/swap-on on w1
	// swapoff /swapfile
}
