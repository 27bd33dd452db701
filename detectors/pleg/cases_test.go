package pleg_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
	"github.com/sickbay-dev/sickbay/internal/hypervisor"
)

func TestCases(t *testing.T) { detectorstest.Run(t, "pleg", sick, silent) }

var sick = []detectorstest.Case{
	{Name: "containerd may open few files", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Says: "too many open files", Manual: "LimitNOFILE", Ill: func(o *v1alpha1.Observation) {
		o.Limits = append(o.Limits, v1alpha1.Limit{Name: "open-files", Of: "containerd 200", Used: 47, Max: 48})
		detectorstest.Unknown(o, "CRI Status over unix:///run/containerd/containerd.sock: open /var/lib/containerd/io.containerd.grpc.v1.introspection/uuid: too many open files", v1alpha1.SourceStatus)
	}},
	{Name: "containerd is killed again and again", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Says: "is killed, again and again", Manual: "MemoryMax", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) {
			u.ActiveState, u.SubState, u.Result, u.NRestarts = "activating", "auto-restart", "signal", 4
		})
		detectorstest.Log(o, "containerd", "containerd.service: Failed with result 'signal'.", 2*time.Second)
	}},
	{Name: "containerd may have few threads", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Says: "newosproc", Manual: "TasksMax", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) {
			u.ActiveState, u.SubState, u.Result, u.ExecMainStatus, u.NRestarts = "activating", "auto-restart", "exit-code", 2, 4
		})
		detectorstest.Log(o, "containerd", "runtime: failed to create new OS thread (have 9 already; errno=11)", 2*time.Second)
		detectorstest.Log(o, "containerd", "fatal error: newosproc", 2*time.Second)
	}},
	{Name: "containerd may open few files, and answers nothing by now", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Says: "too many open files", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unknown(o, "Status over unix:///run/containerd/containerd.sock gave no answer within 1.5 s", v1alpha1.SourceStatus)
		for _, ago := range []time.Duration{3 * time.Second, 2 * time.Second} {
			detectorstest.Log(o, "containerd", `level=error msg="PodSandboxStatus for \"a324\" failed" error="rpc error: code = Unknown desc = failed to get sandbox ip: check network namespace closed: get netns fd: open /var/run/netns/cni-3696: too many open files"`, ago)
		}
	}},
	{Name: "containerd's database is torn", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Manual: "database under /var/lib/containerd is damaged", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unknown(o, "CRI Status over unix:///run/containerd/containerd.sock: unknown service runtime.v1.RuntimeService", v1alpha1.SourceStatus)
		detectorstest.Log(o, "containerd", `level=warning msg="failed to load plugin" error="invalid database" id=io.containerd.metadata.v1.bolt type=io.containerd.metadata.v1`, 3*time.Second)
		detectorstest.Log(o, "containerd", `level=warning msg="failed to load plugin" error="unable to load CRI image service plugin dependency: failed to get instance of metadata: invalid database" id=io.containerd.cri.v1.images type=io.containerd.cri.v1`, 3*time.Second)
	}},
	{Name: "CRI-O gets no memory", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Manual: "MemoryMax", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		detectorstest.Unknown(o, "CRI Status over unix:///var/run/crio/crio.sock: fork/exec /usr/bin/runc: cannot allocate memory", v1alpha1.SourceStatus)
	}},
	{Name: "containerd answers with an error, and the kubelet holds it for down", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Likely: true, Says: "structure needs cleaning", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unknown(o, "CRI Status over unix:///run/containerd/containerd.sock: open /var/lib/containerd/io.containerd.grpc.v1.introspection/uuid: structure needs cleaning", v1alpha1.SourceStatus)
		detectorstest.Condition(o, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", "[container runtime is down]")
	}},
	{Name: "containerd stopped by SIGSTOP", Want: []string{"pleg/runtime-hung"}, Remedy: `kill -CONT`, Ill: func(o *v1alpha1.Observation) {
		o.Processes[0].State = "T"
		detectorstest.RuntimeSilent(o)
		detectorstest.Log(o, "kubelet", `"Skipping pod synchronization" err="container runtime is down"`, 3*time.Second)
		detectorstest.Condition(o, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", "container runtime is down, PLEG is not healthy: pleg was last seen active 3m5s ago; threshold is 3m0s")
	}},
	{Name: "containerd's cgroup frozen", Want: []string{"pleg/runtime-hung"}, Remedy: "freezer.state", Ill: func(o *v1alpha1.Observation) {
		o.Processes[0].FrozenCgroup = true
		detectorstest.RuntimeSilent(o)
	}},
	{Name: "containerd deadlocked, seen twice", Want: []string{"pleg/runtime-hung"}, Remedy: "systemctl restart containerd.service", Likely: true, Baseline: true, Ill: detectorstest.RuntimeSilent},
	{Name: "containerd has no open files left", Want: []string{"pleg/runtime-hung"}, Likely: true, Baseline: true, Remedy: "systemctl restart containerd.service", Says: "no open files left", Ill: func(o *v1alpha1.Observation) {
		detectorstest.RuntimeSilent(o)
		o.Limits = append(o.Limits, v1alpha1.Limit{Name: "open-files", Of: "containerd 200", Used: 1048576, Max: 1048576})
	}},
	{Name: "containerd stopped by its unit", Want: []string{"pleg/runtime-hung"}, Remedy: "systemctl start containerd.service", Class: v1alpha1.Disruptive, Ill: detectorstest.RuntimeStopped},
	{Name: "containerd's configuration cut off, at its first start with it", Want: []string{"pleg/runtime-hung"}, Remedy: ":/etc/containerd/config.toml", Never: []string{"systemctl start "}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) { u.ActiveState, u.SubState, u.MainPID = "activating", "start", 0 })
		detectorstest.RuntimeSilent(o)
		o.Runtime.ConfigFile.Error = "/etc/containerd/config.toml: toml: expected character ]"
	}},
	{Name: "containerd's configuration is in the form of a later one", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		containerdEnds(o, "containerd: failed to load TOML from /etc/containerd/config.toml: expected containerd config version equal to or less than `3`, got `9`")
	}},
	{Name: "the same, before systemd has tried it again", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		containerdEnds(o, "containerd: failed to load TOML from /etc/containerd/config.toml: expected containerd config version equal to or less than `3`, got `9`")
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) { u.NRestarts = 0 })
	}},
	{Name: "a containerd 1.7 and the form of containerd 2", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Manual: "version 3, this one reads up to 2", Ill: func(o *v1alpha1.Observation) {
		containerdEnds(o, "containerd: failed to load TOML from /etc/containerd/config.toml: unsupported config version `3`")
	}},
	// https://github.com/containerd/containerd/issues/10905
	{Name: "containerd 2 does not know a plugin by its old name", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Says: `invalid disabled plugin URI "cri"`, Ill: func(o *v1alpha1.Observation) {
		containerdEnds(o, `containerd: failed to load TOML from /etc/containerd/config.toml: invalid disabled plugin URI "cri" expect io.containerd.x.vx`)
	}},
	{Name: "containerd ends itself at start for want of room in /run", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Says: "no space left on device", Ill: func(o *v1alpha1.Observation) {
		detectorstest.RunFilesystem(o).BytesFree = 0
		containerdEnds(o, `containerd: mkdir /run/containerd/io.containerd.grpc.v1.cri: no space left on device`)
	}},
	{Name: "containerd ends itself at start for want of an inotify instance", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Says: "fsnotify", Manual: "fs.inotify.max_user_instances", Ill: func(o *v1alpha1.Observation) {
		containerdEnds(o, `level=fatal msg="Failed to run CRI service" error="failed to create cni conf monitor: failed to create fsnotify watcher: too many open files"`)
	}},
	{Name: "containerd ends itself at start, and systemd has given up", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		containerdEnds(o, "containerd: failed to get listener for main ttrpc endpoint: listen unix /run/containerd/containerd.sock.ttrpc: bind: permission denied")
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) { u.ActiveState, u.SubState = "failed", "failed" })
	}},
	{Name: "containerd's configuration cut off on a machine that is no container", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Host.InContainer = false
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) { u.ActiveState, u.SubState, u.MainPID = "activating", "start", 0 })
		detectorstest.RuntimeSilent(o)
		o.Runtime.ConfigFile.Error = "/etc/containerd/config.toml: toml: expected character ]"
	}},
	{Name: "containerd's socket deleted, and a kubelet that starts", Want: []string{"pleg/runtime-hung"}, Remedy: "systemctl restart containerd.service", Ill: func(o *v1alpha1.Observation) {
		const why = `dial unix /run/containerd/containerd.sock: connect: no such file or directory`
		o.Runtime = v1alpha1.Runtime{Endpoint: o.Runtime.Endpoint, ConfigFile: o.Runtime.ConfigFile}
		detectorstest.Unknown(o, "CRI Status over unix:///run/containerd/containerd.sock: connection error: desc = "+why, v1alpha1.SourceStatus)
		detectorstest.KubeletLoops(o, `failed to run Kubelet: validate service connection: validate CRI v1 runtime API for endpoint: rpc error: `+why)
	}},
	{Name: "runtime's filesystem frozen", Want: []string{"pleg/runtime-io-stall"}, Remedy: "fsfreeze --unfreeze /var/lib/containerd", Class: v1alpha1.Destructive, Ill: runtimeFrozen},
	{Name: "runtime's disk does not answer", Want: []string{"pleg/runtime-io-stall"}, Remedy: "-", Likely: true, Baseline: true, Ill: func(o *v1alpha1.Observation) {
		o.Processes[0].BlockedD = []v1alpha1.Thread{{TID: 211, Wchan: "jbd2_log_wait_commit"}}
		detectorstest.Unknown(o, "ListContainers gave no answer within 1.5 s", v1alpha1.SourceContainers)
	}},
	{Name: "runtime throttled", Want: []string{"pleg/runtime-overloaded"}, Remedy: "cfs_quota_us", Class: v1alpha1.Destructive, Ill: runtimeThrottled},
	{Name: "runtime throttled, between two late calls", Want: []string{"pleg/runtime-overloaded"}, Remedy: "cfs_quota_us", Ill: func(o *v1alpha1.Observation) {
		o.Processes[0].CPUQuota = v1alpha1.CPUUsage{QuotaMilli: 10, NrPeriods: 90, NrThrottled: 82, ThrottledUsec: 8_000_000}
		o.Runtime.CallMS["ListContainers"] = 600
	}},
	{Name: "more work than CPUs", Want: []string{"pleg/runtime-overloaded"}, Likely: true, Remedy: "-", Ill: func(o *v1alpha1.Observation) { overworked(o, 2760) }},
	{Name: "more work than emulated CPUs", Want: []string{"pleg/runtime-overloaded"}, Likely: true, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		overworked(o, 12_000)
		o.Host.Machine = hypervisor.TCG
	}},
	{Name: "pleg-disk", Want: []string{"pleg/runtime-io-stall", "disk-pressure/imagefs-full"}, Remedy: "fsfreeze", Ill: plegDisk},
	{Name: "pleg-disk with a baseline", Want: []string{"pleg/runtime-io-stall", "disk-pressure/imagefs-full"}, Remedy: "fsfreeze", Baseline: true, Ill: plegDisk},
	{Name: "the runtime's binary cannot be executed, seen while the next try is prepared", Want: []string{"pleg/runtime-hung"}, Remedy: "/usr/local/bin/containerd", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) {
			u.ActiveState, u.SubState, u.Result, u.ExecMainStatus, u.NRestarts, u.MainPID = "activating", "start-pre", "success", 0, 1, 0
		})
		detectorstest.Log(o, "containerd", "containerd.service: Main process exited, code=exited, status=203/EXEC", 2*time.Second)
		o.Runtime = v1alpha1.Runtime{Endpoint: o.Runtime.Endpoint, ConfigFile: o.Runtime.ConfigFile}
		detectorstest.Unknown(o, "CRI Status over unix:///run/containerd/containerd.sock: dial unix /run/containerd/containerd.sock: connect: no such file or directory", v1alpha1.SourceStatus)
	}},
	{Name: "runtime throttled, and probes by exec come late", Want: []string{"pleg/runtime-overloaded"}, Remedy: "cfs_quota_us", Ill: func(o *v1alpha1.Observation) {
		runtimeThrottled(o)
		detectorstest.ProbeKills(o, `command "/bin/grpc_health_probe" timed out`, byExec)
	}},
	{Name: "runtime's filesystem frozen and full, thresholds off", Want: []string{"pleg/runtime-io-stall", "sandbox-create/disk-full"}, Remedy: "fsfreeze", Ill: func(o *v1alpha1.Observation) {
		f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
		detectorstest.Full(f, "/var/lib/containerd/fill")
		f.BytesFree = 0
		frozen(o, f)
		detectorstest.SandboxFails(o, "failed to create prepare snapshot dir: mkdir: no space left on device")
	}},
	// After a restart by hand: the old process cannot end while it is frozen, its unit gives it up, and a new one waits for its lock.
	{Name: "containerd's cgroup frozen, and its unit restarted by hand since", Want: []string{"pleg/runtime-hung"}, Remedy: "/proc/200/comm", Ill: func(o *v1alpha1.Observation) {
		leftFrozen(o)
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) {
			u.ActiveState, u.SubState, u.Result, u.MainPID = "failed", "failed", "timeout", 0
		})
	}},
	{Name: "containerd's cgroup frozen, and a new process waits for its lock", Want: []string{"pleg/runtime-hung"}, Remedy: "freezer.state", Ill: func(o *v1alpha1.Observation) {
		leftFrozen(o)
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) {
			u.ActiveState, u.SubState, u.MainPID, u.NRestarts = "activating", "start", 900, 3
		})
		o.Processes = append(o.Processes, v1alpha1.Process{PID: 900, Name: "containerd", Unit: "containerd", State: "S"})
	}},
	{Name: "containerd's cgroup frozen outside its unit, containerd and the kubelet restarted by hand", Want: []string{"pleg/runtime-hung"}, Remedy: "systemctl start containerd.service", Ill: func(o *v1alpha1.Observation) {
		leftFrozen(o)
		o.Processes[0].Unit, o.Runtime.Unit = "", ""
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) {
			u.ActiveState, u.SubState, u.Result, u.MainPID = "deactivating", "final-sigkill", "timeout", 0
		})
		detectorstest.KubeletLoops(o, `failed to run Kubelet: validate service connection: validate CRI v1 runtime API for endpoint "unix:///run/containerd/containerd.sock": rpc error: code = DeadlineExceeded`)
	}},
	{Name: "containerd stopped by SIGSTOP, and its unit stopped by hand since", Want: []string{"pleg/runtime-hung"}, Remedy: "kill -CONT 200", Ill: func(o *v1alpha1.Observation) {
		leftFrozen(o)
		o.Processes[0].FrozenCgroup, o.Processes[0].State = false, "T"
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) { u.ActiveState, u.SubState, u.MainPID = "inactive", "dead", 0 })
	}},
	{Name: "containerd killed by kill -9, and not started again", Want: []string{"pleg/runtime-hung"}, Remedy: "systemctl reset-failed containerd.service", Class: v1alpha1.Safe, Ill: func(o *v1alpha1.Observation) {
		detectorstest.RuntimeStopped(o)
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) { u.ActiveState, u.SubState, u.Result = "failed", "failed", "signal" })
	}},
	{Name: "runtime's filesystem frozen, and its unit restarted by hand since", Want: []string{"pleg/runtime-io-stall"}, Remedy: "systemctl start containerd.service", Ill: frozenRestarted},
	{Name: "runtime's filesystem frozen, runtime and kubelet restarted by hand since", Want: []string{"pleg/runtime-io-stall"}, Remedy: "fsfreeze", Ill: func(o *v1alpha1.Observation) {
		frozenRestarted(o)
		detectorstest.KubeletLoops(o, `failed to run Kubelet: validate service connection: validate CRI v1 runtime API for endpoint "unix:///run/containerd/containerd.sock": rpc error: code = DeadlineExceeded`)
	}},
	{Name: "runtime throttled, and restarted by hand since", Want: []string{"pleg/runtime-overloaded"}, Remedy: "cfs_quota_us", Ill: throttledRestarted},
	{Name: "runtime throttled, runtime and kubelet restarted by hand since", Want: []string{"pleg/runtime-overloaded"}, Remedy: "cfs_quota_us", Ill: func(o *v1alpha1.Observation) {
		throttledRestarted(o)
		detectorstest.KubeletLoops(o, `failed to run Kubelet: validate service connection: validate CRI v1 runtime API for endpoint "unix:///run/containerd/containerd.sock": rpc error: code = DeadlineExceeded`)
	}},
	{Name: "CRI disabled in containerd's configuration", Want: []string{"pleg/runtime-hung"}, Remedy: "disabled_plugins", Ill: func(o *v1alpha1.Observation) {
		withoutCRI(o)
		o.Runtime.ConfigFile.DisabledPlugins, o.Runtime.ConfigFile.DisabledBy = []string{"io.containerd.grpc.v1.cri"}, []string{"/etc/containerd/config.toml"}
	}},
	{Name: "CRI disabled, and a kubelet that starts", Want: []string{"pleg/runtime-hung"}, Remedy: "disabled_plugins", Ill: func(o *v1alpha1.Observation) {
		withoutCRI(o)
		o.Runtime.ConfigFile.DisabledPlugins, o.Runtime.ConfigFile.DisabledBy = []string{"cri"}, []string{"/etc/containerd/conf.d/10-docker.toml"}
		detectorstest.KubeletLoops(o, `failed to run Kubelet: validate service connection: validate CRI v1 runtime API for endpoint "unix:///run/containerd/containerd.sock": rpc error: code = Unimplemented desc = unknown service runtime.v1.RuntimeService`)
	}},
	{Name: "containerd could not load CRI", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		withoutCRI(o)
		detectorstest.Log(o, "containerd", "level=warning msg=\"failed to load plugin io.containerd.grpc.v1.cri\" error=\"invalid plugin config: `mirrors` cannot be set when `config_path` is provided\"", 2*time.Minute)
	}},
	{Name: "containerd 2 could not load CRI", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		withoutCRI(o)
		detectorstest.Log(o, "containerd", `level=warning msg="failed to load plugin" error="failed to find snapshotter \"stargz\"" id=io.containerd.cri.v1.images type=io.containerd.cri.v1`, 2*time.Minute)
		detectorstest.Log(o, "containerd", `level=warning msg="failed to load plugin" error="unable to load CRI image service plugin dependency: not found" id=io.containerd.grpc.v1.cri type=io.containerd.grpc.v1`, 2*time.Minute)
	}},
	// https://github.com/containerd/containerd/issues/12612
	{Name: "containerd 2.2 could not load CRI for mirrors of the older form", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Says: "`mirrors` cannot be set when `config_path` is provided", Ill: func(o *v1alpha1.Observation) {
		withoutCRI(o)
		detectorstest.Log(o, "containerd", "level=warning msg=\"failed to load plugin\" error=\"unable to load CRI image service plugin dependency: invalid cri image config: `mirrors` cannot be set when `config_path` is provided\" id=io.containerd.podsandbox.controller.v1.podsandbox type=io.containerd.podsandbox.controller.v1", 2*time.Minute)
	}},
	{Name: "containerd runs without CRI, and nothing says why", Want: []string{"pleg/runtime-hung"}, Remedy: "-", Ill: withoutCRI},
	{Name: "all of system.slice throttled", Want: []string{"pleg/runtime-overloaded"}, Remedy: "systemctl set-property system.slice CPUQuota=", Class: v1alpha1.Destructive, Ill: func(o *v1alpha1.Observation) {
		runtimeThrottled(o)
		o.Processes[0].QuotaCgroup = "/system.slice"
	}},
	{Name: "the node's own container throttled", Want: []string{"pleg/runtime-overloaded"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		runtimeThrottled(o)
		o.Processes[0].QuotaCgroup = "/docker/" + strings.Repeat("0a", 32)
	}},
	{Name: "k3s' containerd stopped by SIGSTOP", Want: []string{"pleg/runtime-hung"}, Remedy: "kill -CONT 201", Never: []string{"kill -TERM", "kubelet.service"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.RuntimeSilent(o)
		k3s := o.Units["kubelet"]
		k3s.Name = "k3s-agent.service"
		o.Units = map[string]v1alpha1.Unit{"k3s-agent": k3s}
		o.Kubelet.Unit, o.Runtime.Unit, o.Runtime.PID, o.Runtime.Endpoint = "k3s-agent", "k3s-agent", 201, "unix:///run/k3s/containerd/containerd.sock"
		o.Processes = []v1alpha1.Process{{PID: 300, Name: "k3s-agent", Unit: "k3s-agent", State: "S"}, {PID: 201, Name: "containerd", Unit: "k3s-agent", State: "T"}}
	}},
	{Name: "CRI-O stopped by SIGSTOP", Want: []string{"pleg/runtime-hung"}, Never: []string{"containerd"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		o.Processes[0].State = "T"
		for _, s := range []string{v1alpha1.SourceStatus, v1alpha1.SourceSandboxes, v1alpha1.SourceContainers} {
			detectorstest.Unknown(o, "CRI call over unix:///var/run/crio/crio.sock gave no answer within 1.5 s", s)
		}
		was := o.Runtime
		o.Runtime = v1alpha1.Runtime{Endpoint: was.Endpoint, Name: was.Name, Unit: was.Unit, PID: was.PID, Exe: was.Exe, Environment: was.Environment}
		detectorstest.Condition(o, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", plegMessage)
	}},
	{Name: "a drop-in of CRI-O's that cannot be read", Want: []string{"pleg/runtime-hung"}, Remedy: "/etc/crio/crio.conf.d.90-limits.conf.sickbay-aside", Never: []string{"docker cp", "systemctl start "}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		detectorstest.Unit(o, "crio", func(u *v1alpha1.Unit) {
			u.ActiveState, u.SubState, u.Result, u.MainPID, u.NRestarts = "activating", "auto-restart", "exit-code", 0, 7
		})
		o.Processes = o.Processes[1:]
		was := o.Runtime
		detectorstest.RuntimeSilent(o)
		o.Runtime.Name, o.Runtime.Unit, o.Runtime.Endpoint = was.Name, was.Unit, was.Endpoint
		o.Runtime.ConfigFile = v1alpha1.RuntimeConfigFile{Path: "/etc/crio/crio.conf.d/90-limits.conf", Error: "/etc/crio/crio.conf.d/90-limits.conf: toml: line 2"}
	}},
	{Name: "CRI-O stopped by its unit", Want: []string{"pleg/runtime-hung"}, Remedy: "systemctl start crio.service", Class: v1alpha1.Disruptive, Never: []string{"containerd"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		detectorstest.Unit(o, "crio", func(u *v1alpha1.Unit) { u.ActiveState, u.SubState, u.MainPID = "inactive", "dead", 0 })
		o.Processes = o.Processes[1:]
		was := o.Runtime
		detectorstest.RuntimeSilent(o)
		o.Runtime.Name, o.Runtime.Unit, o.Runtime.Endpoint = was.Name, was.Unit, was.Endpoint
	}},
	{Name: "cri-dockerd stopped beside a docker that runs", Want: []string{"pleg/runtime-hung"}, Remedy: "systemctl start cri-docker.service", Never: []string{"containerd", "start docker"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.RuntimeSilent(o)
		o.Runtime.Name, o.Runtime.Unit, o.Runtime.Endpoint = "docker", "cri-docker", "unix:///run/cri-dockerd.sock"
		o.Units["cri-docker"] = v1alpha1.Unit{Name: "cri-docker.service", LoadState: "loaded", ActiveState: "inactive", SubState: "dead", Result: "success", KillMode: "process"}
		o.Units["docker"] = v1alpha1.Unit{Name: "docker.service", LoadState: "loaded", ActiveState: "active", SubState: "running", Result: "success", MainPID: 210}
	}},
	{Name: "CRI-O's filesystem frozen", Want: []string{"pleg/runtime-io-stall"}, Remedy: "fsfreeze --unfreeze /var/lib/containers", Never: []string{"/var/lib/containerd"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		was := o.Runtime
		f := detectorstest.LoopFilesystem(o, "/var/lib/containers", "imagefs")
		f.Path, f.Frozen = "/var/lib/containers/storage", true
		detectorstest.RuntimeSilent(o)
		o.Runtime.Name, o.Runtime.Unit, o.Runtime.Endpoint, o.Runtime.RootDir = was.Name, was.Unit, was.Endpoint, was.RootDir
	}},
	{Name: "containerd's configuration cut off, and its unit killed since", Want: []string{"pleg/runtime-hung"}, Remedy: ":/etc/containerd/config.toml", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) {
			u.ActiveState, u.SubState, u.MainPID, u.Result = "failed", "failed", 0, "signal"
		})
		o.Processes = o.Processes[1:]
		detectorstest.RuntimeSilent(o)
		o.Runtime.ConfigFile.Error = "/etc/containerd/config.toml: toml: expected character ]"
	}},
	{Name: "containerd hung, and a registry that is signed by nobody", Want: []string{"pleg/runtime-hung", "image-pull/registry-tls"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.SignedByNobody(o)
		o.Processes[0].State = "T"
		detectorstest.RuntimeSilent(o)
	}},
}

var silent = []detectorstest.Case{
	{Name: "the look itself may open few files", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unknown(o, "CRI Status over unix:///run/containerd/containerd.sock: dial unix /run/containerd/containerd.sock: socket: too many open files", v1alpha1.SourceStatus)
	}},
	{Name: "containerd has not finished its start", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unknown(o, "CRI Status over unix:///run/containerd/containerd.sock: server is not initialized yet", v1alpha1.SourceStatus)
	}},
	{Name: "one slow look at the runtime", Once: true, Ill: detectorstest.RuntimeSilent},
	{Name: "an emulated processor is slow", Ill: func(o *v1alpha1.Observation) {
		overworked(o, 2760)
		o.Host.Machine = hypervisor.TCG
	}},
	{Name: "PLEG has yet to be successful, right after a start", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Log(o, "kubelet", `"Skipping pod synchronization" err="[container runtime status check may not have completed yet, PLEG is not healthy: pleg has yet to be successful]"`, 5*time.Second)
	}},
	{Name: "PLEG was unhealthy half an hour ago", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Log(o, "kubelet", plegMessage, 30*time.Minute)
		detectorstest.Log(o, "kubelet", "container runtime is down", 29*time.Minute)
	}},
	{Name: "a thread of the runtime writes to the disk", Ill: func(o *v1alpha1.Observation) {
		o.Processes[0].BlockedD = []v1alpha1.Thread{{TID: 210, Wchan: "io_schedule"}}
	}},
	{Name: "runtime throttled a little", Ill: func(o *v1alpha1.Observation) {
		o.Processes[0].CPUQuota = v1alpha1.CPUUsage{QuotaMilli: 500, NrPeriods: 600, NrThrottled: 40}
	}},
	{Name: "an unrelated filesystem is frozen", Ill: func(o *v1alpha1.Observation) {
		o.Filesystems = append(o.Filesystems, v1alpha1.Filesystem{Path: "/data", Mount: "/data", MajorMinor: "7:9", Bytes: 1 << 30, BytesFree: 0, Inodes: 1000, Frozen: true, Roles: []string{"root"}})
	}},
	{Name: "the runtime starts and has no socket yet", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) { u.ActiveSince = detectorstest.Ago(2 * time.Second) })
		o.Runtime = v1alpha1.Runtime{Endpoint: o.Runtime.Endpoint, ConfigFile: o.Runtime.ConfigFile}
		detectorstest.Unknown(o, "CRI Status over unix:///run/containerd/containerd.sock: dial unix /run/containerd/containerd.sock: connect: no such file or directory", v1alpha1.SourceStatus)
	}},
	{Name: "CRI-O", Ill: detectorstest.CRIO},
	{Name: "CRI-O, looked for where containerd serves before the kubelet told", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		detectorstest.Unknown(o, `asking who listens on /var/run/crio/crio.sock: transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: no such file or directory`, v1alpha1.SourceStatus)
	}},
	{Name: "what is left of an old containerd is frozen, and a new one serves", Ill: func(o *v1alpha1.Observation) {
		o.Processes = append(o.Processes, v1alpha1.Process{PID: 150, Name: "containerd", Unit: "containerd", State: "S", FrozenCgroup: true})
	}},
	{Name: "a containerd of a node in a container is frozen", Ill: func(o *v1alpha1.Observation) {
		o.Processes = append(o.Processes, v1alpha1.Process{PID: 5000, Name: "containerd", Unit: "containerd", State: "T", CgroupPath: "/docker/" + strings.Repeat("0a", 32) + "/system.slice/containerd.service"})
	}},
	{Name: "a plugin that nobody needs could not be loaded", Ill: func(o *v1alpha1.Observation) {
		o.Runtime.ConfigFile.DisabledPlugins, o.Runtime.ConfigFile.DisabledBy = []string{"io.containerd.snapshotter.v1.btrfs"}, []string{"/etc/containerd/config.toml"}
		detectorstest.Log(o, "containerd", `level=warning msg="failed to load plugin io.containerd.snapshotter.v1.devmapper" error="devmapper not configured"`, time.Minute)
	}},
	// Flatcar keeps it elsewhere. A large database takes its time.
	{Name: "containerd is starting, and there never was an /etc/containerd/config.toml", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) {
			u.ActiveState, u.SubState, u.NRestarts, u.ActiveSince = "activating", "start", 0, detectorstest.Ago(20*time.Second)
			u.ExecStart = "/usr/bin/containerd --config /usr/share/containerd/config.toml"
		})
		o.Runtime.ConfigFile = v1alpha1.RuntimeConfigFile{Path: "/etc/containerd/config.toml", Missing: true}
	}},
	// The same semaphore guards the move of processes between cgroups; the collector looked at the frames below and saw no freeze.
	{Name: "containerd's threads wait for the cgroup semaphore", Once: true, Ill: func(o *v1alpha1.Observation) {
		o.Processes[0].BlockedD = []v1alpha1.Thread{{TID: 211, Wchan: "percpu_rwsem_wait"}, {TID: 212, Wchan: "percpu_rwsem_wait"}}
		detectorstest.Unknown(o, "ListContainers gave no answer within 1.5 s", v1alpha1.SourceContainers)
	}},
	{Name: "docker's containerd is stopped on a node of CRI-O", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		o.Units["containerd"] = v1alpha1.Unit{Name: "containerd.service", LoadState: "loaded", ActiveState: "inactive", SubState: "dead", Result: "success", KillMode: "process"}
	}},
}

func frozen(o *v1alpha1.Observation, f *v1alpha1.Filesystem) {
	f.Frozen = true
	o.Processes[0].BlockedD = []v1alpha1.Thread{{TID: 211, Name: "containerd", Wchan: "percpu_rwsem_wait"}, {TID: 214, Name: "containerd", Wchan: "percpu_rwsem_wait"}}
	detectorstest.Unknown(o, "ListContainers over unix:///run/containerd/containerd.sock gave no answer within 1.5 s", v1alpha1.SourceContainers)
	o.Runtime.Containers = nil
}

// leftFrozen is a containerd that froze, and whose unit was stopped or restarted by hand since.
func leftFrozen(o *v1alpha1.Observation) {
	detectorstest.RuntimeSilent(o)
	o.Processes[0].FrozenCgroup = true
}

// frozenRestarted is a runtime whose filesystem is frozen: its old process waits there and cannot end, and its unit gave it up.
func frozenRestarted(o *v1alpha1.Observation) {
	detectorstest.RuntimeSilent(o)
	frozen(o, detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs"))
	detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) {
		u.ActiveState, u.SubState, u.Result, u.MainPID = "failed", "failed", "timeout", 0
	})
}

// throttledRestarted is a runtime that has too little CPU to be ready before systemd ends its start.
func throttledRestarted(o *v1alpha1.Observation) {
	detectorstest.RuntimeSilent(o)
	runtimeThrottled(o)
	o.Processes[0].PID, o.Runtime.PID = 900, 900
	detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) {
		u.ActiveState, u.SubState, u.MainPID, u.NRestarts = "activating", "start", 900, 3
	})
}

// withoutCRI is a containerd that serves everything but CRI.
func withoutCRI(o *v1alpha1.Observation) {
	was := o.Runtime
	for s, rpc := range map[string]string{v1alpha1.SourceStatus: "Status", v1alpha1.SourceSandboxes: "ListPodSandbox", v1alpha1.SourceContainers: "ListContainers"} {
		detectorstest.Unknown(o, "CRI "+rpc+" over unix:///run/containerd/containerd.sock: unknown service runtime.v1.RuntimeService", s)
	}
	o.Runtime = v1alpha1.Runtime{Endpoint: was.Endpoint, Name: was.Name, Unit: was.Unit, PID: was.PID, Exe: was.Exe, CLI: was.CLI, ConfigFiles: was.ConfigFiles, ConfigFile: was.ConfigFile}
}

const plegMessage = "PLEG is not healthy: pleg was last seen active 3m14.2s ago; threshold is 3m0s"

// overworked is a node with more runnable work than CPUs, whose runtime took that many ms for a call.
func overworked(o *v1alpha1.Observation, call int64) {
	o.Host.PSI.CPUSome, o.Host.LoadAverage1 = 97, 19
	o.Runtime.CallMS["ListContainers"] = call
}

func plegDisk(o *v1alpha1.Observation) {
	detectorstest.Thresholds(o, "imagefs.available", "15%", "nodefs.available", "5%")
	f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
	detectorstest.Full(f, "/var/lib/containerd/fill")
	frozen(o, f)
	detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
	detectorstest.Condition(o, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", plegMessage)
	detectorstest.AddPod(o, detectorstest.Pod("default", "late", detectorstest.Waiting("ContainerCreating", "")))
	detectorstest.Event(o, "default", "late", "FailedCreatePodSandBox", "Failed to create pod sandbox: rpc error: code = DeadlineExceeded desc = context deadline exceeded", 20*time.Second, 3)
}

func runtimeFrozen(o *v1alpha1.Observation) {
	frozen(o, detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs"))
	detectorstest.Condition(o, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", plegMessage)
}

func runtimeThrottled(o *v1alpha1.Observation) {
	o.Processes[0].CPUQuota = v1alpha1.CPUUsage{QuotaMilli: 10, NrPeriods: 600, NrThrottled: 580, ThrottledUsec: 55_000_000}
	if o.Runtime.CallMS != nil {
		o.Runtime.CallMS["ListContainers"] = 4200
	}
	detectorstest.Condition(o, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", plegMessage)
}

var byExec = detectorstest.Liveness(0, "", func(p *corev1.Probe) {
	p.ProbeHandler = corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/bin/grpc_health_probe"}}}
})

func TestPlegDiskIsOneExplanation(t *testing.T) {
	o := detectorstest.Healthy()
	plegDisk(o)
	found := all.Judge(v1alpha1.History{*o})
	for _, f := range found {
		if !strings.Contains(f.Summary, "same filesystem") {
			t.Errorf("%s/%s does not say that it is the same filesystem: %s", f.Failure, f.Cause, f.Summary)
		}
		if !slices.ContainsFunc(f.Consequences, func(s string) bool { return strings.Contains(s, "Ready=False") }) {
			t.Errorf("%s/%s does not explain NotReady: %v", f.Failure, f.Cause, f.Consequences)
		}
	}
}

// containerdEnds has containerd end itself at each start, with these last words.
func containerdEnds(o *v1alpha1.Observation, says string) {
	detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) {
		u.ActiveState, u.SubState, u.MainPID, u.Result, u.ExecMainStatus, u.NRestarts = "activating", "auto-restart", 0, "exit-code", 1, 4
	})
	o.Processes = o.Processes[1:]
	detectorstest.RuntimeSilent(o)
	detectorstest.Log(o, "containerd", says, 2*time.Second)
}
