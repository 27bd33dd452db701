package report

import (
	"fmt"
	"time"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// hostile is a log line as an attacker, or only a web server, would write it.
const hostile = `E1124 09:15:01 "</script><script>document.title='taken'</script>" <img src=x onerror=alert(1)> ]]>` + "\x1b[31m\x00"

// sample is a report with everything in it that a report can have, for the writers' tests and for looking at the page.
func sample() *v1alpha1.Report {
	t0 := time.Date(2026, 11, 24, 9, 12, 0, 0, time.UTC)
	at := func(s float64) time.Time { return t0.Add(time.Duration(s * float64(time.Second))) }
	step := func(n v1alpha1.StepName, v v1alpha1.Verdict, from, to float64, seen ...string) v1alpha1.StepResult {
		return v1alpha1.StepResult{Name: n, Verdict: v, Started: at(from), Ended: at(to), Bound: time.Minute, Seen: seen}
	}
	pleg := v1alpha1.ScenarioResult{
		Scenario: "pleg-disk", Title: "PLEG is not healthy and DiskPressure: the runtime's disk is full and stalled", Profile: "core", Guide: []string{"4.4", "4.10", "11.3"},
		Run: "pleg-disk-k3f9a", Node: "sickbay-worker2", Verdict: v1alpha1.VerdictPassed, Started: t0, Ended: at(268),
		Fidelity: v1alpha1.Fidelity{Level: "real", Differs: "The runtime's filesystem is a small loop device made for the run; on a real node it is a partition or the root disk."},
		Expected: []string{"pleg/runtime-io-stall", "disk-pressure/imagefs-full"},
		Steps: []v1alpha1.StepResult{
			step(v1alpha1.StepBaseline, v1alpha1.VerdictPassed, 0, 14.2, "node sickbay-worker2 is Ready, nothing is injected on it and no detector speaks", "fingerprint of the node taken", "prepared dedicated-filesystem on sickbay-worker2 in 2.1s: /var/lib/containerd is ext4 on /dev/loop4, 512 MiB", "the workload runs on sickbay-worker2", "no detector speaks on any node"),
			step(v1alpha1.StepInject, v1alpha1.VerdictPassed, 14.2, 21.8, "injected fill-disk on sickbay-worker2 in 612ms: 3.9 MiB of 488 MiB left", "injected freeze-filesystem on sickbay-worker2 in 38ms: /dev/loop4 is frozen", "injected process on sickbay-worker2 in 22ms: app was killed"),
			step(v1alpha1.StepManifest, v1alpha1.VerdictPassed, 21.8, 212.4, `condition DiskPressure=True "kubelet has disk pressure": node sickbay-worker2: DiskPressure=True KubeletHasDiskPressure: kubelet has disk pressure`, `log of kubelet "PLEG is not healthy": E1124 09:15:27.884 skipping pod synchronization: PLEG is not healthy: pleg was last seen active 3m1.2s ago`),
			step(v1alpha1.StepDetect, v1alpha1.VerdictPassed, 212.4, 216.1, "pleg/runtime-io-stall on sickbay-worker2 (certain): the runtime's filesystem blocks writes", "disk-pressure/imagefs-full on sickbay-worker2 (certain): /var/lib/containerd has 0.8% left", "4 other node(s) silent"),
			step(v1alpha1.StepRemediate, v1alpha1.VerdictPassed, 216.1, 224.9, "fsfreeze -u /var/lib/containerd", "rm /var/lib/containerd/fill"),
			step(v1alpha1.StepClear, v1alpha1.VerdictPassed, 224.9, 251.3, "a fresh pod runs on sickbay-worker2: pod proof Running, Ready", "no detector spoke for 15s, node Ready, restart counts still"),
			step(v1alpha1.StepResidue, v1alpha1.VerdictPassed, 251.3, 268, "recover undid: dedicated-filesystem on sickbay-worker2: unmounted /dev/loop4", "the node's fingerprint equals the baseline"),
		},
		Signals: []v1alpha1.Signal{
			{Want: "condition DiskPressure=True", At: at(19.6), Text: "node sickbay-worker2: DiskPressure=True KubeletHasDiskPressure: kubelet has disk pressure"},
			{Want: `log of kubelet "PLEG is not healthy"`, At: at(208), Text: "skipping pod synchronization: PLEG is not healthy: pleg was last seen active 3m1.2s ago; threshold is 3m0s"},
			{Want: `condition Ready=False "PLEG is not healthy"`, At: at(212), Text: "node sickbay-worker2: Ready=False KubeletNotReady: PLEG is not healthy"},
		},
		Findings: []v1alpha1.Finding{
			{Failure: "pleg", Cause: "runtime-io-stall", Node: "sickbay-worker2", Certainty: v1alpha1.Certain, Summary: "The runtime's filesystem blocks writes: ListContainers does not answer, and two containerd threads wait in the kernel's freeze gate.",
				Evidence:     []v1alpha1.Evidence{{Source: "processes", At: at(213), Text: "containerd[412]: threads 431, 440 in state D, wchan percpu_rwsem_wait"}, {Source: "filesystems", At: at(213), Text: "/var/lib/containerd (ext4 on /dev/loop4): frozen"}, {Source: "journal/kubelet", At: at(208), Text: "PLEG is not healthy: pleg was last seen active 3m1.2s ago; threshold is 3m0s"}},
				Consequences: []string{"node Ready=False", "pods on the node do not end"},
				Remedy:       &v1alpha1.Remedy{Name: "thaw-filesystem", Steps: []v1alpha1.Step{{Run: "fsfreeze -u /var/lib/containerd", Why: "writes go on; nothing restarts", On: "sickbay-worker2"}}}},
			{Failure: "disk-pressure", Cause: "imagefs-full", Node: "sickbay-worker2", Certainty: v1alpha1.Certain, Summary: "The runtime's filesystem is full: 0.8% of 488 MiB left, the kubelet's threshold is 15%.",
				Evidence:     []v1alpha1.Evidence{{Source: "filesystems", At: at(213), Text: "/var/lib/containerd: 3.9 MiB of 488 MiB free; largest: /var/lib/containerd/fill 301 MiB"}, {Source: "api.node", At: at(213), Text: "DiskPressure=True"}},
				Consequences: []string{"evicted pods", "taint node.kubernetes.io/disk-pressure"},
				Remedy:       &v1alpha1.Remedy{Name: "free-space", Steps: []v1alpha1.Step{{Run: "rm /var/lib/containerd/fill", Why: "no process has it open and no image or snapshot owns it", On: "sickbay-worker2", Class: v1alpha1.Destructive}}}},
		},
		Remedies: []v1alpha1.AppliedStep{
			{Finding: "pleg/runtime-io-stall", Remedy: "thaw-filesystem", Step: v1alpha1.Step{Run: "fsfreeze -u /var/lib/containerd"}, Started: at(216.4), Ended: at(216.5)},
			{Finding: "disk-pressure/imagefs-full", Remedy: "free-space", Step: v1alpha1.Step{Run: "rm /var/lib/containerd/fill"}, Started: at(219.2), Ended: at(219.4)},
		},
		Clocks: v1alpha1.RunClocks{Signal: 197.9, Finding: 184.2, Remedied: 205.2, Cleared: 237.1},
	}
	pleg.Timeline = []v1alpha1.TimelineEntry{
		{At: at(0), Kind: v1alpha1.EntryStep, Text: "baseline"}, {At: at(14.2), Kind: v1alpha1.EntryStep, Text: "inject"},
		{At: at(15), Kind: v1alpha1.EntryInject, Source: "fill-disk", Text: "injected fill-disk on sickbay-worker2"},
		{At: at(21), Kind: v1alpha1.EntryInject, Source: "freeze-filesystem", Text: "injected freeze-filesystem on sickbay-worker2"},
		{At: at(19.2), Kind: v1alpha1.EntryCondition, Source: "api.node", Level: "error", Text: "DiskPressure: False → True (KubeletHasDiskPressure: kubelet has disk pressure)"},
		{At: at(19.6), Kind: v1alpha1.EntrySignal, Text: "condition DiskPressure=True"},
		{At: at(20.1), Kind: v1alpha1.EntryEvent, Source: "api.events", Level: "warning", Text: "node/sickbay-worker2: EvictionThresholdMet: Attempting to reclaim ephemeral-storage"},
		{At: at(21.8), Kind: v1alpha1.EntryStep, Text: "manifest"},
		{At: at(60), Kind: v1alpha1.EntryLog, Source: "journal/kubelet", Level: "error", Text: hostile},
		{At: at(208), Kind: v1alpha1.EntryLog, Source: "journal/kubelet", Level: "error", Text: "PLEG is not healthy: pleg was last seen active 3m1.2s ago; threshold is 3m0s"},
		{At: at(208), Kind: v1alpha1.EntrySignal, Text: `log of kubelet "PLEG is not healthy"`},
		{At: at(212), Kind: v1alpha1.EntryCondition, Source: "api.node", Level: "error", Text: "Ready: True → False (KubeletNotReady: PLEG is not healthy)"},
		{At: at(212.4), Kind: v1alpha1.EntryStep, Text: "detect"}, {At: at(198), Kind: v1alpha1.EntryFinding, Text: "first named: pleg/runtime-io-stall on sickbay-worker2"},
		{At: at(214), Kind: v1alpha1.EntryFinding, Text: "pleg/runtime-io-stall: the runtime's filesystem blocks writes"},
		{At: at(216.1), Kind: v1alpha1.EntryStep, Text: "remediate"}, {At: at(216.4), Kind: v1alpha1.EntryRemedy, Text: "fsfreeze -u /var/lib/containerd"}, {At: at(219.2), Kind: v1alpha1.EntryRemedy, Text: "rm /var/lib/containerd/fill"},
		{At: at(221), Kind: v1alpha1.EntryCondition, Source: "api.node", Level: "info", Text: "Ready: False → True (KubeletReady)"},
		{At: at(224.9), Kind: v1alpha1.EntryStep, Text: "clear"}, {At: at(232), Kind: v1alpha1.EntryCondition, Source: "api.node", Level: "info", Text: "DiskPressure: True → False"},
		{At: at(251.3), Kind: v1alpha1.EntryStep, Text: "residue"},
	}
	for i := range 60 {
		s := 62 + float64(i)*2.5
		level, src := "error", "journal/kubelet"
		if i%3 == 0 {
			level, src = "warning", "journal/containerd"
		}
		pleg.Timeline = append(pleg.Timeline, v1alpha1.TimelineEntry{At: at(s), Kind: v1alpha1.EntryLog, Source: src, Level: level, Text: "rpc error: code = DeadlineExceeded desc = context deadline exceeded while listing containers"})
		if i%7 == 0 {
			pleg.Timeline = append(pleg.Timeline, v1alpha1.TimelineEntry{At: at(s + 1), Kind: v1alpha1.EntryEvent, Source: "api.events", Level: "warning", Text: "pod/app-7d9: FailedKillPod: error killing pod: context deadline exceeded"})
		}
	}
	sortTimeline(pleg.Timeline)
	return &v1alpha1.Report{
		APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindReport, Cluster: "sickbay", Version: "v0.1.0", Kubernetes: "v1.37.2",
		Host: "Debian GNU/Linux 12, kernel 6.1.0, cgroup v1", Started: t0, Ended: at(268), Verdict: v1alpha1.VerdictPassed, Results: []v1alpha1.ScenarioResult{pleg},
	}
}

func many() *v1alpha1.Report {
	r := sample()
	pleg := r.Results[0]
	add := func(name string, v v1alpha1.Verdict, at v1alpha1.StepName, reason, expected, found string, change ...func(*v1alpha1.ScenarioResult)) {
		x := pleg
		x.Scenario, x.Title, x.Run, x.Verdict, x.FailedAt, x.Reason = name, "A scenario called "+name, name+"-1", v, at, reason
		x.Expected, x.Findings, x.Timeline = []string{expected}, nil, pleg.Timeline[:8]
		if found != "" {
			f, c, _ := splitName(found)
			x.Findings = []v1alpha1.Finding{{Failure: f, Cause: c, Node: x.Node, Certainty: v1alpha1.Likely, Summary: found}}
		}
		x.Steps = append([]v1alpha1.StepResult(nil), pleg.Steps...)
		for i := range x.Steps {
			if x.Steps[i].Name == at {
				x.Steps[i].Verdict, x.Steps[i].Reason = v, reason
				for j := i + 1; j < 6; j++ {
					x.Steps[j] = v1alpha1.StepResult{Name: x.Steps[j].Name, Verdict: v1alpha1.VerdictSkipped}
				}
				break
			}
		}
		for _, c := range change {
			c(&x)
		}
		r.Results = append(r.Results, x)
	}
	add("conflist-missing", v1alpha1.VerdictPassed, "", "", "cni/conflist-missing", "cni/conflist-missing")
	add("swap-on", v1alpha1.VerdictFailed, v1alpha1.StepDetect, "detectors, asked blind, said node-notready/kubelet-stopped on sickbay-worker: missed: swap/swap-on on sickbay-worker2", "swap/swap-on", "node-notready/kubelet-stopped", func(x *v1alpha1.ScenarioResult) {
		x.Fidelity = v1alpha1.Fidelity{Level: "contained", Differs: "This host has swap of its own."}
	})
	add("apparmor-denied", v1alpha1.VerdictUnsupported, v1alpha1.StepInject, "apparmor is unsupported here: the kernel has no AppArmor", "security-denial/apparmor-denied", "")
	add("clock-skew", v1alpha1.VerdictUnknown, v1alpha1.StepBaseline, "reach the agent on node sickbay-worker: container is paused", "clock-cert/clock-skew", "")
	add("conflist-missing", v1alpha1.VerdictFailed, v1alpha1.StepManifest, "nothing was injected, and the signal did not come within 1m0s, as it must not", "cni/conflist-missing", "", func(x *v1alpha1.ScenarioResult) {
		x.Control, x.ControlHeld = v1alpha1.ControlNoop, true
	})
	r.Verdict = Overall(r)
	r.HostChanges = []string{"host: + loops /dev/loop9 (/var/lib/x)"}
	return r
}

// scored is a report of n scenarios, each judged by four detectors, with as many log lines as a real run has.
func scored(n int) *v1alpha1.Report {
	r := many()
	r.HostChanges, r.Profile = nil, "all"
	r.Detectors = []v1alpha1.DetectorInfo{
		{Name: "sickbay", Spec: "sickbay", Role: v1alpha1.RoleContestant, Acts: true}, {Name: "mine", Spec: "exec:./mine", Role: v1alpha1.RoleContestant},
		{Name: "kubectl", Spec: "kubectl", Role: v1alpha1.RoleReference}, {Name: "none", Spec: "none", Role: v1alpha1.RoleControl},
	}
	names := failures.All()
	base := r.Results
	r.Results = nil
	for i := range n {
		x := base[i%len(base)]
		if i >= len(base) {
			f := names[i%len(names)]
			x.Scenario, x.Control = fmt.Sprintf("%s-%d", f.Name, i), v1alpha1.ControlNone
			x.Expected = []string{f.Name + "/" + f.Causes[i%len(f.Causes)].Name}
		}
		x.Timeline = longTimeline(x, i)
		failure, cause, _ := splitName(x.Expected[0])
		seen := func(name string, role v1alpha1.DetectorRole, v v1alpha1.Verdict, at float64, found, right bool) v1alpha1.DetectorResult {
			d := v1alpha1.DetectorResult{Detector: name, Role: role, Verdict: v, Looks: 12, Expected: []v1alpha1.Detected{{Failure: failure, Cause: cause, Named: found, RightNode: found, Found: found, CauseNamed: right, RightCause: right, Seconds: at, AfterSignal: at - 20}}}
			if !found {
				d.Reason, d.Expected[0].Seconds, d.Expected[0].AfterSignal = "missed: "+x.Expected[0], 0, 0
			}
			return d
		}
		x.Detectors = []v1alpha1.DetectorResult{
			seen("sickbay", v1alpha1.RoleContestant, v1alpha1.VerdictPassed, 12+float64(i%9), true, true),
			seen("mine", v1alpha1.RoleContestant, map[bool]v1alpha1.Verdict{true: v1alpha1.VerdictPassed, false: v1alpha1.VerdictFailed}[i%3 == 0], 31+float64(i%17), i%3 == 0, i%6 == 0),
			seen("kubectl", v1alpha1.RoleReference, v1alpha1.VerdictFailed, 25+float64(i%5), i%2 == 0, false),
			seen("none", v1alpha1.RoleControl, v1alpha1.VerdictPassed, 0, false, false),
		}
		r.Results = append(r.Results, x)
	}
	r.Verdict = Overall(r)
	return r
}

// longTimeline has 400 lines: some repeat, most differ by a number as real ones do.
func longTimeline(r v1alpha1.ScenarioResult, seed int) []v1alpha1.TimelineEntry {
	out := append([]v1alpha1.TimelineEntry(nil), r.Timeline...)
	for i := range 400 {
		out = append(out, v1alpha1.TimelineEntry{At: r.Started.Add(time.Duration(i) * 600 * time.Millisecond), Kind: v1alpha1.EntryLog, Source: []string{"journal/kubelet", "journal/containerd"}[i%2], Node: r.Node, Level: []string{"error", "warning", "info"}[i%3],
			Text: fmt.Sprintf(`E1124 09:%02d:%02d.%06d   %d pod_workers.go:1324] "Error syncing pod, skipping" err="failed to \"StartContainer\" for \"app\" with CrashLoopBackOff" pod="sickbay-%s/app-%x" podUID="%08x-9c1d-4e52-8d6b-%012x"`, i/60, i%60, i*7919%999983, 1000+seed, r.Run, i*31+seed, i*2654435761%4294967291, i*seed+99)})
	}
	sortTimeline(out)
	return out
}

// core is a suite as it mostly ends: one that failed, one that this host cannot have, one flaky, the rest passed.
func core() *v1alpha1.Report {
	r := many()
	byName := map[string]v1alpha1.ScenarioResult{}
	for _, x := range r.Results {
		if x.Control == v1alpha1.ControlNone {
			byName[x.Scenario] = x
		}
	}
	r.HostChanges, r.Profile, r.Results = nil, "core", nil
	for i, name := range []string{"apparmor-denied", "client-cert-expired", "conflist-missing", "containercreating-cni", "cpu-throttled", "device-unhealthy", "driver-mismatch", "driver-not-registered",
		"imagepull-private-registry", "kubelet-stopped", "nodefs-full", "pleg-disk", "probe-too-aggressive", "runtime-io-stall", "sandbox-killed", "shim-missing", "swap-on", "tag-not-found"} {
		x, ok := byName[name]
		if !ok {
			x = byName["conflist-missing"]
			x.Scenario = name
			x.Ended = x.Started.Add(time.Duration(45+i*7%60) * time.Second)
			x.Clocks = v1alpha1.RunClocks{Signal: float64(4 + i%9), Finding: float64(6 + i*5%17), Remedied: float64(20 + i), Cleared: float64(38 + i)}
		}
		if name == "sandbox-killed" {
			x.Verdict, x.FailedAt, x.Reason = v1alpha1.VerdictFlaky, v1alpha1.StepClear, "passed in the second attempt; the first ended at clear: a finding came back"
		}
		r.Results = append(r.Results, x)
	}
	r.Verdict = Overall(r)
	return r
}
