package diagnose

import (
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors/all"
)

// Detectors is package detectors as a JudgeFunc: all fifteen, reduced, in the order in which their remedies are to be applied.
func Detectors(h v1alpha1.History) []v1alpha1.Finding { return all.Judge(h) }
