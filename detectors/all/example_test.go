package all_test

import (
	"fmt"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

// A history is one or more observations of a node, the newest last. Here the configuration of the pod network is gone.
func ExampleJudge() {
	o := detectorstest.Healthy()
	detectorstest.CNIDown(o, detectorstest.NoConfig)
	o.CNI.Configs = nil

	for _, f := range all.Judge(v1alpha1.History{*o}) {
		fmt.Println(f.Name(), f.Certainty)
	}
	// Output:
	// cni/conflist-missing certain
}
