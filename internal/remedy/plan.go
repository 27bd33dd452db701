package remedy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// Consent says what may be done without asking.
type Consent struct {
	// Ours is a node that sickbay made: everything may be done to it.
	Ours bool
	// Allow is the most severe class that was allowed by name, empty when none was.
	Allow v1alpha1.Class
}

// Refuses says why a step needs somebody's word, and nothing where it does not. What is only likely may not disturb pods.
func (c Consent) Refuses(sure v1alpha1.Certainty, s v1alpha1.Step) string {
	switch {
	case c.Ours, s.Class == v1alpha1.Safe, c.Allow != "" && c.Allow.AtLeast(s.Class):
		return ""
	case s.Class == v1alpha1.Disruptive && sure == v1alpha1.Certain:
		return ""
	case s.Class == v1alpha1.Disruptive:
		return "the finding is only likely, and a step is disruptive: --allow disruptive takes it"
	}
	return "a step is destructive: --allow destructive takes it"
}

// Plan is what is to be done about findings, in order.
type Plan struct {
	// Hash is of everything that is to be done and of nothing else: the same plan has the same hash on another day.
	Hash     string    `json:"hash"`
	Remedies []Planned `json:"remedies"`
}

// Planned is one remedy of a plan.
type Planned struct {
	Failure   string              `json:"failure"`
	Cause     string              `json:"cause"`
	Node      string              `json:"node"`
	Object    *v1alpha1.ObjectRef `json:"object,omitempty"`
	Certainty v1alpha1.Certainty  `json:"certainty"`
	Remedy    v1alpha1.Remedy     `json:"remedy"`
	// Refused says why it is left out.
	Refused string `json:"refused,omitempty"`
}

// Name is what the remedy is for.
func (p Planned) Name() string {
	name := p.Failure + "/" + p.Cause + " on " + p.Node
	if p.Object != nil {
		name += ", " + describe(p.Object)
	}
	return name
}

// NewPlan plans the remedies of the findings. A remedy with a step that nobody consented to is left out as a whole: half a remedy
// is none.
func NewPlan(findings []v1alpha1.Finding, c Consent) Plan {
	p := Plan{Remedies: []Planned{}}
	for _, f := range findings {
		if f.Remedy == nil || len(f.Remedy.Steps) == 0 || slices.ContainsFunc(p.Remedies, func(o Planned) bool { return key(o.Remedy) == key(*f.Remedy) }) {
			continue
		}
		one := Planned{Failure: f.Failure, Cause: f.Cause, Node: f.Node, Object: f.Object, Certainty: f.Certainty, Remedy: *f.Remedy}
		for _, s := range f.Remedy.Steps {
			if why := c.Refuses(f.Certainty, s); why != "" {
				one.Refused = why
				break
			}
		}
		p.Remedies = append(p.Remedies, one)
	}
	p.Hash = p.hash()
	return p
}

// key is what a remedy does.
func key(r v1alpha1.Remedy) string {
	r.Steps = slices.Clone(r.Steps)
	for i := range r.Steps {
		r.Steps[i].Why, r.Steps[i].Risk = "", "" // words about it may name sizes and times
	}
	raw, err := json.Marshal(r)
	if err != nil {
		panic(err) // plain data
	}
	return string(raw)
}

func (p Plan) lines() map[string]string {
	out := map[string]string{}
	for _, r := range p.Remedies {
		state := "applied "
		if r.Refused != "" {
			state = "left out "
		}
		out[r.Name()+" ("+r.Remedy.Name+")"] = state + key(r.Remedy)
	}
	return out
}

func (p Plan) hash() string {
	raw, err := json.Marshal(p.lines()) // of a map, in the order of its keys
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Differs names what today's plan has otherwise than the one that was shown. A plan file that was edited differs from its own hash.
func (p Plan) Differs(today Plan) []string {
	if p.Hash == today.Hash && (p.Remedies == nil || p.hash() == p.Hash) {
		return nil
	}
	if p.Remedies == nil {
		return []string{fmt.Sprintf("today's plan is %s, not %s", today.Hash, p.Hash)}
	}
	was, is := p.lines(), today.lines()
	var out []string
	for name, l := range was {
		switch now, ok := is[name]; {
		case !ok:
			out = append(out, name+" was in the plan and is not found today")
		case now != l:
			out = append(out, name+" has other steps today, or is left out in one of the two")
		}
	}
	for name := range is {
		if _, ok := was[name]; !ok {
			out = append(out, name+" was not in the plan")
		}
	}
	slices.Sort(out)
	if len(out) == 0 {
		out = []string{"the plan's hash is not that of its remedies: it was edited"}
	}
	return out
}
