package lab

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// Filter is what somebody wants to practise.
type Filter struct {
	Level int // 0 for any
	Topic string
	// Core leaves only labs whose every part is proven.
	Core bool
	// Shared leaves out those that need the machine for themselves.
	Shared bool
}

func (f Filter) fits(c scenarios.Course) bool {
	l := c.Of.Spec
	return (f.Level == 0 || l.Level == f.Level) && (f.Topic == "" || l.Topic == f.Topic) && (!f.Core || c.Spec.Profile == "core") && (!f.Shared || !fault.ClaimsHost(c.Scenario))
}

// Pick draws n different labs. The same seed draws the same ones.
func Pick(all []scenarios.Course, f Filter, seed uint64, n int) ([]scenarios.Course, error) {
	fit := slices.DeleteFunc(slices.Clone(all), func(c scenarios.Course) bool { return !f.fits(c) })
	if len(fit) < n {
		return nil, fmt.Errorf("there are %d labs of that kind, not %d", len(fit), n)
	}
	// PCG with one word of the seed: nobody has to guess it, only to repeat it.
	r := mathrand.New(mathrand.NewPCG(seed, 0)) //nolint:gosec // it draws labs
	r.Shuffle(len(fit), func(i, j int) { fit[i], fit[j] = fit[j], fit[i] })
	return fit[:n], nil
}

// Drill is a sequence of labs, one after the other or two at once.
type Drill struct {
	Codes []string `json:"codes"`
	At    int      `json:"at"` // the index of the one that runs, or of the first of two
	// AtOnce are two or one.
	AtOnce int `json:"atOnce,omitempty"`
	// Decoys: something odd that is no illness goes with them.
	Decoys bool   `json:"decoys,omitempty"`
	Seed   uint64 `json:"seed"`
	// Salt and Seal of a sealed drill: the seal is published first, seed and salt after the last lab.
	Salt string `json:"salt,omitempty"`
	Seal string `json:"seal,omitempty"`
}

// NewDrill draws one.
func NewDrill(all []scenarios.Course, f Filter, seed uint64, n int, sealed bool) (*Drill, error) {
	list, err := Pick(all, f, seed, n)
	if err != nil {
		return nil, err
	}
	d := &Drill{Seed: seed}
	for _, c := range list {
		d.Codes = append(d.Codes, c.Of.Spec.Code)
	}
	if sealed {
		d.Salt = rand.Text()
		d.Seal = Seal(d.Salt, seed, d.Codes)
	}
	return d, nil
}

// Now are the codes of those that run.
func (d *Drill) Now() []string {
	return d.Codes[min(d.At, len(d.Codes)):min(d.At+max(1, d.AtOnce), len(d.Codes))]
}

// Summary is a drill as an incident is scored: points, and the mean times to detect and to mitigate of those where that happened.
func Summary(list []Done) (points int, detect, mitigate time.Duration) {
	mean := func(of func(Score) time.Duration) time.Duration {
		sum, n := time.Duration(0), time.Duration(0)
		for _, d := range list {
			if t := of(d.Score); t > 0 {
				sum, n = sum+t, n+1
			}
		}
		return sum / max(1, n)
	}
	for _, d := range list {
		points += d.Score.Points
	}
	return points, mean(func(s Score) time.Duration { return s.Detect }), mean(func(s Score) time.Duration { return s.Mitigate })
}

// Seal is the hash that a sealed drill publishes: whoever learns salt and seed later can tell that nothing was exchanged.
func Seal(salt string, seed uint64, codes []string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %s", salt, seed, strings.Join(codes, ",")))
	return hex.EncodeToString(sum[:])
}
