package v1alpha1

import "time"

// Kubelet is the running kubelet: values after every override, never the file.
type Kubelet struct {
	Version      string `json:"version,omitempty"`
	Healthz      string `json:"healthz,omitempty"` // body of /healthz on the loopback port, "ok", or empty when it did not answer
	HealthzError string `json:"healthzError,omitempty"`
	// Config is from configz when the API or the read-only loopback answers; ConfigSource says which: configz, file, "".
	Config       KubeletConfig `json:"config"`
	ConfigSource string        `json:"configSource,omitempty"`
	// File is the configuration on disk, for the difference and for when the kubelet does not run.
	File      KubeletConfig `json:"file"`
	FileError string        `json:"fileError,omitempty"` // YAML error, missing file
	Flags     []string      `json:"flags,omitempty"`     // running command line without secrets
	// ConfigFiles are the files that File was merged from, in their order: --config, then the drop-ins of --config-dir.
	ConfigFiles []string `json:"configFiles,omitempty"`
	// Unit is the systemd unit that the kubelet runs in, without .service: kubelet, k3s, rke2-agent … Where none runs it is the first
	// that exists; empty where it has none.
	Unit    string `json:"unit,omitempty"`
	PID     int    `json:"pid,omitempty"`
	RootDir string `json:"rootDir,omitempty"` // --root-dir
	CertDir string `json:"certDir,omitempty"` // --cert-dir
	// NodeNames are the names by which the cluster may know this node, the most certain first.
	NodeNames   []string    `json:"nodeNames,omitempty"`
	Environment Environment `json:"environment,omitzero"`
	Kubeconfig  Kubeconfig  `json:"kubeconfig"`
	Bootstrap   Kubeconfig  `json:"bootstrap"`
}

// Environment is what of a process's environment decides how it sees the node. Nothing else is read of it.
type Environment struct {
	Path []string `json:"path,omitempty"` // empty when it is not known
	TZ   string   `json:"tz,omitempty"`
	// The proxies, without credentials.
	HTTPProxy  string `json:"httpProxy,omitempty"`
	HTTPSProxy string `json:"httpsProxy,omitempty"`
	NoProxy    string `json:"noProxy,omitempty"`
}

// KubeletConfig is the part of KubeletConfiguration that detectors judge.
type KubeletConfig struct {
	CgroupDriver                     string            `json:"cgroupDriver,omitempty"`
	CgroupsPerQOS                    *bool             `json:"cgroupsPerQOS,omitempty"`
	FailSwapOn                       *bool             `json:"failSwapOn,omitempty"`
	FailCgroupV1                     *bool             `json:"failCgroupV1,omitempty"`
	SwapBehavior                     string            `json:"swapBehavior,omitempty"`
	EvictionHard                     map[string]string `json:"evictionHard,omitempty"`
	EvictionSoft                     map[string]string `json:"evictionSoft,omitempty"`
	EvictionPressureTransitionPeriod string            `json:"evictionPressureTransitionPeriod,omitempty"`
	ImageGCHighThresholdPercent      *int32            `json:"imageGCHighThresholdPercent,omitempty"`
	RuntimeEndpoint                  string            `json:"containerRuntimeEndpoint,omitempty"`
	NodeStatusUpdateFrequency        string            `json:"nodeStatusUpdateFrequency,omitempty"`
	SeccompDefault                   *bool             `json:"seccompDefault,omitempty"`
	MaxPods                          int32             `json:"maxPods,omitempty"`
	RotateCertificates               *bool             `json:"rotateCertificates,omitempty"`
	RegisterNode                     *bool             `json:"registerNode,omitempty"`
	HealthzPort                      *int32            `json:"healthzPort,omitempty"` // 0: the kubelet does not serve healthz
	HealthzBindAddress               string            `json:"healthzBindAddress,omitempty"`
}

// Kubeconfig is how the kubelet reaches the API server; no key or token is ever read into it.
type Kubeconfig struct {
	Path       string `json:"path,omitempty"`
	Exists     bool   `json:"exists"`
	Error      string `json:"error,omitempty"` // parse error, missing file named inside, empty
	Server     string `json:"server,omitempty"`
	CASubject  string `json:"caSubject,omitempty"`
	CASHA256   string `json:"caSha256,omitempty"`
	ClientCert string `json:"clientCert,omitempty"` // path, or "inline"
	User       string `json:"user,omitempty"`
	// TLSServerName, SkipVerify and ProxyURL (without credentials) are the cluster's of these names; Exec is the program that fetches
	// credentials, ClientCert is empty then.
	TLSServerName string `json:"tlsServerName,omitempty"`
	SkipVerify    bool   `json:"skipVerify,omitempty"`
	ProxyURL      string `json:"proxyUrl,omitempty"`
	Exec          string `json:"exec,omitempty"`
	// Reach is what dialling Server from the node gave: ok, refused, timeout, no-route, dns, tls-untrusted, tls-name, tls-expired, other.
	Reach      string `json:"reach,omitempty"`
	ReachError string `json:"reachError,omitempty"`
	// ServerCAMatches tells whether the certificate the server shows verifies against the kubeconfig's CA (times ignored).
	ServerCAMatches bool `json:"serverCaMatches"`
}

// Runtime is the container runtime over its CRI socket.
type Runtime struct {
	Endpoint string `json:"endpoint,omitempty"` // as the kubelet is told: unix:///run/containerd/containerd.sock
	// Name is containerd, cri-o or docker (cri-dockerd): as CRI's Version says, else by the process that listens at Endpoint.
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
	// Unit is the systemd unit that the runtime's process runs in, without .service, empty when no process is there.
	Unit        string      `json:"unit,omitempty"`
	PID         int         `json:"pid,omitempty"`
	Exe         string      `json:"exe,omitempty"`
	Environment Environment `json:"environment,omitzero"`
	// CLI is the command that talks CRI to it, to be continued: crictl --runtime-endpoint …; empty when the node has none.
	CLI []string `json:"cli,omitempty"`
	// ConfigFiles are its configuration files that exist, in the order in which they are merged.
	ConfigFiles []string `json:"configFiles,omitempty"`
	// Conditions are RuntimeReady and NetworkReady.
	Conditions []Condition `json:"conditions,omitempty"`
	// LastCNILoad is containerd's lastCNILoadStatus: "OK" or the error.
	LastCNILoad    string           `json:"lastCniLoad,omitempty"`
	CgroupDriver   string           `json:"cgroupDriver,omitempty"` // RuntimeConfig RPC: systemd, cgroupfs; empty when not served
	DefaultHandler string           `json:"defaultHandler,omitempty"`
	Handlers       []RuntimeHandler `json:"handlers,omitempty"` // the running configuration, from the verbose status
	Sandboxes      []Sandbox        `json:"sandboxes,omitempty"`
	Containers     []Container      `json:"containers,omitempty"`
	Images         []Image          `json:"images,omitempty"`
	SandboxImage   string           `json:"sandboxImage,omitempty"`
	Snapshotter    string           `json:"snapshotter,omitempty"`
	// SearchRegistries are where CRI-O looks for images that name no registry.
	SearchRegistries []string `json:"searchRegistries,omitempty"`
	RootDir          string   `json:"rootDir,omitempty"` // /var/lib/containerd
	StateDir         string   `json:"stateDir,omitempty"`
	// ConfigFile is containerd's configuration on disk, for comparison only: the running options decide.
	ConfigFile RuntimeConfigFile `json:"configFile"`
	// CallMS is how long each CRI call took, or how long it was waited for; keyed by RPC: Version, Status, ListPodSandbox …
	CallMS map[string]int64 `json:"callMs,omitempty"`
}

// RuntimeHandler is one runtime of containerd's running configuration.
type RuntimeHandler struct {
	Name          string `json:"name"` // runc, test-handler
	Type          string `json:"type"` // io.containerd.runc.v2
	BinaryName    string `json:"binaryName,omitempty"`
	SystemdCgroup *bool  `json:"systemdCgroup,omitempty"` // nil when its options do not say
	ShimPath      string `json:"shimPath,omitempty"`      // where its shim is found in containerd's PATH, empty when nowhere
	RuntimePath   string `json:"runtimePath,omitempty"`   // where runc (or BinaryName) is found, empty when nowhere
}

// RuntimeConfigFile is what /etc/containerd/config.toml says now.
type RuntimeConfigFile struct {
	Path       string           `json:"path,omitempty"`
	Missing    bool             `json:"missing,omitempty"` // there is no such file: the runtime's defaults hold
	Error      string           `json:"error,omitempty"`
	ModTime    time.Time        `json:"modTime,omitzero"`
	Handlers   []RuntimeHandler `json:"handlers,omitempty"`
	ConfigPath string           `json:"configPath,omitempty"` // registry config_path (certs.d)
	// DisabledPlugins are containerd's disabled_plugins of all its files, DisabledBy the files that have some.
	DisabledPlugins []string `json:"disabledPlugins,omitempty"`
	DisabledBy      []string `json:"disabledBy,omitempty"`
}

// Condition is a condition of the runtime.
type Condition struct {
	Type    string `json:"type"`
	Status  bool   `json:"status"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// Sandbox is a pod sandbox as the runtime lists it.
type Sandbox struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	PodUID    string            `json:"podUid"`
	Attempt   uint32            `json:"attempt"`
	Ready     bool              `json:"ready"`
	CreatedAt time.Time         `json:"createdAt"`
	Handler   string            `json:"handler,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	PID       int               `json:"pid,omitempty"`   // of its pause process, where cheap to know
	NetNS     string            `json:"netns,omitempty"` // path of its network namespace; empty with hostNetwork or when unknown
	NetNSGone bool              `json:"netnsGone,omitempty"`
	// IPGone tells that its network namespace is there but holds no address besides loopback's.
	IPGone bool `json:"ipGone,omitempty"`
}

// Container is a container as the runtime lists it.
type Container struct {
	ID        string    `json:"id"`
	SandboxID string    `json:"sandboxId"`
	Name      string    `json:"name"`
	Pod       string    `json:"pod"`
	Namespace string    `json:"namespace"`
	PodUID    string    `json:"podUid"`
	Attempt   uint32    `json:"attempt"`
	State     string    `json:"state"` // created, running, exited, unknown
	Image     string    `json:"image"`
	CreatedAt time.Time `json:"createdAt"`
}

// ContainerUsage is a running container's process, cgroup and confinement.
type ContainerUsage struct {
	ID            string   `json:"id"`
	Pod           string   `json:"pod"`
	Namespace     string   `json:"namespace"`
	Name          string   `json:"name"`
	PID           int      `json:"pid"`
	CgroupPath    string   `json:"cgroupPath"`        // memory controller's path on v1, unified path on v2
	UnderKubepods bool     `json:"underKubepods"`     // any of its processes
	Threads       int      `json:"threads,omitempty"` // of all its processes
	CPUs          int      `json:"cpus,omitempty"`    // those that its cpuset allows, 0 when that is not told
	CPU           CPUUsage `json:"cpu"`
	PodCPU        CPUUsage `json:"podCpu,omitzero"` // of the pod's cgroup, which outlives its containers
	MemoryBytes   int64    `json:"memoryBytes"`
	MemoryLimit   int64    `json:"memoryLimit"` // bytes, 0 = unlimited
	MemoryPeak    int64    `json:"memoryPeak"`
	OOMKills      int64    `json:"oomKills"` // v1 memory.oom_control oom_kill, v2 memory.events oom_kill
	Seccomp       int      `json:"seccomp"`  // /proc/PID/status: 0 off, 1 strict, 2 filter
	NoNewPrivs    bool     `json:"noNewPrivs"`
	CapEff        string   `json:"capEff,omitempty"`
	LSMLabel      string   `json:"lsmLabel,omitempty"` // attr/current
}

// Image is an image in the runtime's store.
type Image struct {
	ID        string   `json:"id"`
	Tags      []string `json:"tags,omitempty"`
	SizeBytes uint64   `json:"sizeBytes"`
	Pinned    bool     `json:"pinned,omitempty"`
}

// Filesystem is one statfs of a path that the kubelet or runtime depends on.
type Filesystem struct {
	Path       string   `json:"path"`   // the path that was asked for, such as /var/lib/containerd
	Mount      string   `json:"mount"`  // its mount point
	Device     string   `json:"device"` // source from mountinfo
	MajorMinor string   `json:"majorMinor"`
	Type       string   `json:"type"`
	Bytes      int64    `json:"bytes"`
	BytesFree  int64    `json:"bytesFree"` // available to the kubelet (f_bavail)
	Inodes     int64    `json:"inodes"`    // 0 when the filesystem does not count them
	InodesFree int64    `json:"inodesFree"`
	ReadOnly   bool     `json:"readOnly"`
	Roles      []string `json:"roles,omitempty"` // nodefs, imagefs, containerd-state, cni-state, run, netns, tmp, root
	// Frozen tells that writes block: seen by threads of the runtime waiting in the kernel's freeze gate, never by writing.
	Frozen bool `json:"frozen"`
	// TopUsers are the largest entries directly below Path where that was cheap to know, largest first.
	TopUsers []PathUse `json:"topUsers,omitempty"`
}

// PathUse is the space a path takes.
type PathUse struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
	Files int64  `json:"files,omitempty"` // inodes below and including Path
	Dir   bool   `json:"dir,omitempty"`
}

// Swap is one line of /proc/swaps as the node sees it.
type Swap struct {
	Path      string `json:"path"`
	Type      string `json:"type"` // file, partition
	SizeBytes int64  `json:"sizeBytes"`
	UsedBytes int64  `json:"usedBytes"`
	InFstab   bool   `json:"inFstab"`
}

// CNI is the network configuration and binaries on disk.
type CNI struct {
	ConfDir      string      `json:"confDir"`
	ConfDirError string      `json:"confDirError,omitempty"` // missing directory
	Configs      []CNIConfig `json:"configs,omitempty"`      // in the order the runtime reads them
	BinDirs      []string    `json:"binDirs,omitempty"`
	Binaries     []string    `json:"binaries,omitempty"` // names present and executable
	IPAM         []IPAMState `json:"ipam,omitempty"`
}

// CNIConfig is one file of the configuration directory.
type CNIConfig struct {
	Path    string    `json:"path"`
	Name    string    `json:"name,omitempty"`
	Error   string    `json:"error,omitempty"`
	Plugins []string  `json:"plugins,omitempty"` // types, IPAM types included
	Subnets []string  `json:"subnets,omitempty"`
	ModTime time.Time `json:"modTime"`
	Used    bool      `json:"used"` // the first loadable one
}

// IPAMState is host-local's reservation directory.
type IPAMState struct {
	Network  string `json:"network"`
	Dir      string `json:"dir"`
	Subnet   string `json:"subnet,omitempty"`
	Capacity int    `json:"capacity"` // usable addresses of the ranges
	Reserved int    `json:"reserved"`
	Orphans  int    `json:"orphans"` // reserved for a container id the runtime does not list; -1 when the runtime did not answer
}

// RegistryHost is one hosts.toml of certs.d, or one [[registry]] of CRI-O's registries.conf.
type RegistryHost struct {
	Host       string           `json:"host"`             // *.DOMAIN for all hosts below it
	Prefix     string           `json:"prefix,omitempty"` // where it is for the repositories below a path alone, with the host
	Path       string           `json:"path"`
	Blocked    bool             `json:"blocked,omitempty"`
	Error      string           `json:"error,omitempty"`
	Server     string           `json:"server,omitempty"`
	Mirrors    []RegistryMirror `json:"mirrors,omitempty"`
	CAs        []string         `json:"cas,omitempty"` // paths
	MissingCAs []string         `json:"missingCas,omitempty"`
	// Origin is what asking the registry itself would give where hosts.toml sends pulls elsewhere, with the CAs that it names.
	Origin *RegistryMirror `json:"origin,omitempty"`
}

// RegistryMirror is one [host."…"] of a hosts.toml, and what connecting from the node gives, probed only after a failed pull.
type RegistryMirror struct {
	URL        string    `json:"url"`
	SkipVerify bool      `json:"skipVerify,omitempty"`
	Pulls      string    `json:"pulls,omitempty"` // digest-only, tag-only: which pulls it is asked for; empty for all
	CAs        []string  `json:"cas,omitempty"`
	Reach      string    `json:"reach,omitempty"` // as Kubeconfig.Reach
	ReachError string    `json:"reachError,omitempty"`
	Issuer     string    `json:"issuer,omitempty"`
	Subject    string    `json:"subject,omitempty"`
	NotBefore  time.Time `json:"notBefore,omitzero"`
	NotAfter   time.Time `json:"notAfter,omitzero"`
	// Chain is what an untrusted server showed, its own certificate first; nobody vouches for it.
	Chain []ShownCertificate `json:"chain,omitempty"`
	// Known is a CA in another file of this node that the chain verifies by.
	Known *TrustedCA `json:"known,omitempty"`
}

// ShownCertificate is a certificate of a chain that a server shows.
type ShownCertificate struct {
	Subject string `json:"subject"`
	Issuer  string `json:"issuer"`
	SHA256  string `json:"sha256"`
}

// TrustedCA is a certificate that somebody vouches for: the node's administrator, by a file of the node, or the operator who asks.
type TrustedCA struct {
	SHA256  string `json:"sha256"`
	Subject string `json:"subject,omitempty"`
	Path    string `json:"path,omitempty"` // on the node
	DER     string `json:"der,omitempty"`  // base64, where the operator gave the certificate itself
}

// Security is what confines containers on this node.
type Security struct {
	SeccompProfiles []string `json:"seccompProfiles,omitempty"` // names below /var/lib/kubelet/seccomp
	AppArmor        bool     `json:"appArmor"`
	SELinux         string   `json:"selinux,omitempty"` // enforcing, permissive, "" = not there
}

// File is a file whose state decides a finding: shim and runtime binaries, CNI binaries, kubelet.conf, CA.
type File struct {
	Path      string    `json:"path"`
	Exists    bool      `json:"exists"`
	Error     string    `json:"error,omitempty"`
	Mode      string    `json:"mode,omitempty"` // -rwxr-xr-x
	SizeBytes int64     `json:"sizeBytes,omitempty"`
	ModTime   time.Time `json:"modTime,omitzero"`
	Immutable bool      `json:"immutable,omitempty"` // chattr +i
	ReadOnly  bool      `json:"readOnly,omitempty"`  // on a read-only mount
	SHA256    string    `json:"sha256,omitempty"`    // only for files under 64 KiB without secrets
	Script    string    `json:"script,omitempty"`    // interpreter of a program that is a script, such as /bin/sh
}

// Mount is one line of mountinfo that matters: runtime and kubelet roots, CSI global mounts, bind mounts over /etc and /proc files.
type Mount struct {
	Target  string   `json:"target"`
	Source  string   `json:"source"`
	Root    string   `json:"root"`
	Type    string   `json:"type"`
	Options []string `json:"options,omitempty"`
}

// Network is the node's own network as far as the API path, registries and pods need it.
type Network struct {
	BridgeNFCallIPTables  string `json:"bridgeNfCallIptables,omitempty"` // "0", "1", "" = no br_netfilter
	BridgeNFCallIP6Tables string `json:"bridgeNfCallIp6tables,omitempty"`
	IPForward             string `json:"ipForward,omitempty"`
	// RejectRules drop or reject packets: those that this node's own packets can meet first. Rules of pod networks, of kube-proxy and of
	// fail2ban are not among them; Firewalls names all whose rules there are. Source: firewall.
	RejectRules []Rule   `json:"rejectRules,omitempty"`
	Firewalls   []string `json:"firewalls,omitempty"` // calico, ufw, firewalld …
	// The default routes of IPv4 and IPv6, such as "172.18.0.1 dev eth0".
	DefaultRoute  string `json:"defaultRoute,omitempty"`
	DefaultRoute6 string `json:"defaultRoute6,omitempty"`
	// Hosts are the lines of /etc/hosts besides those that every machine has, Nameservers the servers of /etc/resolv.conf.
	Hosts       []string `json:"hosts,omitempty"`
	Nameservers []string `json:"nameservers,omitempty"`
}

// PluginSocket is one socket through which the kubelet reaches a plugin: device plugins below device-plugins, CSI drivers
// and their registrars below plugins and plugins_registry.
type PluginSocket struct {
	Path string `json:"path"`
	Kind string `json:"kind"`           // device-plugin, csi, csi-registration
	Name string `json:"name,omitempty"` // resource or driver, where the socket or its path tells
	// Answers is what connecting and an exchange of greetings gave within the source's deadline: ok, refused (nobody listens),
	// timeout (somebody listens and says nothing).
	Answers string `json:"answers"`
}

// Cgroup is a pod-level cgroup of the kubelet whose state decides whether a pod's cgroup can be made.
type Cgroup struct {
	Path       string `json:"path"` // below /sys/fs/cgroup, controller included on v1
	ReadOnly   bool   `json:"readOnly,omitempty"`
	Immutable  bool   `json:"immutable,omitempty"`
	EmptyCPUs  bool   `json:"emptyCpus,omitempty"`  // v1 cpuset.cpus or cpuset.mems is empty
	MaxBelow   int64  `json:"maxBelow,omitempty"`   // v2 cgroup.max.descendants; -1 or 0 with Limited false means no limit
	Limited    bool   `json:"limited,omitempty"`    // cgroup.max.descendants is a number, possibly 0
	Below      int64  `json:"below,omitempty"`      // nr_descendants
	PIDsMax    int64  `json:"pidsMax,omitempty"`    // 0 = unlimited
	PIDsInside int64  `json:"pidsInside,omitempty"` // pids.current
	Frozen     bool   `json:"frozen,omitempty"`
}
