// Package failures is the project's public vocabulary: the fifteen failures, their causes, and the compound scenarios.
//
// Scenarios, findings, reports, labs and docs use these names and nothing else. The package knows no other package.
// Numbers follow section 4 of docs/guide.md.
package failures

import "strings"

// Failure is one of the fifteen.
type Failure struct {
	Number int
	Name   string
	Title  string
	Causes []Cause
}

// Cause is one way a failure comes about.
type Cause struct {
	Name string
	// Core marks the cause of the failure's core scenario; all others are extended.
	Core  bool
	Title string
}

// Compound is a scenario of several faults at once, from section 11 of docs/guide.md.
type Compound struct {
	Name    string
	Section string
	Title   string
}

var all = []Failure{
	{1, "image-pull", "image pull fails", []Cause{
		{"registry-tls", true, "the registry's certificate is not trusted, expired, or for another name"},
		{"tag-not-found", false, "the registry has no such repository or tag"},
		{"registry-auth", false, "the registry wants a credential the pod or node does not have"},
		{"registry-unreachable", false, "the registry cannot be reached"},
		{"mirror-misconfigured", false, "a mirror in certs.d is wrong and hides or breaks the origin"},
	}},
	{2, "sandbox-create", "pod sandbox or task creation fails", []Cause{
		{"shim-missing", true, "the runtime's shim binary is missing or cannot be run"},
		{"oci-runtime-missing", false, "the OCI runtime binary (runc) is missing or cannot be run"},
		{"snapshotter-unwritable", false, "the snapshotter's directory cannot be written"},
		{"disk-full", false, "the runtime's filesystem has no bytes left"},
		{"inodes-exhausted", false, "the runtime's filesystem has no inodes left"},
		{"cgroup-unwritable", false, "the pod's cgroup cannot be made"},
	}},
	{3, "cgroup-driver", "kubelet and runtime disagree about cgroups", []Cause{
		{"driver-mismatch", true, "kubelet and the runtime's default handler use different cgroup drivers"},
		{"handler-mismatch", false, "one runtime handler uses another cgroup driver than the kubelet"},
		{"silent-mismatch", false, "pods run, but outside their pod cgroup"},
		{"cgroup-v1-refused", false, "the kubelet refuses to run on cgroup v1"},
	}},
	{4, "pleg", "PLEG is not healthy", []Cause{
		{"runtime-hung", true, "the container runtime is stopped, frozen or deadlocked"},
		{"runtime-io-stall", false, "the runtime's filesystem blocks writes"},
		{"runtime-overloaded", false, "the runtime gets too little CPU"},
	}},
	{5, "csi-mount", "CSI volume mount fails", []Cause{
		{"filesystem-corrupt", true, "the volume's filesystem cannot be mounted"},
		{"driver-not-registered", false, "the CSI driver is not registered with the kubelet"},
		{"driver-unresponsive", false, "the CSI driver does not answer"},
	}},
	{6, "node-notready", "node NotReady, kubelet cannot register or report", []Cause{
		{"kubeconfig-broken", true, "the kubelet's kubeconfig is missing or damaged"},
		{"apiserver-unreachable", false, "the node cannot reach the API server"},
		{"apiserver-untrusted", false, "the kubelet trusts another CA than the API server's"},
		{"kubelet-stopped", false, "the kubelet does not run"},
		{"not-registered", false, "the kubelet runs, but its Node object does not exist"},
	}},
	{7, "probe-kill", "liveness probes kill a container again and again", []Cause{
		{"probe-too-aggressive", true, "the probe's delay, timeout or threshold is too short for the application"},
		{"probe-wrong-endpoint", false, "the probe asks a port or path that the application does not serve"},
	}},
	{8, "oom-throttle", "a container is OOM-killed or throttled", []Cause{
		{"memory-limit", true, "the container reaches its memory limit and is killed"},
		{"cpu-throttled", false, "the container's CPU limit throttles it"},
	}},
	{9, "cni", "pod network cannot be set up", []Cause{
		{"conflist-missing", true, "there is no CNI configuration"},
		{"conflist-invalid", false, "the CNI configuration cannot be loaded"},
		{"plugin-binary-missing", false, "a CNI plugin binary is missing"},
		{"ipam-exhausted", false, "the node's pod address range is used up"},
		{"bridge-netfilter-off", false, "bridged traffic bypasses iptables"},
	}},
	{10, "disk-pressure", "node under disk pressure", []Cause{
		{"nodefs-full", true, "the kubelet's filesystem is full"},
		{"inodes-exhausted", false, "a filesystem has no inodes left"},
		{"imagefs-full", false, "the runtime's filesystem is full"},
		{"threshold-misconfigured", false, "the eviction threshold is set beyond what the filesystem can offer"},
	}},
	{11, "security-denial", "a security profile denies the container", []Cause{
		{"seccomp-denied", true, "the seccomp profile denies a system call the application needs"},
		{"seccomp-profile-missing", false, "the seccomp profile the pod names is not on the node"},
		{"apparmor-denied", false, "the AppArmor profile denies an access"},
		{"selinux-denied", false, "the SELinux policy denies an access"},
	}},
	{12, "clock-cert", "wrong clock or expired certificate", []Cause{
		{"clock-skew", true, "the node's or the kubelet's clock is wrong"},
		{"client-cert-expired", false, "the kubelet's client certificate has expired"},
	}},
	{13, "swap", "kubelet refuses to start with swap on", []Cause{
		{"swap-on", true, "swap is on and failSwapOn is true"},
	}},
	{14, "device-plugin", "device plugin or device allocation fails", []Cause{
		{"plugin-down", true, "the device plugin is gone"},
		{"device-unhealthy", false, "the device plugin reports its devices unhealthy"},
		{"allocate-failed", false, "the device plugin refuses to allocate"},
	}},
	{15, "sandbox-changed", "pod sandboxes are killed and re-created", []Cause{
		{"sandbox-killed", true, "something kills sandbox (pause) processes again and again"},
		{"runtime-restart-kills-pods", false, "a restart of the runtime takes its pods with it"},
		{"sandbox-network-lost", false, "the sandbox lost its network namespace or address"},
	}},
}

var compounds = []Compound{
	{"containercreating-cni", "11.1", "ContainerCreating for twenty minutes: the CNI configuration is missing"},
	{"imagepull-private-registry", "11.2", "ImagePullBackOff on a private registry: TLS first, then the missing imagePullSecret"},
	{"pleg-disk", "11.3", "PLEG is not healthy and DiskPressure: the runtime's disk is full and stalled"},
}

// All returns the fifteen failures in the order of the guide.
func All() []Failure { return append([]Failure(nil), all...) }

// Compounds returns the compound scenarios.
func Compounds() []Compound { return append([]Compound(nil), compounds...) }

// Lookup finds a failure by name.
func Lookup(name string) (Failure, bool) {
	for _, f := range all {
		if f.Name == name {
			return f, true
		}
	}
	return Failure{}, false
}

// Cause finds a cause of the failure by name.
func (f Failure) Cause(name string) (Cause, bool) {
	for _, c := range f.Causes {
		if c.Name == name {
			return c, true
		}
	}
	return Cause{}, false
}

// Draft tells that the failure has no core scenario yet: nothing but its own folders and tests needs to know it.
func (f Failure) Draft() bool {
	for _, c := range f.Causes {
		if c.Core {
			return false
		}
	}
	return true
}

// Known tells whether failure/cause is in the vocabulary.
func Known(failure, cause string) bool {
	f, ok := Lookup(failure)
	if !ok {
		return false
	}
	_, ok = f.Cause(cause)
	return ok
}

// Split takes "failure/cause" or "failure" apart.
func Split(s string) (failure, cause string) {
	failure, cause, _ = strings.Cut(s, "/")
	return failure, cause
}

// ScenarioName is the cause's scenario: `<cause>` where that is clear alone, else `<failure>-<cause>`.
func ScenarioName(failure, cause string) string {
	n := 0
	for _, f := range all {
		if _, ok := f.Cause(cause); ok {
			n++
		}
	}
	if n > 1 {
		return failure + "-" + cause
	}
	return cause
}
