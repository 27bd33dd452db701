package v1alpha1

import (
	"time"

	"github.com/sickbay-dev/sickbay/internal/hypervisor"
)

// APIVersion is the version of everything sickbay writes for others to read.
const APIVersion = "sickbay.dev/v1alpha1"

// KindObservation is the kind of an Observation document.
const KindObservation = "Observation"

// Observation is one look at one node: what its agent saw and what the API server says of it.
//
// A field that could not be read stays at its zero value and has an entry in Unknown; zero without such an entry means "looked, and it
// is zero", where Sources lists the source: see [Observation.Unreadable].
type Observation struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Node       string    `json:"node"`
	At         time.Time `json:"at"`     // node wall clock when the look began
	TookMS     int64     `json:"tookMs"` // wall time of the node side, milliseconds
	// Sources are the sources that were looked at; see Looked.
	Sources []string `json:"sources,omitempty"`

	Host        Host             `json:"host"`
	Units       map[string]Unit  `json:"units,omitempty"` // keyed by unit name without .service: kubelet, containerd
	Journal     Journal          `json:"journal"`
	Kubelet     Kubelet          `json:"kubelet"`
	Runtime     Runtime          `json:"runtime"`
	Filesystems []Filesystem     `json:"filesystems,omitempty"`
	Swaps       []Swap           `json:"swaps,omitempty"`
	Processes   []Process        `json:"processes,omitempty"`
	Containers  []ContainerUsage `json:"containers,omitempty"`
	Certs       []Certificate    `json:"certificates,omitempty"`
	Clocks      Clocks           `json:"clocks"`
	CNI         CNI              `json:"cni"`
	Registries  []RegistryHost   `json:"registries,omitempty"`
	TrustedCAs  []TrustedCA      `json:"trustedCas,omitempty"` // by the operator's word
	Security    Security         `json:"security"`
	Files       []File           `json:"files,omitempty"`
	Mounts      []Mount          `json:"mounts,omitempty"`
	Network     Network          `json:"network"`
	Sockets     []PluginSocket   `json:"pluginSockets,omitempty"`
	Cgroups     []Cgroup         `json:"cgroups,omitempty"`
	// LocalUnits are services and timers whose unit file was put below /etc or /run/systemd/system besides the node image's,
	// and that are active, or started by a timer of the same name that is: what somebody added to this node. Name, ExecStart and,
	// where that is a script, Script are filled.
	LocalUnits []Unit `json:"localUnits,omitempty"`
	// LocalJobs are entries of crontabs, and processes of no unit and no container.
	LocalJobs []Job `json:"localJobs,omitempty"`
	// Limits are what a node can run out of beside space, memory and CPU.
	Limits []Limit `json:"limits,omitempty"`
	// Kmsg holds audit records of denials as well, of Source audit, where they do not go to the kernel's log.
	Kmsg []LogLine `json:"kmsg,omitempty"` // kernel log since the last look; shared by all nodes of one kernel
	API  *API      `json:"api,omitempty"`  // nil when the API server was not asked; see Unknown when it did not answer

	Unknown []Unknown `json:"unknown,omitempty"`
}

// Unknown is a source that could not be read, and why. Unknown never means healthy.
type Unknown struct {
	What string `json:"what"` // dotted source name: runtime.containers, filesystems, api.events …
	Why  string `json:"why"`
}

// History is what was seen of one node over time, oldest first. With a harness the first is the baseline; `diagnose`
// may have a single one.
type History []Observation

// Last is the newest observation. It panics on an empty History, which is a programming error.
func (h History) Last() *Observation { return &h[len(h)-1] }

// Baseline is the oldest observation, and whether there is one besides the last.
func (h History) Baseline() (*Observation, bool) {
	if len(h) < 2 {
		return nil, false
	}
	return &h[0], true
}

// Host is the machine and kernel under the node.
type Host struct {
	Hostname       string   `json:"hostname"`
	Kernel         string   `json:"kernel"`         // uname -r
	OS             string   `json:"os"`             // PRETTY_NAME of os-release
	Arch           string   `json:"arch"`           // GOARCH
	BootID         string   `json:"bootId"`         // survives `docker restart`
	UptimeSeconds  float64  `json:"uptimeSeconds"`  // of the kernel
	CgroupVersion  int      `json:"cgroupVersion"`  // 1 (v1 or hybrid) or 2
	LSMs           []string `json:"lsms,omitempty"` // /sys/kernel/security/lsm, empty when securityfs is not mounted
	Virtualization string   `json:"virtualization"` // systemd-detect-virt: docker, kvm, none …
	InContainer    bool     `json:"inContainer"`    // the node is a container: its kernel is shared
	// Machine is the monitor under the kernel, whatever container the node is: none, kvm, tcg (QEMU's software emulation), hyperv,
	// vmware … or empty where the processor does not say.
	Machine      string  `json:"machine,omitempty"`
	CPUs         int     `json:"cpus"`         // online
	MemoryBytes  int64   `json:"memoryBytes"`  // MemTotal
	LoadAverage1 float64 `json:"loadAverage1"` // 1 minute
	Unprivileged bool    `json:"unprivileged"` // the agent did not run as root: much is unknown
	PSI          PSI     `json:"psi"`          // pressure stall, zero where the kernel has none
}

// Emulated tells that the processors are software, some ten times as slow as what they imitate.
func (h Host) Emulated() bool { return h.Machine == hypervisor.TCG }

// PSI is /proc/pressure, "some avg10" and "full avg10", percent.
type PSI struct {
	CPUSome    float64 `json:"cpuSome"`
	MemorySome float64 `json:"memorySome"`
	MemoryFull float64 `json:"memoryFull"`
	IOSome     float64 `json:"ioSome"`
	IOFull     float64 `json:"ioFull"`
}

// Unit is a systemd unit as `systemctl show` gives it.
type Unit struct {
	Name           string    `json:"name"`
	LoadState      string    `json:"loadState"`   // loaded, not-found, masked
	ActiveState    string    `json:"activeState"` // active, activating, inactive, failed
	SubState       string    `json:"subState"`    // running, auto-restart, dead
	Result         string    `json:"result"`      // success, exit-code, signal …
	UnitFileState  string    `json:"unitFileState"`
	MainPID        int       `json:"mainPid"`
	ExecMainStatus int       `json:"execMainStatus"`
	ExecMainCode   int       `json:"execMainCode"` // CLD_EXITED=1, CLD_KILLED=2
	NRestarts      int       `json:"nRestarts"`
	ActiveSince    time.Time `json:"activeSince"`
	StateSince     time.Time `json:"stateSince"`
	Frozen         bool      `json:"frozen"`             // FreezerState=frozen
	DropIns        []string  `json:"dropIns,omitempty"`  // paths
	Binds          []string  `json:"binds,omitempty"`    // what its own mounts cover, as SOURCE:TARGET
	KillMode       string    `json:"killMode,omitempty"` // process, control-group, mixed, none
	Fragment       string    `json:"fragment,omitempty"` // FragmentPath
	ExecStart      string    `json:"execStart,omitempty"`
	// Script is the beginning of the script that ExecStart runs, of units that somebody added to the node, without secrets.
	Script string `json:"script,omitempty"`
}

// Job is what somebody runs on the node besides its units and containers. Secrets are taken out of its texts.
type Job struct {
	// Crontab is the file of a cron entry; Command is then its whole line.
	Crontab string `json:"crontab,omitempty"`
	// PID and Started (in clock ticks after boot: a PID is used again) are those of a process, Parent is who started it.
	PID     int    `json:"pid,omitempty"`
	Started uint64 `json:"started,omitempty"`
	Parent  string `json:"parent,omitempty"`
	Command string `json:"command"`
	Script  string `json:"script,omitempty"` // the beginning of the script that it runs
}

// Journal is the log of the units since the previous look.
type Journal struct {
	Cursor    string    `json:"cursor,omitempty"` // hand back to continue after the last line
	Lines     []LogLine `json:"lines,omitempty"`  // oldest first; kubelet and containerd, at most the agent's line bound
	Truncated bool      `json:"truncated,omitempty"`
}

// LogLine is one line of a log with both of its clocks.
type LogLine struct {
	Source string    `json:"source"`          // unit name, or "kernel"
	At     time.Time `json:"at"`              // journald's or the kernel's stamp
	Own    time.Time `json:"own,omitzero"`    // the time the process wrote into its own line (klog header, containerd time=), zero if none
	Level  string    `json:"level,omitempty"` // klog I/W/E/F or containerd info/warning/error, lower case: info, warning, error, fatal
	Text   string    `json:"text"`
	PID    int       `json:"pid,omitempty"`
}

// Clocks are the times of the node and of the processes that may disagree with it.
type Clocks struct {
	NodeUnix float64 `json:"nodeUnix"` // node wall clock, seconds
	// ProcessOffsetSeconds is how far a process's own clock runs ahead (+) of the node's: by the time it answered with, where
	// it answers (the kubelet's healthz, the runtime's statistics), else by the stamps of its log lines against journald's.
	// Keyed by unit. Missing when neither was there.
	ProcessOffsetSeconds map[string]float64 `json:"processOffsetSeconds,omitempty"`
	// APIOffsetSeconds is node clock minus the API server's Date header, seconds; NaN is never stored, Known says.
	APIOffsetSeconds float64 `json:"apiOffsetSeconds"`
	APIOffsetKnown   bool    `json:"apiOffsetKnown"`
	Synchronized     bool    `json:"synchronized"` // adjtimex: STA_UNSYNC not set
	// RTCOffsetSeconds is node clock minus the machine's battery-backed clock, which has whole seconds. Unknown where there is none,
	// or where it keeps local time.
	RTCOffsetSeconds float64 `json:"rtcOffsetSeconds,omitempty"`
	RTCOffsetKnown   bool    `json:"rtcOffsetKnown,omitempty"`
}

// Certificate is one X.509 certificate of the node, without its key.
type Certificate struct {
	Path      string    `json:"path"`
	Use       string    `json:"use"` // kubelet-client, kubelet-server, ca, registry-ca
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	SHA256    string    `json:"sha256"`
	// ChainsToCA tells whether it verifies against the cluster CA the kubelet trusts, ignoring validity times.
	ChainsToCA bool   `json:"chainsToCa"`
	Error      string `json:"error,omitempty"` // when the file could not be parsed
}

// Process is a process worth judging: unit main processes, their D-state or stopped threads, shims, swap users.
type Process struct {
	PID          int      `json:"pid"`
	Name         string   `json:"name"` // comm
	Unit         string   `json:"unit,omitempty"`
	State        string   `json:"state"` // R S D T t Z
	Exe          string   `json:"exe,omitempty"`
	ExeDeleted   bool     `json:"exeDeleted,omitempty"`
	Threads      int      `json:"threads"`
	BlockedD     []Thread `json:"blockedD,omitempty"` // threads in uninterruptible sleep
	FrozenCgroup bool     `json:"frozenCgroup,omitempty"`
	OpenFiles    int      `json:"openFiles,omitempty"`
	MaxFiles     int      `json:"maxFiles,omitempty"`
	CPUQuota     CPUUsage `json:"cpuQuota"`              // of its cgroup, or of the one above that has a smaller quota
	QuotaCgroup  string   `json:"quotaCgroup,omitempty"` // that one above, such as /system.slice
	CgroupPath   string   `json:"cgroupPath,omitempty"`  // of the cpu controller on v1, unified on v2, below /sys/fs/cgroup
}

// Thread is one thread of a process and where in the kernel it waits.
type Thread struct {
	TID   int    `json:"tid"`
	Name  string `json:"name"`
	Wchan string `json:"wchan,omitempty"`
	// Path is the file its system call is about, where the kernel tells: what it waits for lies there.
	Path string `json:"path,omitempty"`
}

// Limit is how much of something is used, and how much there may be.
type Limit struct {
	// Name is pids, conntrack, open-files, inotify-instances, inotify-watches, ephemeral-ports, or user-namespaces, net-namespaces and
	// so on where these are within reach; a Max of 0 allows none of them.
	Name string `json:"name"`
	// Of is whose it is: node, a slice such as system.slice, a process as "kubelet 300", a user as "uid 0"; of ephemeral-ports the
	// peer with the most connections.
	Of   string `json:"of"`
	Used int64  `json:"used"`
	Max  int64  `json:"max"`
}

// CPUUsage is a cgroup's CPU accounting, the same numbers from v1 and v2.
type CPUUsage struct {
	QuotaMilli    int64 `json:"quotaMilli"`           // thousandths of a core, 0 = unlimited
	PeriodUsec    int64 `json:"periodUsec,omitempty"` // over which the quota counts, where there is one
	NrPeriods     int64 `json:"nrPeriods"`
	NrThrottled   int64 `json:"nrThrottled"`
	ThrottledUsec int64 `json:"throttledUsec"` // summed over the CPUs on which it was held back; v1 throttled_time is ns, converted
	// PressureSome and PressureFull are the cgroup's cpu.pressure avg10, percent: for how much of the time some, or all, of its tasks
	// waited for a CPU or their quota. 0 on v1.
	PressureSome float64 `json:"pressureSome,omitempty"`
	PressureFull float64 `json:"pressureFull,omitempty"`
	UsageUsec    int64   `json:"usageUsec"`
}
