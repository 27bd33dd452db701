package detectors

import "github.com/sickbay-dev/sickbay/api/v1alpha1"

// Detector finds one failure. Judge is pure: no I/O, no clock, no state; the same history gives the same findings.
// It never panics on a history with unknown parts, and unknown never becomes a finding by itself.
type Detector interface {
	Failure() string
	Judge(v1alpha1.History) []v1alpha1.Finding
}
