package fault

import (
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// TestSignalsAreLaterThanTheInjection: each kind of signal, as it was before the injection, as it is after, and what must not pass.
func TestSignalsAreLaterThanTheInjection(t *testing.T) {
	start := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	line := func(after time.Duration, text string) v1alpha1.Observation {
		return v1alpha1.Observation{Journal: v1alpha1.Journal{Lines: []v1alpha1.LogLine{{Source: "kubelet", At: start.Add(after), Text: text}}}}
	}
	cond := func(kind string, status corev1.ConditionStatus, since time.Duration) v1alpha1.Observation {
		return v1alpha1.Observation{API: &v1alpha1.API{Node: &corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{
			Type: corev1.NodeConditionType(kind), Status: status, Message: "PLEG is not healthy", LastTransitionTime: metav1.NewTime(start.Add(since)),
		}}}}}}
	}
	event := func(uid string, count int32, at time.Duration, ref corev1.ObjectReference) v1alpha1.Observation {
		return v1alpha1.Observation{API: &v1alpha1.API{Events: []corev1.Event{{
			ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid)}, Reason: "Failed", Message: "no such file", Count: count,
			LastTimestamp: metav1.NewTime(start.Add(at)), InvolvedObject: ref,
		}}}}
	}
	victim := corev1.ObjectReference{Kind: "Node", Name: "w1"}
	podOf := func(ns, name string, phase corev1.PodPhase, waiting, last string) v1alpha1.Observation {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Status: corev1.PodStatus{Phase: phase}}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{}}
		if waiting != "" {
			p.Status.ContainerStatuses[0].State.Waiting = &corev1.ContainerStateWaiting{Reason: waiting}
		}
		if last != "" {
			p.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: last}
		}
		return v1alpha1.Observation{API: &v1alpha1.API{Pods: []corev1.Pod{p}}}
	}
	unit := func(sub, result string) v1alpha1.Observation {
		return v1alpha1.Observation{Units: map[string]v1alpha1.Unit{"kubelet": {SubState: sub, Result: result}}}
	}
	cpu := func(ns, id string, periods, throttled int64) v1alpha1.Observation {
		return v1alpha1.Observation{Containers: []v1alpha1.ContainerUsage{{
			ID: id, Namespace: ns, Pod: "app-1", Name: "app", CPU: v1alpha1.CPUUsage{QuotaMilli: 20, NrPeriods: periods, NrThrottled: throttled},
		}}}
	}
	cpuM := v1alpha1.Matcher{Throttled: &v1alpha1.ThrottledMatcher{Container: "app", Percent: 80}}
	var (
		none     v1alpha1.Observation
		logM     = v1alpha1.Matcher{Log: &v1alpha1.LogMatcher{Unit: "kubelet", Contains: "PLEG"}}
		condM    = v1alpha1.Matcher{Condition: &v1alpha1.ConditionMatcher{Type: "Ready", Status: "False", Contains: "PLEG"}}
		eventM   = v1alpha1.Matcher{Event: &v1alpha1.EventMatcher{Reason: "Failed", Contains: "such"}}
		podM     = v1alpha1.Matcher{Pod: &v1alpha1.PodMatcher{Name: "app", Reason: "OOMKilled"}}
		phaseM   = v1alpha1.Matcher{Pod: &v1alpha1.PodMatcher{Phase: "Pending"}}
		unitM    = v1alpha1.Matcher{Unit: &v1alpha1.UnitMatcher{Name: "kubelet.service", Result: "exit-code"}}
		kernelM  = v1alpha1.Matcher{Log: &v1alpha1.LogMatcher{Unit: "kernel", Contains: "oom"}}
		kernelOK = v1alpha1.Observation{Kmsg: []v1alpha1.LogLine{{Source: "kernel", At: start.Add(time.Second), Text: "oom_memcg=/x"}}}
	)
	for name, c := range map[string]struct {
		m             v1alpha1.Matcher
		before, after v1alpha1.Observation
		want          bool
	}{
		"log later":                           {logM, none, line(time.Second, "PLEG is not healthy"), true},
		"log earlier":                         {logM, none, line(-time.Second, "PLEG is not healthy"), false},
		"log of another unit":                 {v1alpha1.Matcher{Log: &v1alpha1.LogMatcher{Unit: "containerd", Contains: "PLEG"}}, none, line(time.Second, "PLEG"), false},
		"log of the kernel":                   {kernelM, none, kernelOK, true},
		"condition new":                       {condM, cond("Ready", "True", -time.Hour), cond("Ready", "False", time.Second), true},
		"condition new, kubelet's clock slow": {condM, cond("Ready", "True", -time.Hour), cond("Ready", "False", -10*365*24*time.Hour), true},
		"condition already so":                {condM, cond("Ready", "False", -time.Minute), cond("Ready", "False", -time.Minute), false},
		"condition again":                     {condM, cond("Ready", "False", -time.Minute), cond("Ready", "False", time.Minute), true},
		"condition of another type":           {condM, none, cond("DiskPressure", "False", time.Second), false},
		"no API":                              {condM, none, none, false},
		"event new":                           {eventM, none, event("a", 1, time.Second, victim), true},
		"event known":                         {eventM, event("a", 3, -time.Minute, victim), event("a", 3, -time.Minute, victim), false},
		"event counted again":                 {eventM, event("a", 3, -time.Minute, victim), event("a", 4, time.Second, victim), true},
		"event posted late":                   {eventM, none, event("b", 1, -20*time.Second, victim), false},
		"event with a skewed clock":           {eventM, none, event("b", 1, -10*365*24*time.Hour, victim), true},
		"event of another node":               {eventM, none, event("a", 1, time.Second, corev1.ObjectReference{Kind: "Node", Name: "w2"}), false},
		"event of our namespace":              {eventM, none, event("a", 1, time.Second, corev1.ObjectReference{Kind: "Pod", Namespace: "sickbay-x", Name: "gone"}), true},
		"event of a stranger's pod":           {eventM, none, event("a", 1, time.Second, corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: "p", UID: "u"}), false},
		"pod's last state":                    {podM, none, podOf("sickbay-x", "app-1", "Running", "", "OOMKilled"), true},
		"pod of another name":                 {podM, none, podOf("sickbay-x", "db-1", "Running", "", "OOMKilled"), false},
		"pod of another namespace":            {podM, none, podOf("default", "app-1", "Running", "", "OOMKilled"), false},
		"phase new":                           {phaseM, podOf("sickbay-x", "app", "Running", "", ""), podOf("sickbay-x", "app", "Pending", "", ""), true},
		"phase already so":                    {phaseM, podOf("sickbay-x", "app", "Pending", "", ""), podOf("sickbay-x", "app", "Pending", "", ""), false},
		"throttled":                           {cpuM, none, cpu("sickbay-x", "a", 40, 36), true},
		"throttled a little":                  {cpuM, none, cpu("sickbay-x", "a", 40, 20), false},
		"throttled before":                    {cpuM, cpu("sickbay-x", "a", 100, 100), cpu("sickbay-x", "a", 140, 110), false},
		"throttled since":                     {cpuM, cpu("sickbay-x", "a", 1000, 10), cpu("sickbay-x", "a", 1040, 48), true},
		"throttled at its start":              {cpuM, none, cpu("sickbay-x", "a", 5, 5), false},
		"throttled in another namespace":      {cpuM, none, cpu("default", "a", 40, 40), false},
		"unit new":                            {unitM, unit("running", "success"), unit("auto-restart", "exit-code"), true},
		"unit already so":                     {unitM, unit("dead", "exit-code"), unit("dead", "exit-code"), false},
	} {
		t.Run(name, func(t *testing.T) {
			c.before.At = start
			s, err := NewSignals("w1", "sickbay-x", &c.before, []v1alpha1.Matcher{c.m})
			if err != nil {
				t.Fatal(err)
			}
			fresh := s.Feed(&c.after)
			if (len(fresh) == 1) != c.want || (len(s.Missing()) == 0) != c.want {
				t.Errorf("seen %v, want %v", len(fresh) == 1, c.want)
			}
			if c.want && (fresh[0].Text == "" || fresh[0].Want == "") {
				t.Errorf("the signal says nothing: %+v", fresh[0])
			}
			if len(s.Feed(&c.after)) > 0 {
				t.Error("the same signal is fresh twice")
			}
		})
	}
}

// TestEveryMatcherIsReadable: a matcher that nothing here reads must be an error, and none of the kinds a scenario may have is.
func TestEveryMatcherIsReadable(t *testing.T) {
	before := &v1alpha1.Observation{}
	fields := reflect.TypeFor[v1alpha1.Matcher]()
	for i := range fields.NumField() {
		var m v1alpha1.Matcher
		f := reflect.ValueOf(&m).Elem().Field(i)
		f.Set(reflect.New(f.Type().Elem()))
		if _, err := NewSignals("w1", "n", before, []v1alpha1.Matcher{m}); err != nil {
			t.Errorf("%s: %v", fields.Field(i).Name, err)
		}
	}
	if _, err := NewSignals("w1", "n", before, []v1alpha1.Matcher{{}}); err == nil {
		t.Error("a matcher that says nothing is waited for")
	}
}
