package suites

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/retry"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites/detector"
)

// A run asks other people's detectors beside its own steps: once when the baseline holds, and again and again from the injection until each
// has named what is expected, or for DetectorWait after the signals. They share its injection and nothing else: what one does to itself, or
// does not answer, is its own result.

// contest is the detectors that are scored in one run.
type contest struct {
	r    *run
	own  bool // sickbay's own detectors are among them, or nothing is scored at all
	list []*contestant

	begin func()    // starts the looks
	since time.Time // what is older does not count
	end   context.CancelFunc
	looks sync.WaitGroup

	mu      sync.Mutex
	busy    map[string]bool // nodes that were others' at any time
	nodes   []string
	nodesAt time.Time
}

// contestant is one of them. It is used by its own looks, one after the other, until done is closed.
type contestant struct {
	*detector.Session
	entry detector.Entry
	done  chan struct{}

	looks    int
	errors   []string
	inRow    int  // errors
	gaveUp   bool // no more looks
	answered bool // since the injection
	baseline map[said]bool
	wrong    map[wrong]int
	expected []v1alpha1.Detected
	answer   []v1alpha1.Finding // the last one since the injection
	same     int                // answers in a row that are this one
}

type said struct{ name, node string }

type wrong struct {
	said
	place v1alpha1.WrongPlace
}

const (
	// failuresInRow is after how many looks without an answer a detector is no longer asked in a run, and lostRuns after how many runs
	// without any answer it is no longer asked at all: with the default bound, one that hangs costs a suite five minutes.
	failuresInRow = 3
	lostRuns      = 3
	// sameLooks is how many equal answers settle a detector that names no cause: it may yet name one.
	sameLooks = 3
	// decoyLooks is how many equal answers a detector gives about a decoy.
	decoyLooks = 5
	keptError  = 5
)

func newContest(r *run, list []detector.Entry) *contest {
	first, _ := split(r.sc.Spec.Expect)
	c := &contest{r: r, own: len(list) == 0, busy: map[string]bool{}, begin: func() {}, end: func() {}}
	for _, e := range list {
		if e.IsOwn() {
			c.own = true
			continue
		}
		x := &contestant{entry: e, done: make(chan struct{}), baseline: map[said]bool{}, wrong: map[wrong]int{}}
		for _, w := range first {
			x.expected = append(x.expected, v1alpha1.Detected{Failure: w.Failure, Cause: w.Cause})
		}
		c.list = append(c.list, x)
	}
	return c
}

// baseline asks each once while all is well. What it says now is false, and does not count as found later.
func (c *contest) baseline(ctx context.Context, st step) {
	if len(c.list) == 0 {
		return
	}
	c.since = time.Now()
	var all sync.WaitGroup
	for _, x := range c.list {
		all.Go(func() {
			if c.r.s.lost(x.entry.Name) {
				x.giveUp(fmt.Sprintf("it gave no answer in %d runs", lostRuns))
				return
			}
			s, err := x.entry.Start()
			if err != nil {
				x.giveUp(err.Error())
				return
			}
			x.Session = s
			for _, f := range c.ask(ctx, x) {
				k := said{detector.Name(f), f.Node}
				x.baseline[k] = true
				x.wrong[wrong{k, v1alpha1.WrongBaseline}]++
				c.note(x, f, "before anything was injected")
			}
		})
	}
	all.Wait()
	for _, x := range c.list {
		if n := len(x.baseline); n > 0 {
			st.saw("%s said %d thing(s) before anything was injected", x.entry.Name, n)
		}
	}
}

func (x *contestant) giveUp(why string) {
	x.gaveUp = true
	x.fail(why)
}

func (x *contestant) fail(why string) {
	x.inRow++
	if len(x.errors) < keptError {
		x.errors = append(x.errors, why)
	}
	if x.inRow >= failuresInRow {
		x.gaveUp = true
	}
}

// start begins the looks. They end with ctx, when each has settled, or at stop.
func (c *contest) start(ctx context.Context) {
	ctx, c.end = context.WithCancel(ctx)
	for _, x := range c.list {
		c.looks.Go(func() {
			defer close(x.done)
			for !x.gaveUp && !x.settled() && ctx.Err() == nil {
				began := time.Now()
				if found := c.ask(ctx, x); found != nil {
					c.hear(x, found)
				}
				_ = retry.Sleep(ctx, max(2*c.r.t.Poll, time.Since(began)))
			}
		})
	}
}

// stop ends the looks and waits for the one under way, which the detector package bounds.
func (c *contest) stop() {
	c.end()
	c.looks.Wait()
	for _, x := range c.list {
		if x.Session != nil {
			if err := x.Close(); err != nil {
				c.r.rec.note("", "detector %s could not be ended: %v", x.entry.Name, err)
			}
			x.Session = nil
		}
	}
}

// ask makes one look. The result is nil where there was no answer.
func (c *contest) ask(ctx context.Context, x *contestant) []v1alpha1.Finding {
	look := c.look(ctx, x)
	d, err := x.Ask(ctx, look, x.entry.Bound())
	if ctx.Err() != nil {
		return nil
	}
	x.looks++
	if err != nil {
		x.fail(err.Error())
		c.r.rec.note("", "detector %s gave no answer: %v", x.entry.Name, err)
		return nil
	}
	x.inRow = 0
	// A node that another run has taken since is not judged.
	may := c.watched(ctx)
	all := c.r.s.testbed.Target()
	return slices.DeleteFunc(append(make([]v1alpha1.Finding, 0, len(d.Findings)), d.Findings...), func(f v1alpha1.Finding) bool {
		return !slices.Contains(may, f.Node) && len(all.Only(f.Node).Nodes) > 0
	})
}

func (c *contest) look(ctx context.Context, x *contestant) detector.Look {
	t := c.r.s.testbed
	access := t.Access()
	l := detector.Look{Kube: t.Kube(), Run: access.Run}
	l.Cluster, l.Kubeconfig, l.Since, l.Look = t.Cluster(), access.Kubeconfig, c.since.UTC(), x.looks+1
	for _, n := range c.watched(ctx) {
		l.Nodes = append(l.Nodes, v1alpha1.DetectorNode{Name: n, Exec: access.Exec(n)})
	}
	return l
}

// nodesFor is how long a list of nodes serves: asking costs a call of the API.
const nodesFor = time.Second

// watched are the nodes to look at, by name so that their order tells nothing: the victim, and those that nobody has made ill.
func (c *contest) watched(ctx context.Context) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.nodesAt) > nodesFor {
		for n := range c.r.s.othersNodes(ctx, c.r.id) {
			c.busy[n] = true
		}
		c.nodesAt = time.Now()
	}
	c.nodes = slices.DeleteFunc(c.r.s.bystanders(c.r.res.Started), func(n string) bool { return c.busy[n] || n == c.r.victim })
	c.nodes = append(c.nodes, c.r.victim)
	slices.Sort(c.nodes)
	return slices.Clone(c.nodes)
}

func (c *contest) note(x *contestant, f v1alpha1.Finding, when string) {
	c.r.rec.add(v1alpha1.TimelineEntry{Kind: v1alpha1.EntryFinding, Node: f.Node, Source: "detector/" + x.entry.Name,
		Text: strings.TrimSuffix(fmt.Sprintf("%s %s: %s", detector.Name(f), when, text.Short(f.Summary, 200)), ": ")})
}

// hear takes an answer that came after the injection.
func (c *contest) hear(x *contestant, findings []v1alpha1.Finding) {
	now := c.r.since()
	names := func(list []v1alpha1.Finding) []string {
		var out []string
		for _, f := range list {
			out = append(out, detector.Name(f)+" "+f.Node)
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	if !x.answered || !slices.Equal(names(findings), names(x.answer)) {
		x.same = 0
		for _, f := range findings {
			if !slices.ContainsFunc(x.answer, func(o v1alpha1.Finding) bool { return detector.Name(o) == detector.Name(f) && o.Node == f.Node }) {
				c.note(x, f, "named")
			}
		}
	}
	x.answered, x.answer, x.same = true, findings, x.same+1
	for _, f := range findings {
		k := said{detector.Name(f), f.Node}
		switch {
		case f.Node != c.r.victim && !x.baseline[k]:
			x.wrong[wrong{k, v1alpha1.WrongBystander}]++
		case f.Node == c.r.victim && c.r.sc.Spec.Profile == v1alpha1.ProfileDecoy:
			x.wrong[wrong{k, v1alpha1.WrongDecoy}]++
		}
	}
	for i := range x.expected {
		x.detect(&x.expected[i], findings, c.r.victim, now)
	}
}

// detect notes how far an answer names an expected finding. What it names last decides about the cause, what it named first about the time.
func (x *contestant) detect(e *v1alpha1.Detected, findings []v1alpha1.Finding, victim string, now float64) {
	causes := map[string]bool{}
	for _, f := range findings {
		if f.Failure != e.Failure {
			continue
		}
		e.Named = true
		if f.Node != victim {
			continue
		}
		e.RightNode = true
		if x.baseline[said{detector.Name(f), f.Node}] {
			continue
		}
		if !e.Found {
			e.Found, e.Seconds = true, now
		}
		causes[f.Cause] = true
	}
	if len(causes) == 0 {
		return
	}
	right := causes[e.Cause]
	delete(causes, "")
	e.CauseNamed = len(causes) > 0
	// Two expected causes of one failure are each right.
	for _, o := range x.expected {
		if o.Failure == e.Failure && o.Cause != e.Cause {
			delete(causes, o.Cause)
		}
	}
	delete(causes, e.Cause)
	e.RightCause = right && len(causes) == 0
}

// settled tells that more looks would tell nothing new: all is named as it should be and stays so.
func (x *contestant) settled() bool {
	if x.entry.Role == v1alpha1.RoleControl {
		return x.same >= 1
	}
	if len(x.expected) == 0 {
		return x.same >= decoyLooks
	}
	if x.same < 2 {
		return false
	}
	for _, e := range x.expected {
		if !e.Found || e.CauseNamed && !e.RightCause || !e.CauseNamed && x.same < sameLooks {
			return false
		}
	}
	return true
}

// wait gives the detectors their time after the signals, at least for as long as least, and judges them.
func (c *contest) wait(ctx context.Context, st step, least time.Duration) error {
	if len(c.list) == 0 {
		return nil
	}
	limit := time.After(max(least, c.r.t.DetectorWait))
	if least > 0 {
		_ = retry.Sleep(ctx, least)
	}
	for _, x := range c.list {
		c.r.detail("waiting for detector %s", x.entry.Name)
		select {
		case <-x.done:
			continue
		case <-limit:
		case <-ctx.Done():
		}
		break
	}
	c.end()
	c.looks.Wait()
	var missed []string
	for _, x := range c.list {
		d := c.result(x)
		c.r.res.Detectors = append(c.r.res.Detectors, d)
		st.saw("detector %s: %s", d.Detector, outcomeOf(d))
		if d.Verdict != v1alpha1.VerdictPassed && d.Role != v1alpha1.RoleReference {
			missed = append(missed, fmt.Sprintf("%s: %s", d.Detector, d.Reason))
		}
		if !x.answered {
			c.r.s.noteLost(x.entry.Name)
		}
	}
	if len(missed) > 0 {
		return fault.Failf("%s", strings.Join(missed, "; "))
	}
	return nil
}

func outcomeOf(d v1alpha1.DetectorResult) string {
	if d.Reason != "" {
		return string(d.Verdict) + ": " + d.Reason
	}
	return string(d.Verdict)
}

// result judges one detector.
func (c *contest) result(x *contestant) v1alpha1.DetectorResult {
	d := v1alpha1.DetectorResult{Detector: x.entry.Name, Role: x.entry.Role, Expected: []v1alpha1.Detected{}, Looks: x.looks, Errors: x.errors}
	for _, e := range x.expected {
		if e.Found {
			e.AfterSignal = e.Seconds - c.r.res.Clocks.Signal
		}
		d.Expected = append(d.Expected, e)
	}
	if c.r.sc.Spec.Profile != v1alpha1.ProfileDecoy {
		for _, f := range x.answer {
			if f.Node == c.r.victim && !x.baseline[said{detector.Name(f), f.Node}] && !c.expects(f) {
				x.wrong[wrong{said{detector.Name(f), f.Node}, v1alpha1.WrongVictim}] = x.same
			}
		}
	}
	for _, w := range slices.SortedFunc(maps.Keys(x.wrong), func(a, b wrong) int {
		return strings.Compare(string(a.place)+a.name+a.node, string(b.place)+b.name+b.node)
	}) {
		d.Wrong = append(d.Wrong, v1alpha1.WrongFinding{Name: w.name, Node: w.node, Place: w.place, Looks: x.wrong[w]})
	}
	d.Verdict, d.Reason = verdictOf(d, x)
	return d
}

// expects tells whether a finding on the victim is one of those that the scenario has: the failure without a cause, or with the right one.
func (c *contest) expects(f v1alpha1.Finding) bool {
	return slices.ContainsFunc(c.r.sc.Spec.Expect, func(e v1alpha1.Expected) bool {
		return e.Failure == f.Failure && (f.Cause == "" || f.Cause == e.Cause)
	})
}

func verdictOf(d v1alpha1.DetectorResult, x *contestant) (v1alpha1.Verdict, string) {
	if d.Role == v1alpha1.RoleControl {
		if len(x.answer) > 0 || len(d.Wrong) > 0 {
			return v1alpha1.VerdictFailed, "a control must find nothing"
		}
		return v1alpha1.VerdictPassed, "it found nothing, as a control must"
	}
	var why []string
	if !x.answered {
		last := "it had not ended its first look"
		if n := len(x.errors); n > 0 {
			last = x.errors[n-1]
		}
		why = append(why, "it gave no answer: "+last)
	} else {
		for _, e := range d.Expected {
			name := e.Failure + "/" + e.Cause
			switch {
			case !e.Named:
				why = append(why, "missed: "+name)
			case !e.RightNode:
				why = append(why, "wrong node: "+name)
			case !e.Found:
				why = append(why, fmt.Sprintf("it said %s before anything was injected, so it is not found", e.Failure))
			}
		}
	}
	for _, w := range d.Wrong {
		switch w.Place {
		case v1alpha1.WrongBaseline:
			why = append(why, fmt.Sprintf("false before the injection: %s on %s", w.Name, w.Node))
		case v1alpha1.WrongBystander:
			why = append(why, fmt.Sprintf("false on a node that is well: %s on %s", w.Name, w.Node))
		case v1alpha1.WrongDecoy:
			why = append(why, fmt.Sprintf("no illness: %s on %s", w.Name, w.Node))
		case v1alpha1.WrongVictim:
			what := "extra finding"
			if slices.ContainsFunc(d.Expected, func(e v1alpha1.Detected) bool { return strings.HasPrefix(w.Name, e.Failure+"/") }) {
				what = "wrong cause"
			}
			why = append(why, fmt.Sprintf("%s: %s on %s", what, w.Name, w.Node))
		}
	}
	if len(why) > 0 {
		return v1alpha1.VerdictFailed, strings.Join(why, "; ")
	}
	return v1alpha1.VerdictPassed, ""
}

// unjudged are the results of detectors where the run did not get as far as judging them.
func (c *contest) unjudged() {
	for _, x := range c.list {
		if !slices.ContainsFunc(c.r.res.Detectors, func(d v1alpha1.DetectorResult) bool { return d.Detector == x.entry.Name }) {
			d := c.result(x)
			d.Verdict, d.Reason = v1alpha1.VerdictUnknown, "not judged: the run ended at "+string(c.r.res.FailedAt)
			c.r.res.Detectors = append(c.r.res.Detectors, d)
		}
	}
}

// newRunID names a run after its scenario, but where others look on: the name is that of its namespace, which they read.
func (s *session) newRunID(sc *scenarios.Scenario) string {
	if slices.ContainsFunc(s.opts.Detectors, func(e detector.Entry) bool { return !e.IsOwn() }) {
		return fault.NewRunID("scored")
	}
	return fault.NewRunID(sc.Metadata.Name)
}

// lost tells whether a detector has given no answer in so many runs that it is not asked any more.
func (s *session) lost(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.silentRuns[name] >= lostRuns
}

func (s *session) noteLost(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silentRuns == nil {
		s.silentRuns = map[string]int{}
	}
	s.silentRuns[name]++
}
