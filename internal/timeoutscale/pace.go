// Package timeoutscale says how many times slower than the reference this machine is, so that every bound of ours can be stretched by one
// factor. The reference is an otherwise idle machine of two cores, on which the bounds were measured; a machine that is faster than
// that still gets them as they are.
//
// It is for bounds alone. What waits for a timer of the kubelet's (three minutes of PLEG, ten seconds of the status period), and
// every pause between two looks, takes the same time on any machine and is left as it is.
package timeoutscale

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"sync"
	"time"
)

// Env hands the factor to a child process, and lets a person overrule what would be measured.
const Env = "SICKBAY_TIMEOUT_SCALE"

// Most is the largest factor: QEMU's software emulation on a busy machine comes to twenty. Beyond it nobody would wait.
const Most = 30

var current struct {
	mu      sync.Mutex
	factor  float64 // 0: not known yet
	measure bool    // when it is asked for
}

// Set makes a factor this process's. It is what an agent is told by whoever calls it.
func Set(factor float64) {
	current.mu.Lock()
	defer current.mu.Unlock()
	current.factor = clamp(factor)
}

// MeasureWhenAsked has Factor measure this machine when it is asked for the first time, 0.1 s on the reference. It is for a
// program's main: elsewhere, and so in tests, the factor is 1 unless Env says another.
func MeasureWhenAsked() {
	current.mu.Lock()
	defer current.mu.Unlock()
	current.measure = true
}

// Factor answers this process's factor, at least 1: what was set, what Env says, or what is measured.
func Factor() float64 {
	current.mu.Lock()
	defer current.mu.Unlock()
	if current.factor > 0 {
		return current.factor
	}
	f, err := Parse(os.Getenv(Env))
	switch {
	case err == nil:
		current.factor = f
	case current.measure:
		current.factor = clamp(measure())
	default:
		current.factor = 1
	}
	return current.factor
}

// Bound stretches a bound by this process's factor. Zero stays zero: that is no bound, or one that has a default.
func Bound(d time.Duration) time.Duration {
	if d <= 0 {
		return d
	}
	return Stretch(d, Factor())
}

// Default fills a bound in where none was given.
func Default(d *time.Duration, v time.Duration) {
	if *d == 0 {
		*d = Bound(v)
	}
}

// Stretch stretches a bound by a factor.
func Stretch(d time.Duration, factor float64) time.Duration {
	return time.Duration(float64(d) * factor).Round(time.Millisecond)
}

// Parse reads a factor.
func Parse(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || f < 1 || f > Most {
		return 0, fmt.Errorf("a factor of %q: it must be a number from 1 to %d", s, Most)
	}
	return f, nil
}

// Format writes a factor as Parse reads it.
func Format(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }

// clamp rounds to tenths, upwards: a reading is no better than that.
func clamp(f float64) float64 {
	if math.IsNaN(f) {
		return 1
	}
	return math.Ceil(min(max(f, 1), Most)*10-1e-9) / 10
}
