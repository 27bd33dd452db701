package failures

// Text is what `sickbay explain` tells of a failure or of one of its causes: the seed's own sections 4, 5, 6, 7 and 8.4,
// in English. Commands are those an operator types on the node, or with kubectl where they begin with it.
type Text struct {
	// Symptom is what is seen from outside: the log line, event or condition.
	Symptom string
	// Cause is what most likely is behind it.
	Cause string
	// First is what to do first.
	First string
	// Look are commands that tell whether it is so.
	Look []string
	// Fix are the steps that cure it, the smallest first.
	Fix []string
	// Verify is how to know that it is cured.
	Verify string
	// Seed names the sections of the seed document it is from.
	Seed []string
}

// Rule are the seed's working rules (section 10), true for every failure.
var Rule = []string{
	"The symptom is the pod's, the cause is the node's: describe, events and logs first, then the node's journal, then the runtime by CRI.",
	"Disk, inodes, CPU and memory before anything else.",
	"Consistency: one cgroup driver, matching CNI and CSI versions, synchronised clocks.",
	"Change safely: drain the node before anything that restarts on it, uncordon after.",
	"Keep security profiles in mind, and apart from the cause.",
}

// Symptom is a line of the seed's matrix (section 5): what is seen, what it may be, what to do first.
type Symptom struct {
	Seen   string
	Likely string
	First  string
	// Failures are those to explain next.
	Failures []string
}

// Symptoms is the matrix of section 5.
func Symptoms() []Symptom {
	return []Symptom{
		{"ContainerCreating for long", "CNI, CSI, or a slow image pull", "journalctl -u kubelet -u containerd; crictl pull; the logs of CNI and CSI", []string{"cni", "csi-mount", "image-pull", "sandbox-create"}},
		{"CrashLoopBackOff", "an error of the application, a probe, a limit", "kubectl logs --previous; correct probe and resources", []string{"probe-kill", "oom-throttle", "security-denial"}},
		{"ImagePullBackOff", "the registry's authentication, or the tag", "crictl pull; imagePullSecret, mirror, proxy", []string{"image-pull"}},
		{"Node NotReady", "network, TLS, time", "NTP, firewall, the kubelet's certificate and configuration", []string{"node-notready", "clock-cert", "pleg", "cni", "swap", "cgroup-driver"}},
		{"OOMKilled", "the limit is too small, or a leak", "raise the limit, look for the leak, VPA or HPA", []string{"oom-throttle"}},
		{"DiskPressure", "logs and images pile up", "garbage collection, logrotate, a larger disk", []string{"disk-pressure"}},
		{"PLEG unhealthy", "the runtime is overloaded, or its disk is slow", "fewer pods, fewer images, restart the runtime", []string{"pleg", "disk-pressure"}},
	}
}

// Explain tells of a failure, or of one of its causes; ok is false for a name that is not in the vocabulary. A cause's text
// stands for itself, with what it leaves out taken from its failure.
func Explain(failure, cause string) (t Text, ok bool) {
	f, ok := Lookup(failure)
	if !ok {
		return Text{}, false
	}
	t = texts[failure]
	if cause == "" {
		return t, true
	}
	if _, ok := f.Cause(cause); !ok {
		return Text{}, false
	}
	c := texts[failure+"/"+cause]
	for _, s := range []struct{ own, common *string }{{&c.Symptom, &t.Symptom}, {&c.Cause, &t.Cause}, {&c.First, &t.First}, {&c.Verify, &t.Verify}} {
		if *s.own == "" {
			*s.own = *s.common
		}
	}
	for _, s := range []struct{ own, common *[]string }{{&c.Look, &t.Look}, {&c.Fix, &t.Fix}, {&c.Seed, &t.Seed}} {
		if len(*s.own) == 0 {
			*s.own = *s.common
		}
	}
	return c, true
}

var texts = map[string]Text{
	"image-pull": {
		Symptom: `Failed to pull image "…": ErrImagePull, then ImagePullBackOff`,
		Cause:   "A mistyped tag, no right to a private registry, or the registry's TLS or mirror configuration.",
		First:   "Pull the image on the node itself: crictl pull IMAGE:TAG. Its error is the registry's own.",
		Look:    []string{"kubectl describe pod POD | sed -n '/Events:/,$p'", "crictl pull IMAGE:TAG", "cat /etc/containerd/certs.d/REGISTRY/hosts.toml"},
		Fix:     []string{"correct the path or tag; check that the registry is reachable, firewall included", "connect the imagePullSecret, and check that its host is the registry's", "correct mirror, proxy and config_path; containerd needs a restart only when config.toml itself changed"},
		Verify:  "The pull succeeds and the pod runs. A deleted pod has no back-off.",
		Seed:    []string{"4.1", "5", "11.2"},
	},
	"image-pull/registry-tls": {
		Symptom: "x509: certificate signed by unknown authority, has expired or is not yet valid, or is valid for another name",
		Cause:   "The node does not trust the chain the registry shows, or the chain is not valid now or for this name.",
		First:   "Look at the chain that the registry shows, and at this node's clock.",
		Look:    []string{"echo | openssl s_client -connect REGISTRY:443 -servername REGISTRY 2>/dev/null | openssl x509 -noout -issuer -subject -dates", "timedatectl status"},
		Fix:     []string{"put the registry's root and intermediate certificates below /etc/containerd/certs.d/REGISTRY/ and name them as ca in hosts.toml; it is read at every pull", "an expired certificate, or one for another name, is the registry's owner's to renew"},
		Seed:    []string{"4.1", "8.4", "11.2"},
	},
	"image-pull/tag-not-found": {
		Symptom: "failed to resolve reference …: not found",
		Cause:   "The registry answers and does not have that repository or tag. A mirror's failure can hide behind the origin's \"not found\".",
		First:   "Compare the reference with what the registry has, letter by letter.",
		Fix:     []string{"correct the tag in the owner's template, or kubectl rollout undo"},
	},
	"image-pull/registry-auth": {
		Symptom: "pull access denied, no basic auth credentials, 401 Unauthorized",
		Cause:   "The pod brings no credential, or one for another host.",
		First:   "Read the pod's imagePullSecrets: does the secret exist in this namespace, and is its host exactly the registry's?",
		Look:    []string{"kubectl get pod POD -o jsonpath='{.spec.imagePullSecrets}'", "kubectl -n NAMESPACE get secret"},
		Fix:     []string{"create the secret in the pod's namespace for that very host and name it in imagePullSecrets or the service account"},
	},
	"image-pull/registry-unreachable": {
		Symptom: "dial tcp …: connection refused, i/o timeout, no such host",
		Cause:   "The registry is down, or DNS, a firewall, a proxy or a rule on the node is between.",
		First:   "Connect from the node, not from your desk.",
		Look:    []string{"curl -v https://REGISTRY/v2/", "iptables-save | grep -E 'REJECT|DROP'", "systemctl show -p Environment containerd"},
		Fix:     []string{"open the path: rule, route, DNS, proxy"},
	},
	"image-pull/mirror-misconfigured": {
		Symptom: "The pull fails though the registry itself works; containerd logs \"trying next host\".",
		Cause:   "hosts.toml names a mirror that fails, or cannot be read; its failure may be hidden by the origin's \"not found\".",
		First:   "Read hosts.toml of that registry and connect to each host it names.",
		Look:    []string{"cat /etc/containerd/certs.d/REGISTRY/hosts.toml", "journalctl -u containerd | grep 'trying next host'"},
		Fix:     []string{"correct or remove the mirror; no restart is needed"},
	},
	"sandbox-create": {
		Symptom: "failed to create shim task / failed to create containerd task",
		Cause:   "An unhealthy shim, the overlay filesystem, a cgroup mismatch, or no bytes or inodes left.",
		First:   "df -h and df -hi of the runtime's directory, then containerd's journal.",
		Look:    []string{"journalctl -u containerd | grep -iE 'shim|overlay|cgroup|no space'", "df -h /var/lib/containerd; df -hi /var/lib/containerd"},
		Fix:     []string{"make room, bytes and inodes", "check ownership and permissions of /var/lib/containerd", "check kernel and filesystem options (overlay, xfs ftype=1)", "restart containerd, after draining the node where failures overlap"},
		Verify:  "The kubelet retries about every ten seconds: the pod starts by itself.",
		Seed:    []string{"4.2"},
	},
	"sandbox-create/shim-missing": {
		Symptom: "runtime \"io.containerd.runc.v2\" binary not installed, or fork/exec …containerd-shim-runc-v2: no such file or directory",
		Cause:   "The shim's binary is gone from containerd's PATH, or cannot be run. Running containers keep theirs.",
		First:   "Look for the shim where containerd looks for it.",
		Look:    []string{"ls -l $(dirname $(command -v containerd))/containerd-shim-*"},
		Fix:     []string{"put the binary back from containerd's package or the node's image"},
	},
	"sandbox-create/oci-runtime-missing": {
		Symptom: "unable to retrieve OCI runtime error … exec: \"runc\": executable file not found in $PATH",
		Cause:   "runc, or what BinaryName names, is gone or cannot be run.",
		First:   "command -v runc && runc --version",
		Look:    []string{"command -v runc", "grep -n BinaryName /etc/containerd/config.toml"},
		Fix:     []string{"put the binary back from its package or the node's image"},
	},
	"sandbox-create/snapshotter-unwritable": {
		Symptom: "failed to create prepare snapshot dir …: operation not permitted, read-only file system",
		Cause:   "The snapshotter's directory is immutable or on a read-only mount. Permissions do not stop root; these two do.",
		First:   "lsattr and findmnt of the directory in the message.",
		Look:    []string{"lsattr -d /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs", "findmnt -T /var/lib/containerd"},
		Fix:     []string{"chattr -i, or umount the read-only mount, or remount read-write: after fsck, where the kernel made it read-only"},
	},
	"sandbox-create/disk-full": {
		Symptom: "no space left on device",
		Cause:   "The runtime's filesystem is full, and no eviction threshold watches it.",
		First:   "df -h /var/lib/containerd, then who uses it.",
		Look:    []string{"df -h /var/lib/containerd", "du -xhd1 /var/lib/containerd | sort -h"},
		Fix:     []string{"delete what does not belong there", "prune unused images", "enlarge the filesystem"},
		Seed:    []string{"4.2", "4.10", "8.3"},
	},
	"sandbox-create/inodes-exhausted": {
		Symptom: "no space left on device, while df -h shows room",
		Cause:   "The filesystem has no inodes left.",
		First:   "df -hi /var/lib/containerd",
		Look:    []string{"df -hi", "du --inodes -xd1 /var/lib/containerd | sort -n"},
		Fix:     []string{"delete the many small files that do not belong there", "prune unused images"},
		Seed:    []string{"4.2", "4.10", "8.3"},
	},
	"sandbox-create/cgroup-unwritable": {
		Symptom: "unable to apply cgroup configuration",
		Cause:   "The pod's cgroup cannot be made or entered: a read-only hierarchy, a limit on cgroups or processes, an empty cpuset (which reads \"no space left on device\").",
		First:   "Look at the kubelet's own cgroup below /sys/fs/cgroup.",
		Look:    []string{"findmnt -t cgroup,cgroup2", "grep . /sys/fs/cgroup/kube*/cgroup.max.descendants", "cat /sys/fs/cgroup/cpuset/kube*/cpuset.cpus"},
		Fix:     []string{"lift the limit, or make the hierarchy writable"},
	},
	"cgroup-driver": {
		Symptom: "failed to create containerd task … cgroup; or pods whose limits have no effect",
		Cause:   "The kubelet's driver and the runtime's (systemd or cgroupfs) differ, or cgroup v1 and v2 are mixed up.",
		First:   "Compare what runs, not what the files say: the kubelet asks the runtime once, at its start.",
		Look:    []string{"kubectl get --raw /api/v1/nodes/NODE/proxy/configz | jq .kubeletconfig.cgroupDriver", "crictl info | jq '.config.containerd.runtimes[].options.SystemdCgroup'", "stat -fc %T /sys/fs/cgroup"},
		Fix:     []string{"systemd on both sides: SystemdCgroup = true for every handler", "restart containerd, then the kubelet", "recreate pods that run in the wrong place"},
		Verify:  "/proc/PID/cgroup of a new container is below kubepods.",
		Seed:    []string{"4.3", "7"},
	},
	"cgroup-driver/driver-mismatch": {
		Symptom: "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups",
		Cause:   "The kubelet uses cgroupfs, the runtime's default handler systemd.",
	},
	"cgroup-driver/handler-mismatch": {
		Symptom: "Pods of one RuntimeClass fail, or run outside their cgroup; all others are fine.",
		Cause:   "One runtime handler has another SystemdCgroup than the rest.",
	},
	"cgroup-driver/silent-mismatch": {
		Symptom: "Nothing fails. Limits and accounting of pods have no effect.",
		Cause:   "The kubelet uses systemd, the runtime cgroupfs: containers run below containerd's own cgroup, in …:cri-containerd:….",
		First:   "Read /proc/PID/cgroup of any container.",
		Look:    []string{"grep ':cri-containerd:' /proc/[0-9]*/cgroup", "crictl info | jq '.config.containerd.runtimes[].options.SystemdCgroup'"},
	},
	"cgroup-driver/cgroup-v1-refused": {
		Symptom: "kubelet is configured to not run on a host using cgroup v1; the kubelet exits at start",
		Cause:   "The host has cgroup v1, and failCgroupV1 is true, the default since 1.35.",
		First:   "stat -fc %T /sys/fs/cgroup",
		Look:    []string{"stat -fc %T /sys/fs/cgroup", "grep failCgroupV1 /var/lib/kubelet/config.yaml"},
		Fix:     []string{"failCgroupV1: false in the kubelet's configuration, and restart it, until the host is moved to cgroup v2"},
		Verify:  "The kubelet runs and the node is Ready.",
	},
	"pleg": {
		Symptom: "PLEG is not healthy: pleg was last seen active … ago; threshold is 3m0s",
		Cause:   "The kubelet does not get the runtime's list of containers in time: the runtime hangs, its disk is slow, or too much is created and deleted.",
		First:   "Ask the runtime the same: crictl ps. Then see why it does not answer.",
		Look:    []string{"crictl ps", "ps -o pid,stat,wchan:30,comm -Lp $(pidof containerd)", "journalctl -u kubelet | grep -E 'PLEG|ImageGC|ContainerGC'", "df -h; df -hi"},
		Fix:     []string{"free or thaw the disk", "clean images, have fewer pods", "restart the runtime"},
		Verify:  "Ready within seconds of the runtime's first answer.",
		Seed:    []string{"4.4", "5", "11.3"},
	},
	"pleg/runtime-hung": {
		Symptom: "container runtime is down at once, PLEG after three minutes",
		Cause:   "containerd is stopped (state T), frozen by its cgroup, deadlocked, or not running at all.",
		First:   "systemctl status containerd, and the state of its process.",
		Look:    []string{"systemctl status containerd", "grep State /proc/$(pidof containerd)/status"},
		Fix:     []string{"continue or thaw it", "start it", "restart it: containers belong to their shims and go on"},
	},
	"pleg/runtime-io-stall": {
		Symptom: "PLEG alone: the runtime's status still answers, its lists do not",
		Cause:   "The runtime's filesystem blocks writes: it is frozen, or its device does not answer. Threads wait in state D.",
		First:   "Look for state D among the runtime's threads, and where they wait.",
		Look:    []string{"ps -o pid,stat,wchan:30,comm -Lp $(pidof containerd)", "findmnt -T /var/lib/containerd", "dmesg | tail -n 50"},
		Fix:     []string{"fsfreeze -u on the mount", "a better disk, where the device is what waits"},
	},
	"pleg/runtime-overloaded": {
		Symptom: "PLEG comes and goes; every CRI call is slow",
		Cause:   "The runtime gets too little CPU: a quota on its unit, or a node with far too much to do.",
		First:   "The throttling counters of containerd's cgroup, then top.",
		Look:    []string{"systemctl show -p CPUQuotaPerSecUSec containerd", "cat /sys/fs/cgroup/system.slice/containerd.service/cpu.stat", "top"},
		Fix:     []string{"take the quota away", "fewer pods on the node"},
	},
	"csi-mount": {
		Symptom: "MountVolume.MountDevice failed … rpc error: code = Internal",
		Cause:   "The CSI driver, its rights, the volume's filesystem, or its path to the storage.",
		First:   "The node plugin's log, and whether it is registered.",
		Look:    []string{"kubectl -n kube-system get pods | grep csi", "kubectl get csinode NODE -o yaml", "journalctl -u kubelet | grep -i mount", "kubectl get pvc -A; kubectl describe pvc PVC"},
		Fix:     []string{"a matching driver version and rights", "create or repair the filesystem", "storage in the node's own zone; WaitForFirstConsumer"},
		Verify:  "globalmount is in the node's mounts and the pod runs. The retry takes up to 2m2s.",
		Seed:    []string{"4.5", "6.4"},
	},
	"csi-mount/filesystem-corrupt": {
		Symptom: "code = Internal … wrong fs type, bad superblock; Structure needs cleaning",
		Cause:   "The volume's filesystem is damaged.",
		First:   "dmesg, then fsck of the volume while it is mounted nowhere.",
		Look:    []string{"dmesg | grep -E 'EXT4-fs|XFS'"},
		Fix:     []string{"e2fsck -f -y, with a backup superblock (-b 32768) where the first one is gone; xfs_repair", "restore from a backup"},
	},
	"csi-mount/driver-not-registered": {
		Symptom: "driver name … not found in the list of registered CSI drivers",
		Cause:   "The driver's registrar has not announced it to this kubelet, or it does not run here.",
		First:   "kubectl get csinode NODE -o yaml: is the driver in the list?",
		Look:    []string{"kubectl get csinode NODE -o yaml", "ls /var/lib/kubelet/plugins_registry", "kubectl -n kube-system logs CSI-NODE-POD -c node-driver-registrar --tail=200"},
		Fix:     []string{"recreate the driver's pod on this node"},
	},
	"csi-mount/driver-unresponsive": {
		Symptom: "rpc error: code = DeadlineExceeded desc = context deadline exceeded; or code = Unavailable … error reading server preface",
		Cause:   "The driver is registered and does not answer: its process is stopped (the connection is given up after twenty seconds) or its backend hangs (each call waits two minutes).",
		First:   "Is its process alive, and does its socket answer?",
		Look:    []string{"kubectl -n kube-system get pods -o wide | grep csi", "ls -l /var/lib/kubelet/plugins/*/csi.sock"},
		Fix:     []string{"restart the driver's pod; volumes that are mounted stay mounted"},
	},
	"node-notready": {
		Symptom: "Node NotReady, \"Kubelet stopped posting node status\"; the kubelet: Unable to register node with API server",
		Cause:   "TLS or network between kubelet and API server, a damaged kubelet.conf, a wrong clock, or no kubelet at all.",
		First:   "systemctl status kubelet and its last words; then connect to the API server from the node.",
		Look:    []string{"systemctl status kubelet; journalctl -u kubelet -n 50", "cat /etc/kubernetes/kubelet.conf", "openssl s_client -connect APISERVER:6443 -showcerts </dev/null 2>/dev/null | openssl x509 -noout -dates", "timedatectl status"},
		Fix:     []string{"synchronise the clock", "open the path: firewall, route", "issue the certificate or token again", "restart the kubelet"},
		Verify:  "The lease's renewTime advances, and Ready has a fresh heartbeat.",
		Seed:    []string{"4.6", "5"},
	},
	"node-notready/kubeconfig-broken": {
		Symptom: "failed to run Kubelet: unable to load bootstrap kubeconfig",
		Cause:   "kubelet.conf is missing, damaged or names the wrong server. An expired certificate and a wrong clock say the same: read the line before.",
		First:   "kubectl --kubeconfig=/etc/kubernetes/kubelet.conf config view",
		Fix:     []string{"write it again: the cluster's CA, the client certificate in /var/lib/kubelet/pki, the server it joined", "restart the kubelet", "kubeadm join again, where the certificate is gone as well"},
	},
	"node-notready/apiserver-unreachable": {
		Symptom: "Failed to update lease: dial tcp …: i/o timeout, connection refused",
		Cause:   "A rule, route or name on the node or between keeps it from the API server.",
		First:   "curl -k https://APISERVER:6443/livez from the node.",
		Look:    []string{"curl -k https://APISERVER:6443/livez", "iptables-save | grep -E 'REJECT|DROP'; nft list ruleset", "ip route get APISERVER-IP"},
		Fix:     []string{"take the rule or route away", "allow it in the firewall between"},
	},
	"node-notready/apiserver-untrusted": {
		Symptom: "x509: certificate signed by unknown authority",
		Cause:   "The kubelet's kubeconfig holds another CA than the one that signed the API server's certificate.",
		First:   "Compare the CA in kubelet.conf with the cluster's.",
		Look:    []string{"curl --cacert /etc/kubernetes/pki/ca.crt https://APISERVER:6443/livez", "kubectl -n kube-public get cm cluster-info -o yaml"},
		Fix:     []string{"put the cluster's CA into kubelet.conf and restart the kubelet"},
	},
	"node-notready/kubelet-stopped": {
		Symptom: "Kubelet stopped posting node status; the unit is inactive, failed or restarts in a loop",
		Cause:   "Somebody stopped or masked it, it is frozen, or it exits at start for what its last words say.",
		First:   "systemctl status kubelet; journalctl -u kubelet -n 20",
		Look:    []string{"systemctl status kubelet", "journalctl -u kubelet -n 20", "grep State /proc/$(pidof kubelet)/status"},
		Fix:     []string{"unmask, start, continue or thaw it", "take away the flag or setting it complains of; kubeadm upgrade node phase kubelet-config fetches the cluster's own configuration"},
	},
	"node-notready/not-registered": {
		Symptom: "Unable to register node with API server; or nodes \"…\" not found, in the log of a kubelet that runs",
		Cause:   "The Node object was deleted (a kubelet registers only when it starts), the kubelet may not register, or it goes by another name than its certificate's.",
		First:   "kubectl get node NODE; journalctl -u kubelet | grep -i register",
		Look:    []string{"kubectl get node NODE", "openssl x509 -noout -subject -in /var/lib/kubelet/pki/kubelet-client-current.pem", "tr '\\0' '\\n' </proc/$(pidof kubelet)/cmdline | grep -e hostname-override -e register-node", "grep registerNode /var/lib/kubelet/config.yaml"},
		Fix:     []string{"take out a --hostname-override of another machine, or registerNode: false", "restart the kubelet"},
	},
	"probe-kill": {
		Symptom: "Liveness probe failed: …; Back-off restarting failed container",
		Cause:   "The probe is too harsh (short timeout, short delay), or its path or port is wrong.",
		First:   "Ask the application as the probe does, while it runs: kubectl port-forward.",
		Look:    []string{"kubectl describe pod POD", "kubectl logs POD --previous", "kubectl port-forward POD 8080"},
		Fix:     []string{"more delay and timeout", "a startupProbe for slow starts", "the right path and port"},
		Verify:  "The restart count holds still for twice the probe's window.",
		Seed:    []string{"4.7", "5"},
	},
	"probe-kill/probe-too-aggressive": {
		Symptom: "Liveness probe failed: … context deadline exceeded; or connection refused right after the start",
		Cause:   "Delay, timeout or threshold are too short for the application.",
		Fix:     []string{"a startupProbe with time for the start", "a larger timeoutSeconds and failureThreshold"},
	},
	"probe-kill/probe-wrong-endpoint": {
		Symptom: "Liveness probe failed: HTTP probe failed with statuscode: 404; or connection refused at a port nobody serves",
		Cause:   "The probe asks a path or port that the application does not have.",
		Fix:     []string{"the path and port at which the application answers"},
	},
	"oom-throttle": {
		Symptom: "State: OOMKilled, exit code 137; or an application that is slow by its CPU limit",
		Cause:   "A limit that is too small, or a leak.",
		First:   "kubectl describe pod POD | grep -i oom; then the counters of its cgroup.",
		Look:    []string{"kubectl describe pod POD | grep -i oom", "kubectl top pod POD", "cat /sys/fs/cgroup/…/memory.max /sys/fs/cgroup/…/cpu.stat"},
		Fix:     []string{"raise or tune the limit", "find the leak", "adjust CPU requests and limits; VPA, HPA"},
		Verify:  "The restart count holds still; nr_throttled hardly rises.",
		Seed:    []string{"4.8", "5"},
	},
	"oom-throttle/memory-limit": {
		Symptom: "OOMKilled again and again",
		Cause:   "The container reaches its memory limit. Exit code 137 alone is no proof: the reason, or the kernel's oom_memcg line, is.",
		Look:    []string{"kubectl describe pod POD | grep -i oom", "dmesg | grep oom_memcg="},
		Fix:     []string{"raise the limit, and see what the application needs", "find the leak, where it grows again"},
	},
	"oom-throttle/cpu-throttled": {
		Symptom: "Slow answers and failing probes; nr_throttled rises with every period",
		Cause:   "The container's CPU limit stops it for most of each period.",
		Look:    []string{"cat /sys/fs/cgroup/…/cpu.stat (throttled_usec; throttled_time in ns on v1)"},
		Fix:     []string{"raise the CPU limit, or do without one"},
	},
	"cni": {
		Symptom: "Failed to create pod sandbox: … failed to set up sandbox container network for pod …: plugin returned error",
		Cause:   "CNI binary or configuration missing, addresses used up, or bridge and br_netfilter not there.",
		First:   "ls /etc/cni/net.d and /opt/cni/bin; then what the runtime says of its last load.",
		Look:    []string{"ls /etc/cni/net.d", "ls /opt/cni/bin", "crictl info | jq .lastCNILoadStatus", "journalctl -u kubelet | grep -iE 'cni|network setup'", "sysctl net.bridge.bridge-nf-call-iptables"},
		Fix:     []string{"install the CNI again, in the matching version", "modprobe br_netfilter; sysctl -w net.bridge.bridge-nf-call-iptables=1, where pods hang on a bridge"},
		Verify:  "NetworkReady is true and a new pod gets an address.",
		Seed:    []string{"4.9", "5", "6.3", "11.1"},
	},
	"cni/conflist-missing": {
		Symptom: "container runtime network not ready: … cni plugin not initialized",
		Cause:   "The runtime has no configuration: the directory is empty, or a file was moved into it, which containerd does not notice.",
		First:   "ls /etc/cni/net.d, and crictl info for lastCNILoadStatus.",
		Fix:     []string{"recreate the CNI DaemonSet's pod on this node: it writes the file at its start", "a file put there by hand must be written in place or copied; or restart containerd"},
	},
	"cni/conflist-invalid": {
		Symptom: "cni config load failed: failed to load CNI config list file",
		Cause:   "The first file in /etc/cni/net.d is damaged, empty, or another network's. One bad file that sorts first stops them all.",
		Look:    []string{"ls /etc/cni/net.d", "jq . /etc/cni/net.d/*", "crictl info | jq .lastCNILoadStatus"},
		Fix:     []string{"remove the bad file", "recreate the CNI DaemonSet's pod, if it was the network's own"},
	},
	"cni/plugin-binary-missing": {
		Symptom: "failed to find plugin \"…\" in path [/opt/cni/bin]; the node stays Ready",
		Cause:   "The configuration names a plugin whose binary is not there, or cannot be run.",
		Look:    []string{"ls -l /opt/cni/bin", "jq '.plugins[].type' /etc/cni/net.d/*.conflist"},
		Fix:     []string{"put the binary back from the kubernetes-cni package or the node's image"},
	},
	"cni/ipam-exhausted": {
		Symptom: "no IP addresses available in range set",
		Cause:   "All addresses of the node's range are reserved: by pods, or by containers that are gone.",
		Look:    []string{"ls /run/cni-ipam-state/* /var/lib/cni/networks/* | wc -l", "crictl pods -q | wc -l"},
		Fix:     []string{"release the addresses whose container is gone", "fewer pods, or a larger range, where all are in use"},
	},
	"cni/bridge-netfilter-off": {
		Symptom: "Pods of one node reach each other, and service addresses sometimes do not answer",
		Cause:   "Pods hang on a bridge, and bridged traffic bypasses iptables. Without a bridge (ptp) the setting has no effect.",
		Look:    []string{"lsmod | grep -E 'br_netfilter|overlay'", "sysctl net.bridge.bridge-nf-call-iptables"},
		Fix:     []string{"modprobe br_netfilter", "sysctl -w net.bridge.bridge-nf-call-iptables=1, and keep it below /etc/sysctl.d"},
	},
	"disk-pressure": {
		Symptom: "NodeHasDiskPressure; pods evicted: The node was low on resource; no space left on device",
		Cause:   "Logs and images pile up, or somebody's files do.",
		First:   "df -h and df -hi together, then who uses it.",
		Look:    []string{"echo '[disk]'; df -h; echo '[inode]'; df -hi", "du -sh /var/lib/containerd /var/lib/kubelet /var/log", "journalctl --disk-usage"},
		Fix:     []string{"clean images and logs; logrotate", "give inodes back", "enlarge the partition or disk"},
		Verify:  "The condition is False and the taint gone, after the transition period (5m by default).",
		Seed:    []string{"4.10", "5", "6.1", "6.5", "8.3", "11.3"},
	},
	"disk-pressure/nodefs-full":  {Cause: "The kubelet's filesystem (nodefs) has less left than its eviction threshold."},
	"disk-pressure/imagefs-full": {Cause: "The runtime's own filesystem (imagefs) has less left than its eviction threshold. The kubelet deletes unused images, preloaded ones too."},
	"disk-pressure/inodes-exhausted": {
		Symptom: "NodeHasDiskPressure while df -h shows room",
		Cause:   "A filesystem has no inodes left.",
		First:   "df -hi",
		Fix:     []string{"delete the many small files", "prune unused images"},
	},
	"disk-pressure/threshold-misconfigured": {
		Symptom: "NodeHasDiskPressure while df -h and df -hi both show room",
		Cause:   "evictionHard asks for more than the filesystem can offer.",
		First:   "Read evictionHard of the running kubelet.",
		Look:    []string{"kubectl get --raw /api/v1/nodes/NODE/proxy/configz | jq .kubeletconfig.evictionHard"},
		Fix:     []string{"correct evictionHard in /var/lib/kubelet/config.yaml and restart the kubelet"},
	},
	"security-denial": {
		Symptom: "permission denied / Operation not permitted / audit: avc: denied",
		Cause:   "SELinux, AppArmor or seccomp denies the container something.",
		First:   "The kernel's log, then the same container without the profile.",
		Look:    []string{"getenforce; ausearch -m avc -ts recent", "dmesg | grep DENIED", "dmesg | grep type=1326", "grep -E 'Seccomp|CapEff|NoNewPrivs' /proc/PID/status"},
		Fix:     []string{"the right profile or context", "only the capability that is needed", "a changed policy: mind what it opens"},
		Verify:  "The container runs, confined.",
		Seed:    []string{"4.11"},
	},
	"security-denial/seccomp-denied": {
		Symptom: "Operation not permitted, or exit code 159 (SIGSYS) and audit type=1326",
		Cause:   "The pod's seccomp profile denies a system call the application needs.",
		Fix:     []string{"allow the call in the profile", "seccompProfile: RuntimeDefault until then"},
	},
	"security-denial/seccomp-profile-missing": {
		Symptom: "CreateContainerError: cannot load seccomp profile … no such file or directory",
		Cause:   "The Localhost profile the pod names is not below /var/lib/kubelet/seccomp on this node.",
		Look:    []string{"ls -R /var/lib/kubelet/seccomp"},
		Fix:     []string{"put the profile on the node", "seccompProfile: RuntimeDefault until then"},
	},
	"security-denial/apparmor-denied": {
		Symptom: "apparmor=\"DENIED\" in the kernel's log",
		Cause:   "The AppArmor profile denies an access, or is not loaded on this node.",
		Look:    []string{"dmesg | grep 'apparmor=\"DENIED\"'", "aa-status"},
		Fix:     []string{"correct and load the profile", "appArmorProfile: RuntimeDefault until then"},
	},
	"security-denial/selinux-denied": {
		Symptom: "avc: denied",
		Cause:   "The SELinux policy denies an access, most often to a volume with the wrong label.",
		Look:    []string{"ausearch -m avc -ts recent", "ls -Z PATH"},
		Fix:     []string{"restorecon, or the right seLinuxOptions; never setenforce 0"},
	},
	"clock-cert": {
		Symptom: "x509: certificate has expired or is not yet valid; refused logins; image pulls that fail by TLS",
		Cause:   "A wrong clock, or a certificate past its end.",
		First:   "The clock first: it makes good certificates look expired.",
		Look:    []string{"timedatectl status; date -u", "openssl x509 -noout -dates -in /var/lib/kubelet/pki/kubelet-client-current.pem"},
		Fix:     []string{"synchronise the clock (NTP)", "rotate or issue the certificates again"},
		Verify:  "The lease is renewed at the API server's time. After a backward step one false \"stopped posting\" may come.",
		Seed:    []string{"4.12", "9"},
	},
	"clock-cert/clock-skew": {
		Symptom: "current time X is before or after Y; a lease from the future or the past",
		Cause:   "The node's clock, or that of one of its processes, is wrong. Tokens and certificates are judged by it.",
		Look:    []string{"timedatectl status", "kubectl -n kube-node-lease get lease NODE -o jsonpath='{.spec.renewTime}'; date -u"},
		Fix:     []string{"timedatectl set-ntp true; chronyc makestep", "restart the kubelet, if its clock alone is wrong"},
	},
	"clock-cert/client-cert-expired": {
		Symptom: "The currently active client certificate has expired and the server is responsive, exiting.",
		Cause:   "The kubelet's client certificate ran out and was not rotated.",
		Fix:     []string{"use a newer certificate that is already in /var/lib/kubelet/pki", "have the cluster sign a new one, or kubeadm join again", "restart the kubelet"},
	},
	"swap": {
		Symptom: "running with swap on is not supported, please disable swap or set --fail-swap-on flag to false",
		Cause:   "Swap is on, and failSwapOn is true. The kubelet exits at start.",
		First:   "swapon --show",
		Look:    []string{"swapon --show; cat /proc/swaps", "grep swap /etc/fstab", "grep failSwapOn /var/lib/kubelet/config.yaml"},
		Fix:     []string{"swapoff -a", "take the line out of /etc/fstab", "failSwapOn: false only where swap is wanted, and not by habit"},
		Verify:  "The kubelet runs and the node is Ready.",
		Seed:    []string{"4.13", "7"},
	},
	"swap/swap-on": {Cause: "Swap is on, most often since a reboot with its line still in /etc/fstab, and failSwapOn is true."},
	"device-plugin": {
		Symptom: "Insufficient <resource> from the scheduler; UnexpectedAdmissionError: Allocate failed; ListAndWatch ended unexpectedly",
		Cause:   "The device plugin, the driver under it, or the device.",
		First:   "Capacity and allocatable of the node, then the plugin's log.",
		Look:    []string{"kubectl get node NODE -o jsonpath='{.status.allocatable}'", "ls -l /var/lib/kubelet/device-plugins /dev", "the log of the plugin's pod"},
		Fix:     []string{"matching versions of driver, Kubernetes and runtime", "deploy the plugin again", "a newer kernel, where the driver needs it"},
		Verify:  "Allocatable is back, and a pod gets the device.",
		Seed:    []string{"4.14"},
	},
	"device-plugin/plugin-down": {
		Symptom: "Allocatable falls to 0 while capacity stays for five minutes; ListAndWatch ended unexpectedly",
		Cause:   "The plugin's process is gone, or it did not register again after the kubelet restarted.",
		Fix:     []string{"recreate the plugin's pod"},
	},
	"device-plugin/device-unhealthy": {
		Symptom: "Allocatable is less than capacity, and the plugin is registered",
		Cause:   "The plugin reports devices unhealthy: the driver or the device, if a new plugin process says so, too.",
	},
	"device-plugin/allocate-failed": {
		Symptom: "UnexpectedAdmissionError: Allocate failed due to …",
		Cause:   "The plugin refuses to hand the device out. The pod stays Failed for ever.",
		Fix:     []string{"restart the plugin", "delete the failed pod"},
	},
	"sandbox-changed": {
		Symptom: "Pod sandbox changed, it will be killed and re-created.",
		Cause:   "The sandbox was broken, its network failed, or the runtime was replaced under it. Once is harmless; again and again is not.",
		First:   "Is it one pod or all of them, and did containerd restart at that time?",
		Look:    []string{"kubectl get events -A --field-selector reason=SandboxChanged", "systemctl show -p ActiveEnterTimestamp,NRestarts,KillMode containerd", "crictl pods"},
		Fix:     []string{"steady the runtime, then recreate the pods", "drain the node, repair it, uncordon it"},
		Verify:  "Sandbox ids and attempts stay the same.",
		Seed:    []string{"4.15"},
	},
	"sandbox-changed/sandbox-killed": {
		Cause: "Something kills pause processes: a script, a unit, the OOM killer.",
		Fix:   []string{"find and stop what kills them"},
	},
	"sandbox-changed/runtime-restart-kills-pods": {
		Symptom: "All pods of the node are made again whenever containerd restarts",
		Cause:   "containerd's unit has KillMode=control-group or mixed, so systemd kills the shims with it.",
		Look:    []string{"systemctl show -p KillMode containerd; systemctl cat containerd"},
		Fix:     []string{"KillMode=process in the unit, and systemctl daemon-reload"},
	},
	"sandbox-changed/sandbox-network-lost": {
		Cause: "The sandbox's network namespace or address is gone.",
		Look:  []string{"ls -l /run/netns", "crictl inspectp SANDBOX | jq .info.runtimeSpec.linux.namespaces", "nsenter -t PID -n ip addr"},
		Fix:   []string{"recreate the pod, and find what took the network away"},
	},
}
