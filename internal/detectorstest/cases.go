package detectorstest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/causal"
	"github.com/sickbay-dev/sickbay/internal/redact"
)

// Case is a node made ill, or made odd.
type Case struct {
	Name string
	Ill  func(o *v1alpha1.Observation)
	// Want are the findings, "failure/cause", in order; none for a case that must stay silent.
	Want []string
	// Remedy is what some step of the first finding's remedy must run; "-" when there must be no remedy, but the reason why. Empty
	// it is not looked at.
	Remedy string
	// Never are words that no step of any remedy may run.
	Never  []string
	Likely bool
	// Says is what the first finding's summary must have.
	Says string
	// Manual is what the first finding's action for a person must have.
	Manual string
	// Class is what the first finding's remedy must be; empty it is not looked at.
	Class v1alpha1.Class
	// Baseline puts a healthy look before, and again the same look after it. Cases are judged with and without, those that set it
	// only with.
	Baseline bool
	// Once is a case that is another one when it is seen twice, or after a healthy look: it is judged by one look alone.
	Once bool
}

// History is the case as detectors get it: one look, or a healthy one and two ill ones, without what is taken out before they see it.
func (c Case) History() v1alpha1.History {
	ill := func(at time.Time) v1alpha1.Observation {
		o := Healthy()
		c.Ill(o)
		o.At = at
		Redact(o)
		return *o
	}
	if !c.Baseline {
		return v1alpha1.History{ill(Now)}
	}
	first := Healthy()
	first.At = Ago(5 * time.Minute)
	return v1alpha1.History{*first, ill(Ago(2 * time.Second)), ill(Now)}
}

// Redact takes out of an observation what agent and API reader take out.
func Redact(o *v1alpha1.Observation) {
	if o.API != nil {
		kept := redact.API(o.API)
		o.API = &kept
	}
	redact.Lines(o.Journal.Lines)
	redact.Lines(o.Kmsg)
}

// Run judges a failure's cases with all registered detectors. Each cause of the failure needs a case, and so does each edge of the
// causal graph that names one of this failure's.
func Run(t *testing.T, failure string, sick, silent []Case) {
	sick = append(slices.Clone(sick), compounds(t, failure, sick)...)
	var names []string
	for _, c := range slices.Concat(sick, silent) {
		names = append(names, c.Name)
	}
	Stale(t, failure, names)
	have, scripts := map[string]bool{}, map[string]string{}
	var hostile Hostile
	for _, c := range sick {
		for _, w := range c.Want {
			have[w] = true
		}
		Expect(t, failure, c.Name, func(t testing.TB) {
			found := c.found(t)
			if len(found) > 0 {
				c.checkFirst(t, found)
			}
			if !c.Baseline && !c.Once {
				c.Baseline = true
				c.found(t)
			}
			Scripts(scripts, found)
			hostile.Check(t, c.History())
		})
	}
	for _, c := range silent {
		if len(c.Want) > 0 {
			t.Errorf("%s: a silent case wants %v, and nothing would look at what these say", c.Name, c.Want)
		}
		Expect(t, failure, c.Name, func(t testing.TB) {
			c.found(t)
			if !c.Once {
				c.Baseline = true
				c.found(t)
			}
		})
	}
	if len(scripts) > 0 {
		t.Run("scripts", func(t *testing.T) { Shellcheck(t, scripts) })
	}
	f, _ := failures.Lookup(failure)
	for _, c := range f.Causes {
		if !have[failure+"/"+c.Name] {
			t.Errorf("no case finds %s/%s: a cause nobody can find is a promise not kept", failure, c.Name)
		}
	}
	MutateEdges(t, func(needs string) ([]v1alpha1.Finding, []string, bool) {
		name, mine := strings.CutPrefix(needs, failure+": ")
		i := slices.IndexFunc(sick, func(c Case) bool { return c.Name == name })
		if mine && i < 0 {
			t.Errorf("an edge of the causal graph needs %q, which is no case", needs)
		}
		if i < 0 {
			return nil, nil, false
		}
		return detectors.Find(sick[i].History(), detectors.Registered()), sick[i].Want, true
	})
}

// compounds are the cases that edges name as "case + ill". What the edge explains is folded into the case; what it orders, or what its
// limit holds back, stands in this order.
func compounds(t *testing.T, failure string, sick []Case) (out []Case) {
	for _, e := range causal.Default().Edges() {
		for _, needs := range []string{e.Needs, e.Limit} {
			name, mine := strings.CutPrefix(needs, failure+": ")
			of, ill, compound := strings.Cut(name, " + ")
			if !mine || !compound || slices.ContainsFunc(out, func(c Case) bool { return c.Name == name }) {
				continue
			}
			i := slices.IndexFunc(sick, func(c Case) bool { return c.Name == of })
			if i < 0 || ills[ill] == nil {
				t.Errorf("an edge of the causal graph needs %q: no such case or ill", needs)
				continue
			}
			c := Case{Name: name, Want: sick[i].Want, Never: sick[i].Never, Baseline: sick[i].Baseline, Ill: All(sick[i].Ill, ills[ill])}
			if e.Scope == causal.Order || needs == e.Limit {
				c.Want = []string{e.From, e.To}
			}
			if c.Want[0] == sick[i].Want[0] {
				c.Remedy, c.Likely = sick[i].Remedy, sick[i].Likely
			}
			out = append(out, c)
		}
	}
	return out
}

// found judges the case, and checks what holds of every judgement: it is what the case wants; the same history gives the same
// bytes, and is not changed; a bundle's JSON is judged as the history it was made of; and a source that could not be read makes
// no detector certain of a failure that is not there.
func (c Case) found(t testing.TB) []v1alpha1.Finding {
	t.Helper()
	h := c.History()
	before := marshal(t, h)
	found := detectors.Judge(h, detectors.Registered())
	want := func(found []v1alpha1.Finding) bool {
		return slices.Equal(Names(found), c.Want)
	}
	for _, f := range found {
		check(t, f)
		for _, word := range c.Never {
			if f.Remedy != nil && slices.ContainsFunc(f.Remedy.Steps, func(s v1alpha1.Step) bool {
				return strings.Contains(s.Run, word) || strings.Contains(Expanded(s), word)
			}) {
				t.Errorf("%s runs %q", f.Name(), word)
			}
		}
	}
	if !want(found) {
		t.Fatalf("found %v, want %v\n%s", Names(found), c.Want, Describe(found))
	}
	if string(marshal(t, h)) != string(before) {
		t.Error("judging changed the history")
	}
	if again := detectors.Judge(h, detectors.Registered()); string(marshal(t, again)) != string(marshal(t, found)) {
		t.Error("two answers")
	}
	var bundled v1alpha1.History
	if err := json.Unmarshal(before, &bundled); err != nil {
		t.Fatal(err)
	}
	if again := detectors.Judge(bundled, detectors.Registered()); !want(again) {
		t.Errorf("found %v after a round trip", Names(again))
	}
	all := detectors.Find(h, detectors.Registered())
	for _, source := range Sources() {
		less := slices.Clone(h)
		for i := range less {
			Blank(&less[i], source)
		}
		for _, f := range detectors.Judge(less, detectors.Registered()) {
			// It may take one cause for another, or say that it is not sure.
			if f.Certainty == v1alpha1.Certain && !slices.ContainsFunc(all, func(g v1alpha1.Finding) bool { return g.Failure == f.Failure }) {
				t.Errorf("without %s: certain of %s/%s", source, f.Failure, f.Cause)
			}
		}
	}
	// Whatever is missing, without an entry in Unknown as well, no detector may panic.
	r := rand.New(rand.NewPCG(1, uint64(len(c.Name))))
	for range 3 {
		torn := slices.Clone(h)
		for i := range torn {
			tear(r, 4, reflect.ValueOf(&torn[i]).Elem())
			if torn[i].API != nil {
				a := *torn[i].API
				torn[i].API = &a
				tear(r, 3, reflect.ValueOf(&a).Elem())
			}
		}
		detectors.Judge(torn, detectors.Registered())
	}
	return found
}

// tear sets one in n fields of a struct to zero.
func tear(r *rand.Rand, n int, v reflect.Value) {
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; r.IntN(n) == 0 && name != "At" && name != "Node" {
			v.Field(i).SetZero()
		}
	}
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (c Case) checkFirst(t testing.TB, found []v1alpha1.Finding) {
	t.Helper()
	f := found[0]
	if (f.Certainty == v1alpha1.Likely) != c.Likely {
		t.Errorf("certainty %s, want likely=%v", f.Certainty, c.Likely)
	}
	if !strings.Contains(f.Summary, c.Says) {
		t.Errorf("%q does not say %q", f.Summary, c.Says)
	}
	if !strings.Contains(f.ManualAction, c.Manual) {
		t.Errorf("%q does not say %q", f.ManualAction, c.Manual)
	}
	if c.Remedy == "-" {
		if f.Remedy != nil || f.ManualAction == "" {
			t.Errorf("want no remedy and the reason why; got %+v, %q", f.Remedy, f.ManualAction)
		}
		return
	}
	if c.Remedy == "" {
		return
	}
	if f.Remedy == nil {
		t.Fatalf("no remedy: %s", f.ManualAction)
	}
	if c.Class != "" && f.Remedy.Class() != c.Class {
		t.Errorf("the remedy is %s, want %s\n%s", f.Remedy.Class(), c.Class, Describe(found))
	}
	if !slices.ContainsFunc(f.Remedy.Steps, func(s v1alpha1.Step) bool { return strings.Contains(Expanded(s), c.Remedy) }) {
		t.Errorf("no step runs %q:\n%s", c.Remedy, Describe(found))
	}
}

// MutateEdges breaks each edge of the causal graph whose case or recording load has: removed, reversed or without its limit, it must
// change what is found or the order of that.
func MutateEdges(t *testing.T, load func(needs string) (raw []v1alpha1.Finding, want []string, ok bool)) {
	edges := causal.Default().Edges()
	forwards := causal.Names()
	backwards := slices.Clone(forwards)
	slices.Reverse(backwards)
	outcome := func(vocabulary []string, edges []causal.Edge, raw []v1alpha1.Finding) []string {
		g, err := causal.New(vocabulary, edges)
		if err != nil {
			return []string{err.Error()}
		}
		return slices.Compact(Names(detectors.Reduce(g, raw)))
	}
	for i, e := range edges {
		mutate := func(how, needs string, change func(edges []causal.Edge) []causal.Edge) {
			raw, want, ok := load(needs)
			if !ok {
				return
			}
			// An order that holds by the edges holds whatever the order of the vocabulary.
			if got := outcome(backwards, edges, raw); e.Scope == causal.Order && !slices.Equal(got, want) {
				t.Errorf("%s → %s: with the vocabulary backwards the order is %v", e.From, e.To, got)
			}
			broken := change(slices.Clone(edges))
			if slices.Equal(outcome(forwards, broken, raw), want) && slices.Equal(outcome(backwards, broken, raw), want) {
				t.Errorf("%s → %s %s: %s does not fail", e.From, e.To, how, needs)
			}
		}
		mutate("removed", e.Needs, func(edges []causal.Edge) []causal.Edge { return slices.Delete(edges, i, i+1) })
		if e.Scope == causal.Order {
			mutate("reversed", e.Needs, func(edges []causal.Edge) []causal.Edge { edges[i].From, edges[i].To = e.To, e.From; return edges })
		}
		if e.Limit != "" {
			mutate("without its limit", e.Limit, func(edges []causal.Edge) []causal.Edge {
				edges[i].Scope, edges[i].Says, edges[i].Unless = causal.Node, nil, nil
				return edges
			})
		}
	}
}

// Names are the findings' names, "failure/cause".
func Names(found []v1alpha1.Finding) []string {
	var out []string
	for _, f := range found {
		out = append(out, f.Failure+"/"+f.Cause)
	}
	return out
}

// check is what every finding owes its reader.
func check(t testing.TB, f v1alpha1.Finding) {
	t.Helper()
	if f.Node != Node || f.Summary == "" || len(f.Evidence) == 0 {
		t.Errorf("%s/%s lacks node, summary or evidence: %+v", f.Failure, f.Cause, f)
	}
	if (f.Certainty == v1alpha1.Likely) != (f.ToConfirm != "") {
		t.Errorf("%s/%s: certainty %s with decide %q", f.Failure, f.Cause, f.Certainty, f.ToConfirm)
	}
	for _, e := range f.Evidence {
		if e.Source == "" || e.Text == "" || e.At.IsZero() {
			t.Errorf("%s/%s: incomplete evidence %+v", f.Failure, f.Cause, e)
		}
	}
	if f.Remedy == nil {
		if f.ManualAction == "" {
			t.Errorf("%s/%s has neither a remedy nor the reason why not", f.Failure, f.Cause)
		}
		return
	}
	cordoned := false
	for i, s := range f.Remedy.Steps {
		cordoned = cordoned || s.API != nil && s.API.Verb == v1alpha1.VerbCordon
		if wrong := checkStep(t, s, cordoned); wrong != "" {
			t.Errorf("step %d of %s/%s %s: %+v", i, f.Failure, f.Cause, wrong, s)
		}
	}
	if cordoned && f.Remedy.Steps[len(f.Remedy.Steps)-1].API.Verb != v1alpha1.VerbUncordon {
		t.Errorf("%s/%s cordons and does not uncordon at the end", f.Failure, f.Cause)
	}
}

// checkStep says what is wrong with a step, of a node that is cordoned or not.
func checkStep(t testing.TB, s v1alpha1.Step, cordoned bool) string {
	t.Helper()
	set := 0
	for _, yes := range []bool{len(s.Exec) > 0, s.API != nil, s.Restore != ""} {
		if yes {
			set++
		}
	}
	switch {
	case set != 1 || s.Run == "" || s.Why == "":
		return "is incomplete"
	case strings.Contains(string(marshal(t, s)), redact.Mark):
		return "has what was taken out of the observation"
	case s.API == nil && s.On == "":
		return "is on no node"
	case s.API != nil && s.API.Verb == v1alpha1.VerbPatch && !json.Valid([]byte(s.API.Patch)):
		return "has a patch that is no JSON"
	case !slices.Contains(v1alpha1.Classes(), s.Class) || (s.Class == v1alpha1.Destructive) != (s.Risk != ""):
		return fmt.Sprintf("has class %q and risk %q", s.Class, s.Risk)
	case s.API == nil && s.Class == v1alpha1.Disruptive && !cordoned:
		return "disturbs pods on a node that is not cordoned"
	case strings.Contains(s.Run, "/var/lib/sickbay/"):
		return "reads the harness' own files"
	}
	return ""
}

// Describe is findings as text, for a test's error.
func Describe(found []v1alpha1.Finding) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s/%s %v: %s\n", f.Failure, f.Cause, f.Object, f.Summary)
		for _, e := range f.Evidence {
			fmt.Fprintf(&b, "    %s: %s\n", e.Source, e.Text)
		}
		for _, e := range f.Consequences {
			fmt.Fprintf(&b, "    consequence: %s\n", e)
		}
		if f.Remedy != nil {
			for _, s := range f.Remedy.Steps {
				fmt.Fprintf(&b, "    $ %s\n", s.Run)
			}
		}
	}
	return b.String()
}
