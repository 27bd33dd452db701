package sandboxchanged_test

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	_ "github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestCases(t *testing.T) { detectorstest.Run(t, "sandbox-changed", sick, silent) }

var sick = []detectorstest.Case{
	{Name: "something kills pause again and again, and a program's name sounds like it", Want: []string{"sandbox-changed/sandbox-killed"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 10*time.Second, 6)
		s := sandbox(o, "app")
		s.Attempt, s.CreatedAt = 6, detectorstest.Ago(8*time.Second)
		o.LocalUnits = []v1alpha1.Unit{{Name: "pause-reaper.service", ActiveState: "active", ExecStart: "/usr/local/bin/reaper --interval 10s"}}
	}},
	{Name: "something kills pause, and the kubelet has no more events to spend on it", Want: []string{"sandbox-changed/sandbox-killed"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 150*time.Second, 7)
		o.API.Events[len(o.API.Events)-1].FirstTimestamp = detectorstest.MetaAgo(205 * time.Second)
		s := sandbox(o, "app")
		s.Attempt, s.CreatedAt = 22, detectorstest.Ago(2*time.Second)
	}},
	{Name: "a script kills sandboxes, whatever its unit is called", Want: []string{"sandbox-changed/sandbox-killed"}, Remedy: "systemctl stop nightly.timer nightly.service", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 10*time.Second, 6)
		o.LocalUnits = []v1alpha1.Unit{
			{Name: "exporter.service", ActiveState: "active", ExecStart: "/usr/local/bin/exporter"},
			{Name: "nightly.service", ActiveState: "inactive", StateSince: detectorstest.Ago(9 * time.Second), ExecStart: "/opt/nightly.sh", Script: "#!/bin/sh\nfor p in $(pgrep -x pause); do kill -9 $p; done\n"},
			{Name: "nightly.timer", ActiveState: "active"},
		}
	}},
	// Of these, the first cleans up after sandboxes that have ended, the second began after the last death, and the third runs at night.
	{Name: "those who speak of killing sandboxes were not at it", Want: []string{"sandbox-changed/sandbox-killed"}, Remedy: "-", Never: []string{"systemctl stop", "f=/etc/cron.d"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.Event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 10*time.Second, 6)
		o.LocalUnits = []v1alpha1.Unit{
			{Name: "tidy.service", ActiveState: "active", ActiveSince: detectorstest.Ago(time.Hour), ExecStart: "/opt/tidy", Script: "while sleep 60; do crictl pods -s NotReady -q | xargs crictl rmp; done\n"},
			{Name: "debug.service", ActiveState: "active", ActiveSince: detectorstest.Ago(5 * time.Second), ExecStart: "/opt/debug", Script: "while sleep 60; do pkill -9 pause; done\n"},
		}
		o.LocalJobs = []v1alpha1.Job{{Crontab: "/etc/cron.d/prune", Command: "10 3 * * * root crictl pods -q | xargs crictl rmp -f"}}
	}},
	{Name: "cron kills sandboxes", Want: []string{"sandbox-changed/sandbox-killed"}, Remedy: "f=/etc/cron.d/tidy", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 10*time.Second, 6)
		o.LocalJobs = []v1alpha1.Job{{PID: 9, Started: 1, Parent: "cron 8", Command: "sh -c pkill pause"}, {Crontab: "/etc/cron.d/tidy", Command: "* * * * * root pkill pause"}}
	}},
	{Name: "whoever kills sandboxes is not who reaps snapshots or ends a log reader", Want: []string{"sandbox-changed/sandbox-killed"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 10*time.Second, 6)
		o.LocalUnits = []v1alpha1.Unit{{Name: "pause-music.service", ActiveState: "active", ExecStart: "/usr/bin/music"}}
		o.LocalJobs = []v1alpha1.Job{
			{Crontab: "/etc/cron.d/e2scrub_all", Command: "10 3 * * * root /sbin/e2scrub_all -A -r", Script: "#!/bin/bash\n# kills no pause\nreap=0\n"},
			{PID: 8, Started: 1, Parent: "0", Command: "sh -c while sleep 60; do pkill -HUP fluent-bit; done"},
		}
	}},
	{Name: "a loose process kills sandboxes", Want: []string{"sandbox-changed/sandbox-killed"}, Remedy: "kill 4711", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 10*time.Second, 6)
		o.LocalJobs = []v1alpha1.Job{{PID: 12, Started: 1, Parent: "containerd-shim 2", Command: "bash"},
			{PID: 4711, Started: 99, Parent: "systemd 1", Command: "sh /tmp/x", Script: "#!/bin/sh\nwhile sleep 9; do pkill -9 pause; done\n"}}
	}},
	{Name: "sandboxes are killed just after a restart of the runtime, and on", Want: []string{"sandbox-changed/sandbox-killed"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) { u.ActiveSince = detectorstest.Ago(100 * time.Second) })
		detectorstest.Event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 5*time.Second, 4)
	}},
	{Name: "something takes pods' network namespaces", Want: []string{"sandbox-changed/sandbox-network-lost"}, Remedy: "systemctl stop gc.service", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 10*time.Second, 3)
		detectorstest.Log(o, "kubelet", `"Sandbox for pod has no IP address. Need to start a new one" pod="default/app"`, 12*time.Second)
		o.LocalUnits = []v1alpha1.Unit{{Name: "gc.service", ActiveState: "active", ActiveSince: detectorstest.Ago(time.Hour), ExecStart: "/opt/gc", Script: "#!/bin/sh\numount /run/netns/*\n"}}
	}},
	{Name: "a restart of the runtime kills pods", Want: []string{"sandbox-changed/runtime-restart-kills-pods"}, Remedy: "systemctl daemon-reload", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) {
			u.KillMode, u.ActiveSince, u.DropIns = "control-group", detectorstest.Ago(40*time.Second), []string{"/etc/systemd/system/containerd.service.d/20-killmode.conf"}
		})
		for i := range o.Runtime.Sandboxes {
			o.Runtime.Sandboxes[i].Attempt, o.Runtime.Sandboxes[i].CreatedAt = 1, detectorstest.Ago(30*time.Second)
		}
		detectorstest.Event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 30*time.Second, 1)
	}},
	{Name: "network namespace gone", Want: []string{"sandbox-changed/sandbox-network-lost"}, Remedy: "ctr -n k8s.io tasks kill --signal SIGKILL sb-app", Ill: func(o *v1alpha1.Observation) {
		sandbox(o, "app").NetNSGone = true
	}},
	{Name: "network namespace gone, and containerd has a socket of k0s'", Want: []string{"sandbox-changed/sandbox-network-lost"}, Remedy: "/run/k0s/containerd.sock", Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Endpoint, o.Runtime.CLI = "unix:///run/k0s/containerd.sock", nil
		sandbox(o, "app").NetNSGone = true
	}},
	{Name: "address gone", Want: []string{"sandbox-changed/sandbox-network-lost"}, Remedy: "/api/v1/namespaces/default/pods/api-1/eviction", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "api-1", detectorstest.Deployment("api")))
		sandbox(o, "api-1").IPGone = true
	}},
}

var silent = []detectorstest.Case{
	{Name: "containerd's unit is masked, and KillMode is systemd's default", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) { u.LoadState, u.KillMode = "masked", "control-group" })
	}},
	{Name: "a pod whose sandboxes were killed is gone, and the runtime still lists them", Ill: func(o *v1alpha1.Observation) {
		for i, age := range []time.Duration{50 * time.Second, 20 * time.Second} {
			o.Runtime.Sandboxes = append(o.Runtime.Sandboxes, v1alpha1.Sandbox{ID: fmt.Sprintf("gone-%d", i), Namespace: "lab", Name: "gone", PodUID: "uid-gone", Attempt: uint32(4 + 2*i), CreatedAt: detectorstest.Ago(age)})
		}
	}},
	{Name: "a pod that has completed", Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "job"))
		p.Status.Phase = corev1.PodSucceeded
		p.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed"}}
		sandbox(o, "job").NetNSGone = true
		sandbox(o, "job").Ready = false
	}},
	{Name: "a sandbox killed once and made again", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 20*time.Second, 1)
		s := sandbox(o, "app")
		s.Attempt, s.CreatedAt = 1, detectorstest.Ago(18*time.Second)
	}},
	{Name: "sandboxes were killed again and again, and are no longer", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 2*time.Minute, 6)
	}},
	{Name: "sandboxes made again after the node's restart", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) { u.ActiveSince = detectorstest.Ago(time.Minute) })
		for i := range o.Runtime.Sandboxes {
			s := &o.Runtime.Sandboxes[i]
			s.Attempt, s.CreatedAt = 3, detectorstest.Ago(50*time.Second)
			detectorstest.Event(o, s.Namespace, s.Name, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 50*time.Second, 3)
		}
	}},
	{Name: "a unit somebody added", Ill: func(o *v1alpha1.Observation) {
		o.LocalUnits = []v1alpha1.Unit{{Name: "pause-music.service", ActiveState: "active", ExecStart: "/usr/bin/music"}, {Name: "clock-sync.timer", ActiveState: "active"}}
		o.Units["cron"] = v1alpha1.Unit{Name: "cron.service", ActiveState: "inactive", SubState: "dead"}
	}},
	{Name: "the runtime has a mount namespace of its own", Ill: func(o *v1alpha1.Observation) {
		for i := range o.Runtime.Sandboxes {
			s := &o.Runtime.Sandboxes[i]
			if s.NetNS != "" {
				s.NetNS, s.NetNSGone = "", true
			}
		}
	}},
	{Name: "the node was booted twice within the hour, and its pods come back one after the other", Ill: func(o *v1alpha1.Observation) {
		o.Host.UptimeSeconds = 300
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) { u.ActiveSince = detectorstest.Ago(290 * time.Second) })
		detectorstest.Event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 15*time.Second, 2)
		o.API.Events[len(o.API.Events)-1].FirstTimestamp = detectorstest.MetaAgo(50 * time.Minute)
		s := sandbox(o, "app")
		s.Attempt, s.CreatedAt = 2, detectorstest.Ago(12*time.Second)
	}},
}

func sandbox(o *v1alpha1.Observation, name string) *v1alpha1.Sandbox {
	for i := range o.Runtime.Sandboxes {
		if o.Runtime.Sandboxes[i].Name == name {
			return &o.Runtime.Sandboxes[i]
		}
	}
	return nil
}
