package facts

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/memo"
)

// The runtimes by the names that CRI's Version gives.
const (
	Containerd = "containerd"
	CRIO       = "cri-o"
	Docker     = "docker" // cri-dockerd
)

// RuntimeOf is who runs this node's containers, as far as the node shows it.
type RuntimeOf struct {
	// Name is Containerd, CRIO or Docker, else what the runtime calls itself; empty when nothing tells.
	Name string
	// Unit is its systemd unit without .service; empty when its process is not there and no unit of a runtime exists.
	Unit   string
	Socket string // path
	Root   string // where images and containers are
	State  string
	CLI    []string // talks CRI to it, to be continued; crictl by PATH where the node's own was not found
}

// Runtime is the node's container runtime.
func Runtime(o *v1alpha1.Observation) RuntimeOf {
	r := RuntimeOf{Name: o.Runtime.Name, Unit: o.Runtime.Unit, Socket: strings.TrimPrefix(o.Runtime.Endpoint, "unix://"), Root: o.Runtime.RootDir, State: o.Runtime.StateDir, CLI: o.Runtime.CLI}
	if r.Name == "" {
		switch base := path.Base(r.Socket); { // of an observation before the process was looked for, when CRI does not answer
		case strings.HasPrefix(base, "containerd"):
			r.Name = Containerd
		case strings.HasPrefix(base, "crio"):
			r.Name = CRIO
		case strings.HasPrefix(base, "cri-dockerd"):
			r.Name = Docker
		}
	}
	if r.Unit == "" {
		usual := usualUnits[r.Name]
		switch {
		case strings.Contains(r.Socket, "/k3s/"), strings.Contains(r.Socket, "/k0s/"): // k3s, RKE2 and k0s start their containerd themselves
			usual = KubeletUnitName(o)
		case strings.Contains(r.Socket, "/microk8s/"):
			usual = "snap.microk8s.daemon-containerd"
		}
		if u, there := o.Units[usual]; there && u.LoadState != "not-found" {
			r.Unit = usual
		}
	}
	if !talksCRI(strings.Join(r.CLI, " ")) { // which program runs is nobody's to choose
		r.CLI = []string{"crictl"}
		if talksCRI("crictl --runtime-endpoint " + o.Runtime.Endpoint) {
			r.CLI = append(r.CLI, "--runtime-endpoint", o.Runtime.Endpoint)
		}
	}
	return r
}

// UnitName is its unit, the usual one where the node does not show it.
func (r RuntimeOf) UnitName() string { return cmp.Or(r.Unit, usualUnits[r.Name], "containerd") }

// usualUnits are the runtimes' units where the process does not tell.
var usualUnits = map[string]string{Containerd: "containerd", CRIO: "crio", Docker: "cri-docker"}

// talksCRI tells that a command talks CRI to a runtime, to be continued.
var talksCRI = memo.Of(cri.MatchString)

var cri = regexp.MustCompile(`^([\w./-]*/)?(crictl|k3s crictl)( --runtime-endpoint (\w+:/)?/[\w./-]+)?$`)

// OwnClient is the address for containerd's own client, ctr, where the node has no client of CRI; else empty.
func (r RuntimeOf) OwnClient(o *v1alpha1.Observation) string {
	if len(o.Runtime.CLI) == 0 && o.Runtime.PID > 0 && r.Name == Containerd {
		return r.Socket
	}
	return ""
}

// RuntimeUnit is the runtime's unit, and whether it is there.
func RuntimeUnit(o *v1alpha1.Observation) (v1alpha1.Unit, bool) {
	u, ok := o.Units[Runtime(o).Unit]
	return u, ok && u.LoadState != "not-found"
}

// RuntimeProcess is the runtime's process: the one that serves CRI, else its unit's main process.
func RuntimeProcess(o *v1alpha1.Observation) (v1alpha1.Process, bool) {
	for _, p := range o.Processes {
		if p.PID != 0 && p.PID == o.Runtime.PID {
			return p, true
		}
	}
	if unit := Runtime(o).Unit; unit != "" {
		return MainProcess(o, unit)
	}
	return v1alpha1.Process{}, false
}

// programs are the processes of which each runtime consists.
var programs = map[string][]string{Containerd: {"containerd"}, CRIO: {"crio"}, Docker: {"cri-dockerd", "dockerd"}}

// Here is a page's command as it is typed on this node: pages name containerd, its unit and directories, and crictl without an address.
func Here(o *v1alpha1.Observation, command string) string {
	r := Runtime(o)
	unit, root := detectors.Quote(r.UnitName()), detectors.Quote(RuntimeRoot(o))
	if r.Name == CRIO {
		command = strings.NewReplacer("/io.containerd.snapshotter.v1.overlayfs/snapshots", "/overlay", ":cri-containerd:", ":crio:").Replace(command)
	}
	if own := programs[r.Name]; len(own) > 0 {
		command = strings.ReplaceAll(command, "pidof containerd", "pidof "+own[0])
	}
	command = itsUnit.ReplaceAllStringFunc(command, func(m string) string { return strings.TrimSuffix(m, "containerd") + unit })
	command = strings.ReplaceAll(command, "/var/lib/containerd", root)
	if OwnSocket(o) { // where crictl looks first
		return command
	}
	return crictl.ReplaceAllLiteralString(command, strings.Join(r.CLI, " "))
}

var (
	itsUnit = regexp.MustCompile(`\b(journalctl -u|systemctl [^|;]*) containerd\b`)
	crictl  = regexp.MustCompile(`\bcrictl\b`)
)

// HaltedRuntime are the runtime's processes that are there and do not run, whether their unit still knows them or not: a stop or a
// restart by hand does not end a process that is frozen, and its unit forgets it.
func HaltedRuntime(o *v1alpha1.Observation) []v1alpha1.Process {
	r := Runtime(o)
	main, _ := RuntimeProcess(o)
	var out []v1alpha1.Process
	for _, p := range o.Processes {
		own := p.PID == main.PID || slices.Contains(programs[r.Name], p.Name) && (p.Unit == r.Unit || p.Unit == "") && !inContainer.MatchString(p.CgroupPath)
		if own && Halted(p) {
			out = append(out, p)
		}
	}
	return out
}

// inContainer matches the cgroup of a container's process, such as that of a runtime that runs in a pod.
var inContainer = regexp.MustCompile(`kubepods|[0-9a-f]{64}`)

// KubeletUnitName is the unit that the kubelet runs in: kubelet, k3s, rke2-agent …
func KubeletUnitName(o *v1alpha1.Observation) string {
	if o.Kubelet.Unit != "" {
		return o.Kubelet.Unit
	}
	return "kubelet"
}

// KubeletUnit is the kubelet's unit, and whether it is there.
func KubeletUnit(o *v1alpha1.Observation) (v1alpha1.Unit, bool) {
	u, ok := o.Units[KubeletUnitName(o)]
	return u, ok
}

// RestartKubelet restarts the unit that the kubelet runs in.
func RestartKubelet(o *v1alpha1.Observation, why string) v1alpha1.Step {
	return detectors.Restart(o.Node, KubeletUnitName(o)+".service", why)
}

// KubeletMinor is the kubelet's minor version: 37 of v1.37.2, 0 when it is not known.
func KubeletMinor(o *v1alpha1.Observation) int {
	_, rest, _ := strings.Cut(o.Kubelet.Version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	n, _ := strconv.Atoi(minor)
	return n
}
