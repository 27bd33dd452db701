package timeoutscale

import (
	"math/rand/v2"
	"os/exec"
	"slices"
	"time"
)

// The reference machine's figures: the least of a hundred readings on two idle cores of a virtual server.
const (
	referenceSort = 6200 * time.Microsecond
	referenceExec = time.Millisecond
)

// spare is how much slower than the reference's best reading a machine may be and still count as fast: readings of a machine that
// does something else at the same time scatter by that much, and the bounds have that room.
const spare = 2

// readings of each kind; the middle one counts. A single one would catch one interruption, the best one would hide a busy machine.
const readings = 5

// measure takes the slower of two ratios: computing, and starting a process. Software emulation is ten times as slow at the first
// and fifteen times at the second; a machine whose cores are taken by others shows it in both.
func measure() float64 {
	work := ratio(referenceSort, sortOnce)
	start := ratio(referenceExec, execOnce)
	return max(work, start) / spare
}

func ratio(reference time.Duration, once func() time.Duration) float64 {
	took := make([]time.Duration, readings)
	for i := range took {
		took[i] = once()
	}
	slices.Sort(took)
	return float64(took[readings/2]) / float64(reference)
}

// sortOnce sorts the same hundred thousand numbers: comparisons, branches and memory, and no instruction that one processor has and
// another lacks.
func sortOnce() time.Duration {
	r := rand.New(rand.NewPCG(1, 2))
	n := make([]uint64, 100_000)
	for i := range n {
		n[i] = r.Uint64()
	}
	began := time.Now()
	slices.Sort(n)
	return time.Since(began)
}

// execOnce starts a program that does nothing. One that is missing says nothing about the machine.
func execOnce() time.Duration {
	began := time.Now()
	if exec.Command("true").Run() != nil {
		return referenceExec
	}
	return time.Since(began)
}
