package detectors

import (
	"cmp"
	"slices"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// Detector finds one failure.
type Detector struct {
	Failure string
	// Needs are the sources without which its silence means nothing. A test measures them on recordings: it takes each source away
	// and sees who falls silent.
	Needs []string
	// Judge is pure: no I/O, no clock, no state; the same history gives the same findings. It never panics on a history with unknown
	// parts, and unknown never becomes a finding by itself. Failure and Node of a finding are filled in where they are empty.
	Judge func(v1alpha1.History) []v1alpha1.Finding
}

var registered []Detector

// Register adds a detector; the init of its package calls it. Package all imports them all.
func Register(d Detector) {
	number := func(d Detector) int { f, _ := failures.Lookup(d.Failure); return f.Number }
	registered = append(registered, d)
	slices.SortFunc(registered, func(a, b Detector) int { return cmp.Compare(number(a), number(b)) })
}

// Registered are the detectors in the order of their failures.
func Registered() []Detector { return slices.Clone(registered) }
