package causal

import (
	"slices"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/internal/words"
)

//go:generate go test -run TestPageIsUpToDate . -update

// noRuntime is what a kubelet says that starts and gets no answer from the runtime.
var noRuntime = []string{words.RuntimeAPIForEndpoint, words.ValidateServiceConnection}

// Words of evidence that a finding has a cause of its own.
const (
	// AtWork: somebody was seen to do it.
	AtWork = "at work when it happened"
	// Alive: what is said to have ended has not.
	Alive = " runs, and"
	// Elsewhere: it is about another filesystem than the kubelet's and the runtime's.
	Elsewhere = "the filesystem of "
)

// notValid is what a kubelet says that ends for its certificate, or for the clock that it is read by.
var notValid = []string{words.CertificateNotValid, words.BootstrapCertificateExpired, words.UnableToLoadBootstrapKubeconfig}

// origin is a cause, and the case of its failure that the ill of a group is added to.
type origin struct{ from, of string }

// each is an edge of the node from every origin to one consequence, but not to what the words of unless show: that of the ill own.
func each(to, why, ill string, unless []string, own string, origins ...origin) []Edge {
	var out []Edge
	for _, o := range origins {
		failure, _ := failures.Split(o.from)
		e := Edge{From: o.from, To: to, Scope: Node, Why: why, Unless: unless, Needs: failure + ": " + o.of + " + " + ill}
		if own != "" {
			e.Limit = failure + ": " + o.of + " + " + own
		}
		out = append(out, e)
	}
	return out
}

var (
	// No sandbox can be made.
	noSandbox = []origin{
		{"sandbox-create/shim-missing", "shim gone"},
		{"sandbox-create/oci-runtime-missing", "runc gone"},
		{"sandbox-create/snapshotter-unwritable", "snapshot directory immutable"},
		{"sandbox-create/disk-full", "runtime's disk full, thresholds off"},
		{"sandbox-create/inodes-exhausted", "runtime's inodes used up, thresholds off"},
		{"sandbox-create/cgroup-unwritable", "pods' cgroup may have no children"},
		{"cni/conflist-missing", "conflist gone"},
		{"cni/conflist-invalid", "conflist damaged"},
		{"cni/plugin-binary-missing", "plugin binary gone"},
		{"cni/ipam-exhausted", "addresses leaked"},
		ioStall, overloaded,
	}
	mismatch   = origin{"cgroup-driver/driver-mismatch", "kubelet cgroupfs, runtime systemd"}
	ioStall    = origin{"pleg/runtime-io-stall", "runtime's filesystem frozen"}
	overloaded = origin{"pleg/runtime-overloaded", "runtime throttled"}
	hung       = origin{"pleg/runtime-hung", "containerd stopped by its unit"}
	// The kubelet makes no pod: it does not run, or has not read its node once.
	noKubelet = []origin{
		{"node-notready/kubelet-stopped", "kubelet stopped"},
		{"node-notready/kubeconfig-broken", "kubeconfig gone"},
		{"node-notready/apiserver-unreachable", "API server rejected by a rule"},
		{"node-notready/apiserver-untrusted", "another CA in the kubeconfig"},
	}
	pulls = []origin{
		{"image-pull/registry-tls", "registry signed by nobody"},
		{"image-pull/tag-not-found", "no such tag"},
		{"image-pull/registry-auth", "no credential"},
		{"image-pull/registry-unreachable", "registry rejected by a rule"},
		{"image-pull/mirror-misconfigured", "a mirror's fault hidden by the origin's 404"},
	}
	pressure = []origin{
		{"disk-pressure/nodefs-full", "nodefs full"},
		{"disk-pressure/imagefs-full", "imagefs full"},
		{"disk-pressure/inodes-exhausted", "inodes of imagefs used up under a threshold"},
		{"disk-pressure/threshold-misconfigured", "threshold beyond the disk"},
	}
)

// edges is the table. Each edge is here because something fails without it: its Needs. What only comes about on the way is not here.
var edges = slices.Concat([]Edge{
	// The kubelet ends itself, and says why.
	{From: "swap/swap-on", To: "node-notready/kubelet-stopped", Scope: Node,
		Why: "the kubelet ends itself when it finds swap on", Needs: "recorded/swap-on"},
	{From: "cgroup-driver/cgroup-v1-refused", To: "node-notready/kubelet-stopped", Scope: Node,
		Why: "the kubelet ends itself on cgroup v1", Needs: "recorded/cgroup-v1-refused"},
	{From: "cgroup-driver/driver-mismatch", To: "node-notready/kubelet-stopped", Scope: Node, Says: []string{words.DockerDriverDiffers},
		Why: "a kubelet that asks Docker itself ends where their drivers differ", Needs: "cgroup-driver: kubelet on systemd, Docker on cgroupfs",
		Limit: "cgroup-driver: kubelet and runtime on cgroupfs, and a wrapper that names systemd + a kubelet that does not know a flag"},
	{From: "clock-cert/client-cert-expired", To: "node-notready/kubelet-stopped", Scope: Node, Says: notValid,
		Why: "without a valid certificate the kubelet ends itself", Needs: "clock-cert: client certificate expired",
		Limit: "clock-cert: client certificate expired under a kubelet + a kubelet that does not know a flag"},
	{From: "clock-cert/clock-skew", To: "node-notready/kubelet-stopped", Scope: Node, Says: notValid,
		Why: "by a wrong clock the kubelet's certificate is not valid, and it ends itself", Needs: "recorded/clock-skew-ahead",
		Limit: "clock-cert: the node's clock behind + a kubelet that does not know a flag"},
	{From: "pleg/runtime-hung", To: "node-notready/kubelet-stopped", Scope: Node, Says: noRuntime,
		Why: "a kubelet that starts and finds no runtime ends itself", Needs: "pleg: containerd's socket deleted, and a kubelet that starts",
		Limit: "pleg: containerd stopped by its unit + kubelet stopped"},
	{From: "sandbox-create/shim-missing", To: "pleg/runtime-hung", Scope: Node, Says: []string{words.InvalidConmonPath},
		Why: "CRI-O does not start without the monitor of its containers", Needs: "sandbox-create: conmon gone, and CRI-O was restarted",
		Limit: "sandbox-create: CRI-O's monitor gone, and CRI-O stopped by its unit"},
	{From: "pleg/runtime-io-stall", To: "node-notready/kubelet-stopped", Scope: Node, Says: noRuntime,
		Why: "a kubelet that starts and gets no answer from the runtime ends itself", Needs: "pleg: runtime's filesystem frozen + a kubelet that starts",
		Limit: "pleg: runtime's filesystem frozen + kubelet stopped"},
	{From: "pleg/runtime-overloaded", To: "node-notready/kubelet-stopped", Scope: Node, Says: noRuntime,
		Why: "a kubelet that starts and gets no answer from the runtime ends itself", Needs: "pleg: runtime throttled + a kubelet that starts",
		Limit: "pleg: runtime throttled + kubelet stopped"},

	// No room.
	{From: "disk-pressure/imagefs-full", To: "sandbox-create/disk-full", Scope: Node, Unless: []string{Elsewhere},
		Why: "a sandbox cannot be written", Needs: "disk-pressure: imagefs full", Limit: "disk-pressure: imagefs full but for some bytes + /run full"},
	{From: "disk-pressure/nodefs-full", To: "sandbox-create/disk-full", Scope: Node, Unless: []string{Elsewhere},
		Why: "one disk for both: a sandbox cannot be written", Needs: "disk-pressure: one disk for kubelet and runtime, full", Limit: "disk-pressure: nodefs full + /run full"},
	{From: "disk-pressure/inodes-exhausted", To: "sandbox-create/inodes-exhausted", Scope: Node, Unless: []string{Elsewhere},
		Why: "a sandbox cannot be written", Needs: "disk-pressure: inodes of imagefs used up under a threshold", Limit: "disk-pressure: inodes of imagefs nearly used up + no inode left in /run"},

	// A call that comes late, a network that is gone, a process without memory or CPU: the probe is not at fault.
	{From: "pleg/runtime-overloaded", To: "probe-kill/probe-too-aggressive", Scope: Node, Says: []string{`" timed out`},
		Why: "a probe by exec is a call of the runtime, and comes late", Needs: "pleg: runtime throttled, and probes by exec come late",
		Limit: "pleg: runtime throttled + another pod's impatient probe"},
	{From: "oom-throttle/memory-limit", To: "probe-kill/probe-too-aggressive", Scope: Object,
		Why: "an application at its memory limit answers late", Needs: "oom-throttle: memory limit, and the probe notices first",
		Limit: "oom-throttle: memory limit + another pod's impatient probe"},
	{From: "oom-throttle/cpu-throttled", To: "probe-kill/probe-too-aggressive", Scope: Object,
		Why: "a throttled application answers late", Needs: "oom-throttle: CPU limit, and the probe notices",
		Limit: "oom-throttle: CPU limit, and another pod's impatient probe"},
	{From: "sandbox-changed/sandbox-network-lost", To: "probe-kill/probe-too-aggressive", Scope: Object,
		Why: "no answer comes over a network that is gone", Needs: "recorded/sandbox-network-lost",
		Limit: "sandbox-changed: network namespace gone + another pod's impatient probe"},
	{From: "security-denial/seccomp-denied", To: "probe-kill/probe-too-aggressive", Scope: Object,
		Why: "an application that may not listen does not answer", Needs: "security-denial: seccomp denies, and the probe notices",
		Limit: "security-denial: seccomp kills + another pod's impatient probe"},
	{From: "security-denial/apparmor-denied", To: "probe-kill/probe-too-aggressive", Scope: Object,
		Why: "an application that may not listen does not answer", Needs: "security-denial: AppArmor denies, and the probe notices",
		Limit: "security-denial: AppArmor denies + another pod's impatient probe"},
	{From: "security-denial/selinux-denied", To: "probe-kill/probe-too-aggressive", Scope: Object,
		Why: "an application that may not listen does not answer", Needs: "security-denial: SELinux denies, and the probe notices",
		Limit: "security-denial: SELinux denies, and another pod's impatient probe"},

	{From: "cgroup-driver/driver-mismatch", To: "sandbox-changed/sandbox-killed", Scope: Node, Unless: []string{AtWork},
		Why: "a sandbox that cannot start is made again and again", Needs: "recorded-v2/driver-mismatch",
		Limit: "cgroup-driver: kubelet cgroupfs, runtime systemd + a killer of sandboxes"},
	{From: "clock-cert/clock-skew", To: "image-pull/registry-tls", Scope: Node, Says: []string{"has expired or is not yet valid"},
		Why: "by a wrong clock the registry's certificate is not valid", Needs: "clock-cert: the node's clock behind, and a registry's certificate is not valid yet",
		Limit: "clock-cert: the node's clock behind + a registry signed by nobody"},
},
	// The kubelet stops what is left of a sandbox, its network included, before it makes the next one. It tries that again and again, and
	// says so each time.
	each("sandbox-changed/sandbox-network-lost", "a sandbox that ended is not made again", "a sandbox that ended", []string{AtWork, Alive}, "a running sandbox without its network",
		slices.Concat(noSandbox, []origin{mismatch}, noKubelet)...),
	each("sandbox-changed/sandbox-killed", "a sandbox that cannot be made is tried again and again", "a sandbox made again and again", []string{AtWork}, "a killer of sandboxes",
		append(noSandbox, hung)...),
	each("sandbox-changed/sandbox-killed", "where the kubelet learns of another driver, it makes all sandboxes again", "a sandbox made again and again", []string{AtWork}, "a killer of sandboxes",
		origin{"cgroup-driver/silent-mismatch", "kubelet systemd, runtime cgroupfs"}, origin{"cgroup-driver/handler-mismatch", "a RuntimeClass' handler differs"}),
	// What ended is started again by nobody.
	each("device-plugin/plugin-down", "the kubelet evicts the plugin's pod and admits no new one", "an evicted device plugin", []string{Alive}, "a device plugin that ended", pressure...),
	each("csi-mount/driver-not-registered", "the kubelet evicts the driver's pod and admits no new one", "an evicted CSI driver", []string{Alive}, "a CSI driver that is gone", pressure...),
	each("device-plugin/plugin-down", "a plugin that ended is not started again", "a device plugin that ended", nil, "",
		slices.Concat(noKubelet, []origin{hung, ioStall, overloaded})...),

	// What explains nothing, and has to be treated first.
	[]Edge{{From: "pleg/runtime-io-stall", To: "disk-pressure/imagefs-full", Scope: Order,
		Why: "nothing can be deleted from a frozen filesystem", Needs: "pleg: pleg-disk"},
		{From: "disk-pressure/nodefs-full", To: "sandbox-create/shim-missing", Scope: Order,
			Why: "a binary comes back only where there is room", Needs: "sandbox-create: shim gone + nodefs full"},
		{From: "disk-pressure/nodefs-full", To: "clock-cert/client-cert-expired", Scope: Order,
			Why: "the new certificate is written to the kubelet's disk", Needs: "clock-cert: client certificate expired + nodefs full"},
		{From: "clock-cert/clock-skew", To: "node-notready/apiserver-untrusted", Scope: Order,
			Why: "the right CA is found by what it verifies, and by a wrong clock it verifies nothing", Needs: "clock-cert: the node's clock behind + another CA in the kubeconfig"},
		{From: "pleg/runtime-io-stall", To: "disk-pressure/inodes-exhausted", Scope: Order,
			Why: "nothing can be deleted from a frozen filesystem", Needs: "pleg: runtime's filesystem frozen + no inode left for images"},
		{From: "disk-pressure/nodefs-full", To: "sandbox-create/oci-runtime-missing", Scope: Order,
			Why: "a binary comes back only where there is room", Needs: "sandbox-create: runc gone + nodefs full"},
		{From: "disk-pressure/nodefs-full", To: "cni/plugin-binary-missing", Scope: Order,
			Why: "a binary comes back only where there is room", Needs: "cni: plugin binary gone + nodefs full"},
		{From: "disk-pressure/imagefs-full", To: "pleg/runtime-hung", Scope: Order,
			Why: "a runtime writes when it starts", Needs: "disk-pressure: imagefs full + runtime stopped"},
		{From: "node-notready/kubelet-stopped", To: "cni/conflist-missing", Scope: Order,
			Why: "the network's pod is made again by a kubelet that runs", Needs: "cni: conflist gone + kubelet stopped"},
	},
	// So do a full disk and a runtime or kubelet that does not run: the kubelet's remedy goes before the network's.
	func() (out []Edge) {
		for _, o := range pulls {
			out = append(out, Edge{From: "cni/conflist-missing", To: o.from, Scope: Order,
				Why: "an image is pulled for a pod that has a sandbox", Needs: "image-pull: " + o.of + " + conflist gone"})
		}
		return out
	}(),
)
