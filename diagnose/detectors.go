package diagnose

import (
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/observation"
)

// Detectors is package detectors as a JudgeFunc: all fifteen, reduced, in the order in which their remedies are to be applied.
func Detectors(h observation.History) []detectors.Finding { return all.Judge(h) }
