package all_test

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// The first thing that happens to a sick node is a restart by hand. Every core cause is found after one of the kubelet and the runtime,
// in either order, by somebody who looks for the first time and by one who has looked before.
func TestFoundAfterARestart(t *testing.T) {
	list, err := scenarios.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.Spec.Profile != "core" {
			continue
		}
		for _, on := range []string{"recorded", "recorded-v2"} {
			dir := filepath.Join("testdata", on, s.Metadata.Name)
			want := wanted(t, dir)
			for _, kubeletFirst := range []bool{true, false} {
				name := "runtime first"
				if kubeletFirst {
					name = "kubelet first"
				}
				t.Run(filepath.Join(on, s.Metadata.Name, name), func(t *testing.T) {
					h := slices.Clone(recorded(t, dir)) // others read it as well
					last := &h[len(h)-1]
					*last = apart(*last)
					restart(last, kubeletFirst, s.Metadata.Name == "sandbox-killed")
					judged(t, "by one who has looked before", h, want)
					judged(t, "at a first look", h[len(h)-1:], want)
				})
			}
		}
	}
}

// The next thing is a kubelet that somebody stopped. Every core cause is found beside that, by its own name, but for the two of which
// nothing new shows then: sandboxes that nobody makes again are not killed, and a device plugin that ended is not started again.
func TestFoundAfterAStop(t *testing.T) {
	list, err := scenarios.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.Spec.Profile != "core" || slices.Contains([]string{"sandbox-killed", "plugin-down"}, s.Metadata.Name) {
			continue
		}
		for _, on := range []string{"recorded", "recorded-v2"} {
			t.Run(filepath.Join(on, s.Metadata.Name), func(t *testing.T) {
				dir := filepath.Join("testdata", on, s.Metadata.Name)
				h := slices.Clone(recorded(t, dir))
				last := &h[len(h)-1]
				*last = apart(*last)
				stopKubelet(last)
				for who, h := range map[string]v1alpha1.History{"by one who has looked before": h, "at a first look": h[len(h)-1:]} {
					found := detectorstest.Names(all.Judge(h))
					for _, name := range wanted(t, dir) {
						if !slices.Contains(found, name) {
							t.Errorf("%s: found %v, without %s", who, found, name)
						}
					}
				}
			})
		}
	}
}

// stopKubelet makes a look one of 70 seconds later, a minute after `systemctl stop` of the kubelet.
func stopKubelet(o *v1alpha1.Observation) {
	const later = 70 * time.Second
	unit := facts.KubeletUnitName(o)
	o.At = o.At.Add(later)
	if o.API != nil {
		o.API.ServerDate, o.API.AskedAt = o.API.ServerDate.Add(later), o.API.AskedAt.Add(later)
	}
	u := o.Units[unit]
	u.ActiveState, u.SubState, u.Result, u.MainPID = "inactive", "dead", "success", 0
	o.Units[unit] = u
	o.Kubelet.Healthz, o.Kubelet.HealthzError, o.Kubelet.ConfigSource, o.Kubelet.Flags, o.Kubelet.PID = "", "connection refused", "", nil, 0
	o.Processes = slices.DeleteFunc(o.Processes, func(p v1alpha1.Process) bool { return p.Unit == unit })
}

// apart is a look that shares nothing with it that restart changes.
func apart(o v1alpha1.Observation) v1alpha1.Observation {
	o.Units, o.Processes, o.Journal.Lines = maps.Clone(o.Units), slices.Clone(o.Processes), slices.Clone(o.Journal.Lines)
	if o.API != nil {
		api := *o.API
		api.Events = slices.Clone(api.Events)
		if api.Lease != nil {
			lease := *api.Lease
			api.Lease = &lease
		}
		o.API = &api
	}
	return o
}

// restart makes a look one of 50 seconds later, after both were restarted: the fault is as it was, what was said is older, and
// processes have other numbers. One that does not run cannot end: its unit gives it up. Sandboxes that are killed go on being killed.
func restart(o *v1alpha1.Observation, kubeletFirst, killed bool) {
	const later = 50 * time.Second
	loops := facts.KubeletState(v1alpha1.History{*o}).Looping
	o.At = o.At.Add(later)
	if o.API != nil {
		o.API.ServerDate, o.API.AskedAt = o.API.ServerDate.Add(later), o.API.AskedAt.Add(later)
		for i := range o.API.Events {
			if e := &o.API.Events[i]; e.Reason == "SandboxChanged" && killed {
				e.LastTimestamp, e.Count = metav1.NewTime(o.At.Add(-3*time.Second)), e.Count+3
			}
		}
		if l := o.API.Lease; l != nil && l.Spec.RenewTime != nil && !facts.Silent(o) {
			l.Spec.RenewTime = &metav1.MicroTime{Time: l.Spec.RenewTime.Add(later)}
		}
	}
	for i, unit := range []string{facts.KubeletUnitName(o), facts.Runtime(o).Unit} {
		u, ok := o.Units[unit]
		if i == 0 && loops { // and so it did before
			u.ActiveSince, u.StateSince = u.ActiveSince.Add(later), u.StateSince.Add(later)
			o.Units[unit] = u
			for j := range o.Journal.Lines {
				if l := &o.Journal.Lines[j]; l.Source == unit {
					l.At = l.At.Add(later)
				}
			}
		}
		if !ok || u.ActiveState != "active" || i == 0 && loops {
			continue
		}
		ago := 40 * time.Second
		if (i == 0) != kubeletFirst {
			ago = 34 * time.Second
		}
		p, there := facts.MainProcess(o, unit)
		switch {
		case there && facts.Halted(p):
			u.ActiveState, u.SubState, u.Result, u.MainPID = "failed", "failed", "timeout", 0
		default:
			for j := range o.Processes {
				if o.Processes[j].PID == u.MainPID {
					o.Processes[j].PID += 100_000
				}
			}
			if o.Runtime.PID == u.MainPID {
				o.Runtime.PID += 100_000
			}
			u.MainPID += 100_000
			u.ActiveSince, u.StateSince = o.At.Add(-ago), o.At.Add(-ago)
		}
		o.Units[unit] = u
	}
}

// A runtime that somebody stopped tells no handlers: what it said last of its programs counts.
func TestFoundAfterAStopOfTheRuntime(t *testing.T) {
	for _, on := range []string{"recorded", "recorded-v2"} {
		t.Run(on, func(t *testing.T) {
			h := slices.Clone(recorded(t, filepath.Join("testdata", on, "shim-missing")))
			last := &h[len(h)-1]
			*last = apart(*last)
			const later = 70 * time.Second
			unit := facts.Runtime(last).Unit
			last.At = last.At.Add(later)
			last.API.ServerDate, last.API.AskedAt = last.API.ServerDate.Add(later), last.API.AskedAt.Add(later)
			u := last.Units[unit]
			u.ActiveState, u.SubState, u.Result, u.MainPID = "inactive", "dead", "success", 0
			last.Units[unit] = u
			last.Processes = slices.DeleteFunc(last.Processes, func(p v1alpha1.Process) bool { return p.Unit == unit })
			last.Unknown = slices.Clone(last.Unknown)
			detectorstest.RuntimeSilent(last)
			for who, h := range map[string]v1alpha1.History{"by one who has looked before": h, "at a first look": h[len(h)-1:]} {
				if found := detectorstest.Names(all.Judge(h)); !slices.Equal(found, []string{"sandbox-create/shim-missing", "pleg/runtime-hung"}) {
					t.Errorf("%s: found %v", who, found)
				}
			}
		})
	}
}
