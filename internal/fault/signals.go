package fault

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/facts"
)

// Signals waits for matchers. It knows observations and nothing of detectors, and it accepts only what is later
// than the look it was started from:
//
//   - log lines come after that look's journal cursor, so they are later by construction, whatever any clock says
//   - events are new, or were counted again, since that look (a kubelet with a skewed clock stamps its events wrongly, so
//     stamps alone cannot decide)
//   - CPU counters are counted from that look on
//   - conditions, pods and units did not already match in that look; a condition may also have a later transition
type Signals struct {
	node, namespace string
	before          *v1alpha1.Observation
	start           time.Time // node clock
	eventsBefore    map[types.UID]int
	matchers        []v1alpha1.Matcher
	found           []v1alpha1.Signal
}

// NewSignals waits for matchers on a node, and in the namespace of its run. A matcher that no observation can answer is an error.
func NewSignals(node, namespace string, before *v1alpha1.Observation, matchers []v1alpha1.Matcher) (*Signals, error) {
	s := &Signals{
		node: node, namespace: namespace, before: before, start: before.At, matchers: matchers,
		eventsBefore: eventCounts(before.API),
	}
	for i, m := range matchers {
		want := describe(m)
		if want == "" {
			return nil, fmt.Errorf("signal %d cannot be read: no observation answers it", i+1)
		}
		s.found = append(s.found, v1alpha1.Signal{Want: want})
	}
	return s, nil
}

// Feed takes one more look and returns the signals that it showed for the first time.
func (s *Signals) Feed(o *v1alpha1.Observation) []v1alpha1.Signal {
	var fresh []v1alpha1.Signal
	for i, m := range s.matchers {
		if !s.found[i].At.IsZero() {
			continue
		}
		at, text, ok := s.match(m, o)
		if !ok {
			continue
		}
		if at.IsZero() {
			at = o.At
		}
		if at.IsZero() {
			at = time.Now()
		}
		s.found[i].At, s.found[i].Text = at, text
		fresh = append(fresh, s.found[i])
	}
	return fresh
}

// Missing lists what was not seen yet.
func (s *Signals) Missing() []string {
	var out []string
	for _, f := range s.found {
		if f.At.IsZero() {
			out = append(out, f.Want)
		}
	}
	return out
}

// SeenAny tells whether at least one was seen.
func (s *Signals) SeenAny() bool { return len(s.Missing()) < len(s.found) }

// Found is every signal, in the order of the matchers.
func (s *Signals) Found() []v1alpha1.Signal { return s.found }

func (s *Signals) match(m v1alpha1.Matcher, o *v1alpha1.Observation) (at time.Time, text string, ok bool) {
	switch {
	case m.Log != nil:
		return s.matchLog(m.Log, o)
	case m.Event != nil:
		return s.matchEvent(m.Event, o)
	case m.Condition != nil:
		return s.matchCondition(m.Condition, o)
	case m.Throttled != nil:
		text, ok = s.matchThrottled(m.Throttled, o)
		return at, text, ok
	}
	text, ok = s.matchState(m, o)
	if _, had := s.matchState(m, s.before); had && (m.Pod == nil || m.Pod.Reason == "" && m.Pod.Contains == "") {
		return at, "", false // a pod's bare phase may have held before; a reason is the fault's own
	}
	return at, text, ok
}

// matchState matches what a look shows by itself; it counts when an earlier one did not show it.
func (s *Signals) matchState(m v1alpha1.Matcher, o *v1alpha1.Observation) (string, bool) {
	switch {
	case m.Pod != nil:
		return s.matchPod(m.Pod, o.API)
	case m.Unit != nil:
		return matchUnit(m.Unit, o)
	case m.Cgroup != nil:
		return s.matchCgroup(m.Cgroup, o)
	case m.Allocatable != nil && o.API != nil && o.API.Node != nil:
		return fmt.Sprintf("node %s offers %d of %s", s.node, m.Allocatable.Is, m.Allocatable.Resource), m.Allocatable.Of(o.API.Node)
	}
	return "", false
}

func (s *Signals) matchCgroup(m *v1alpha1.CgroupMatcher, o *v1alpha1.Observation) (string, bool) {
	for _, c := range o.Containers {
		if c.Namespace == s.namespace && strings.HasPrefix(c.Pod, m.Pod) && strings.Contains(c.CgroupPath, m.Contains) {
			return fmt.Sprintf("container %s of pod %s (pid %d): %s", c.Name, c.Pod, c.PID, c.CgroupPath), true
		}
	}
	return "", false
}

func (s *Signals) matchLog(m *v1alpha1.LogMatcher, o *v1alpha1.Observation) (time.Time, string, bool) {
	for _, lines := range [][]v1alpha1.LogLine{o.Journal.Lines, o.Kmsg} {
		for _, l := range lines {
			if l.Source == m.Unit && strings.Contains(l.Text, m.Contains) && !l.At.Before(s.start) {
				return l.At, l.Text, true
			}
		}
	}
	return time.Time{}, "", false
}

// lateEvent is how long an event may have been under way: one that is stamped up to this long before the start was
// posted late and belongs to what was before. A stamp further off is a skewed clock and says nothing.
const lateEvent = 2 * time.Minute

func (s *Signals) matchEvent(m *v1alpha1.EventMatcher, o *v1alpha1.Observation) (time.Time, string, bool) {
	if o.API == nil {
		return time.Time{}, "", false
	}
	for i := range o.API.Events {
		e := &o.API.Events[i]
		if e.Reason != m.Reason || !strings.Contains(e.Message, m.Contains) || (m.Type != "" && e.Type != m.Type) || !s.concerns(e, o.API) {
			continue
		}
		if had, known := s.eventsBefore[e.UID]; known && facts.EventCount(e) <= had {
			continue
		}
		at := facts.EventTime(e)
		// Event stamps have whole seconds.
		if early := s.start.Sub(at); early > time.Second && early < lateEvent {
			continue
		}
		return at, fmt.Sprintf("%s %s/%s: %s: %s", e.Type, strings.ToLower(e.InvolvedObject.Kind), e.InvolvedObject.Name, e.Reason, e.Message), true
	}
	return time.Time{}, "", false
}

func (s *Signals) concerns(e *corev1.Event, api *v1alpha1.API) bool {
	if e.InvolvedObject.Kind == "Node" {
		return e.InvolvedObject.Name == s.node
	}
	if e.InvolvedObject.Namespace == s.namespace {
		return true
	}
	for i := range api.Pods {
		if api.Pods[i].UID == e.InvolvedObject.UID {
			return true
		}
	}
	return false
}

func (s *Signals) matchCondition(m *v1alpha1.ConditionMatcher, o *v1alpha1.Observation) (time.Time, string, bool) {
	c := condition(o.API, m.Type)
	if !conditionMatches(m, c) {
		return time.Time{}, "", false
	}
	if had := condition(s.before.API, m.Type); conditionMatches(m, had) && !c.LastTransitionTime.Time.After(had.LastTransitionTime.Time) {
		return time.Time{}, "", false
	}
	return time.Time{}, fmt.Sprintf("node %s: %s=%s %s: %s", s.node, c.Type, c.Status, c.Reason, c.Message), true
}

func condition(api *v1alpha1.API, kind string) *corev1.NodeCondition {
	if api == nil || api.Node == nil {
		return nil
	}
	for i := range api.Node.Status.Conditions {
		if string(api.Node.Status.Conditions[i].Type) == kind {
			return &api.Node.Status.Conditions[i]
		}
	}
	return nil
}

func conditionMatches(m *v1alpha1.ConditionMatcher, c *corev1.NodeCondition) bool {
	return c != nil && string(c.Status) == m.Status && (m.Reason == "" || c.Reason == m.Reason) && strings.Contains(c.Message, m.Contains)
}

func (s *Signals) matchPod(m *v1alpha1.PodMatcher, api *v1alpha1.API) (string, bool) {
	if api == nil {
		return "", false
	}
	for _, pods := range [][]corev1.Pod{api.Pods, api.Pending} {
		for i := range pods {
			p := &pods[i]
			if p.Namespace != s.namespace || !strings.HasPrefix(p.Name, m.Name) || (m.Phase != "" && string(p.Status.Phase) != m.Phase) {
				continue
			}
			if m.Reason == "" && m.Contains == "" {
				return fmt.Sprintf("pod %s: %s", p.Name, p.Status.Phase), true
			}
			for _, st := range podStates(p) {
				if (m.Reason == "" || st.reason == m.Reason) && strings.Contains(st.message, m.Contains) {
					return fmt.Sprintf("pod %s: %s: %s", p.Name, st.reason, st.message), true
				}
			}
		}
	}
	return "", false
}

type podState struct{ reason, message string }

// podStates are all reasons a pod gives: its own, its conditions', and its containers' waiting, terminated and last states.
func podStates(p *corev1.Pod) []podState {
	var out []podState
	add := func(reason, message string) {
		if reason != "" || message != "" {
			out = append(out, podState{reason, message})
		}
	}
	add(p.Status.Reason, p.Status.Message)
	for _, c := range p.Status.Conditions {
		add(c.Reason, c.Message)
	}
	for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses} {
		for _, c := range list {
			for _, st := range []corev1.ContainerState{c.State, c.LastTerminationState} {
				if st.Waiting != nil {
					add(st.Waiting.Reason, st.Waiting.Message)
				}
				if st.Terminated != nil {
					add(st.Terminated.Reason, st.Terminated.Message)
				}
			}
		}
	}
	return out
}

func matchUnit(m *v1alpha1.UnitMatcher, o *v1alpha1.Observation) (string, bool) {
	u, ok := o.Units[strings.TrimSuffix(m.Name, ".service")]
	if !ok || (m.SubState != "" && u.SubState != m.SubState) || (m.Result != "" && u.Result != m.Result) {
		return "", false
	}
	return fmt.Sprintf("unit %s: %s (%s), result %s, %d restarts", m.Name, u.ActiveState, u.SubState, u.Result, u.NRestarts), true
}

// leastPeriods are two seconds of CPU periods: a container that starts is throttled in its first few whatever its quota.
const leastPeriods = 20

func (s *Signals) matchThrottled(m *v1alpha1.ThrottledMatcher, o *v1alpha1.Observation) (string, bool) {
	for _, u := range o.Containers {
		if u.Namespace != s.namespace || m.Container != "" && u.Name != m.Container {
			continue
		}
		periods, throttled := u.CPU.NrPeriods, u.CPU.NrThrottled
		for _, had := range s.before.Containers {
			if had.ID == u.ID {
				periods, throttled = periods-had.CPU.NrPeriods, throttled-had.CPU.NrThrottled
			}
		}
		if periods >= leastPeriods && throttled*100 >= int64(m.Percent)*periods {
			return fmt.Sprintf("container %s of pod %s: throttled in %d of %d CPU periods, quota %dm", u.Name, u.Pod, throttled, periods, u.CPU.QuotaMilli), true
		}
	}
	return "", false
}

func eventCounts(api *v1alpha1.API) map[types.UID]int {
	out := map[types.UID]int{}
	if api != nil {
		for i := range api.Events {
			out[api.Events[i].UID] = facts.EventCount(&api.Events[i])
		}
	}
	return out
}

// describe is a matcher as a person reads it; empty for one that nothing here reads.
func describe(m v1alpha1.Matcher) string {
	words := func(all ...string) string {
		return strings.Join(slices.DeleteFunc(all, func(w string) bool { return w == "" }), " ")
	}
	quote := func(s string) string {
		if s == "" {
			return ""
		}
		return strconv.Quote(s)
	}
	switch {
	case m.Log != nil:
		return words("log of", m.Log.Unit, quote(m.Log.Contains))
	case m.Event != nil:
		return words("event", m.Event.Reason, quote(m.Event.Contains))
	case m.Condition != nil:
		return words("condition", m.Condition.Type+"="+m.Condition.Status, m.Condition.Reason, quote(m.Condition.Contains))
	case m.Pod != nil:
		return words("pod", m.Pod.Name, m.Pod.Phase, m.Pod.Reason, quote(m.Pod.Contains))
	case m.Allocatable != nil:
		return fmt.Sprintf("allocatable %s %d", m.Allocatable.Resource, m.Allocatable.Is)
	case m.Unit != nil:
		return words("unit", m.Unit.Name, m.Unit.SubState, m.Unit.Result)
	case m.Throttled != nil:
		return fmt.Sprintf("container %s throttled in %d%% of its CPU periods", m.Throttled.Container, m.Throttled.Percent)
	case m.Cgroup != nil:
		return words("cgroup of pod", m.Cgroup.Pod, quote(m.Cgroup.Contains))
	}
	return ""
}
