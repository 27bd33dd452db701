package facts

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// Filesystem is that of a role: nodefs, imagefs. Where the runtime has none of its own, imagefs is nodefs.
func Filesystem(o *v1alpha1.Observation, role string) (v1alpha1.Filesystem, bool) {
	for _, f := range o.Filesystems {
		if slices.Contains(f.Roles, role) {
			return f, true
		}
	}
	want := map[string]string{"nodefs": "/var/lib/kubelet", "imagefs": RuntimeRoot(o)}[role]
	for _, f := range o.Filesystems {
		if want != "" && f.Path == want {
			return f, true
		}
	}
	return v1alpha1.Filesystem{}, false
}

// RuntimeRoot is the runtime's root directory.
func RuntimeRoot(o *v1alpha1.Observation) string {
	if o.Runtime.RootDir != "" {
		return strings.TrimRight(o.Runtime.RootDir, "/")
	}
	return "/var/lib/containerd"
}

// OwnSocket tells that the runtime was looked for where containerd serves unless told otherwise.
func OwnSocket(o *v1alpha1.Observation) bool {
	p := strings.TrimPrefix(strings.TrimPrefix(o.Runtime.Endpoint, "unix://"), "/var")
	return p == "" || p == "/run/containerd/containerd.sock"
}

// SameFilesystem tells whether two entries are one filesystem.
func SameFilesystem(a, b v1alpha1.Filesystem) bool {
	if a.MajorMinor != "" && b.MajorMinor != "" {
		return a.MajorMinor == b.MajorMinor
	}
	return a.Mount == b.Mount && a.Device == b.Device
}

// Full tells that a filesystem has practically no bytes left for anybody: under 1% and under 256 MiB (1% of a large disk
// still serves), or under 4 MiB, less than one container's writes.
func Full(f v1alpha1.Filesystem) bool {
	if f.Bytes == 0 {
		return false
	}
	return f.BytesFree < 4<<20 || (f.BytesFree*100 < f.Bytes && f.BytesFree < 256<<20)
}

// OutOfInodes tells that a filesystem counts inodes and has practically none left.
func OutOfInodes(f v1alpha1.Filesystem) bool {
	return f.Inodes > 0 && (f.InodesFree < 16 || (f.InodesFree*100 < f.Inodes && f.InodesFree < 1000))
}

// Threshold is one hard eviction threshold in force.
type Threshold struct {
	Signal string
	Text   string
	Value  int64 // bytes or inodes
}

// DefaultThresholds are the kubelet's own hard eviction thresholds of disks (kubelet pkg/kubelet/eviction/defaults_linux.go).
var DefaultThresholds = map[string]string{"nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%", "imagefs.inodesFree": "5%"}

// DefaultThreshold is the kubelet's own threshold of a signal, as a number for this filesystem; 0 for a signal it has none for.
func DefaultThreshold(signal string, capacity int64) int64 {
	n, _ := amount(DefaultThresholds[signal], capacity)
	return n
}

// HardThreshold is the threshold of a signal in force, as a number for this filesystem. ok is false where there is none: not
// set, or 0.
func HardThreshold(o *v1alpha1.Observation, signal string, capacity int64) (Threshold, bool) {
	c, source := Config(o)
	set := c.EvictionHard
	if set == nil {
		if source != "kubelet.configz" && (o.Kubelet.FileError != "" || o.Kubelet.ConfigSource == "" && EmptyConfig(o.Kubelet.File)) {
			return Threshold{}, false // not known
		}
		// The kubelet's own defaults apply only where no map is given at all.
		set = DefaultThresholds
	}
	if v, ok := FlagValue(o, "eviction-hard"); ok && source != "kubelet.configz" {
		set = map[string]string{}
		for _, part := range strings.Split(strings.Trim(v, `"'`), ",") {
			if k, val, ok := strings.Cut(part, "<"); ok {
				set[k] = val
			}
		}
	}
	text, ok := set[signal]
	if !ok {
		return Threshold{}, false
	}
	value, ok := amount(text, capacity)
	if !ok || value <= 0 {
		return Threshold{}, false
	}
	return Threshold{Signal: signal, Text: text, Value: value}, true
}

// EmptyConfig tells that nothing of a configuration is known.
func EmptyConfig(c v1alpha1.KubeletConfig) bool {
	return c.CgroupDriver == "" && c.FailSwapOn == nil && c.EvictionHard == nil && c.RuntimeEndpoint == "" && c.MaxPods == 0 && c.RotateCertificates == nil
}

func amount(text string, capacity int64) (int64, bool) {
	if p, ok := strings.CutSuffix(text, "%"); ok {
		v, err := strconv.ParseFloat(p, 64)
		return int64(v / 100 * float64(capacity)), err == nil
	}
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return 0, false
	}
	return q.Value(), true
}

// Usage writes the free bytes or inodes of a filesystem for a person.
func Usage(f v1alpha1.Filesystem, inodes bool) string {
	if inodes {
		return fmt.Sprintf("%s (%s on %s): %d of %d inodes free", f.Path, f.Type, f.Mount, f.InodesFree, f.Inodes)
	}
	return fmt.Sprintf("%s (%s on %s): %s of %s free", f.Path, f.Type, f.Mount, text.Bytes(f.BytesFree), text.Bytes(f.Bytes))
}

// What belongs directly below the two roots; anything else that is large was put there by somebody.
var (
	kubeletOwn = []string{"actuated_pods_state", "allocated_pods_state", "checkpoints", "config.yaml", "config.yaml.d", "config.d", "cpu_manager_state", "device-plugins",
		"dra_manager_state", "instance-config.yaml", "kubeadm-flags.env", "kubeconfig", "memory_manager_state", "pki", "plugins", "plugins_registry", "pod-resources",
		"pods", "seccomp", "lost+found", "image_manager", "pod_status_manager_state", "patches", "containers", "volumes", "logs"}
	runtimeOwn = []string{"tmpmounts", "lost+found", "opt", "containerd.sock"}
)

// Alien are the entries directly below a filesystem's path that belong to neither the runtime nor the kubelet and take a
// twentieth of it at least: what an operator sees at once with du and may delete.
func Alien(o *v1alpha1.Observation, f v1alpha1.Filesystem, inodes bool) []v1alpha1.PathUse {
	var out []v1alpha1.PathUse
	for _, u := range f.TopUsers {
		name := path.Base(u.Path)
		var own []string
		switch path.Dir(u.Path) {
		case RuntimeRoot(o):
			own = runtimeOwn
		case "/var/lib/kubelet":
			own = kubeletOwn
		default:
			continue // what belongs elsewhere is not known
		}
		if strings.HasPrefix(name, "io.containerd.") {
			continue
		}
		if slices.Contains(own, name) {
			continue
		}
		if inodes && u.Files*20 >= f.Inodes && f.Inodes > 0 || !inodes && u.Bytes*20 >= f.Bytes && f.Bytes > 0 {
			out = append(out, u)
		}
	}
	return out
}

// MakeRoom are the steps that free a filesystem, the smallest first: what does not belong there, unused images, old logs.
func MakeRoom(o *v1alpha1.Observation, f v1alpha1.Filesystem, inodes bool) (steps []v1alpha1.Step, untouched string) {
	for _, u := range Alien(o, f, inodes) {
		what := fmt.Sprintf("delete %s: %s", u.Path, text.Bytes(u.Bytes))
		if inodes {
			what = fmt.Sprintf("delete %s: %s", u.Path, Plural(int(u.Files), "inode"))
		}
		what += ", and neither the runtime nor the kubelet keeps anything under that name"
		if u.Dir || u.Files > 1 {
			steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, what, "rm", "-rf", "--one-file-system", "--", u.Path))
		} else {
			steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, what, "rm", "-f", "--", u.Path))
		}
	}
	if len(steps) > 0 {
		return steps, ""
	}
	if inodes && f.Path == RuntimeRoot(o) {
		return []v1alpha1.Step{detectors.NodeStep(v1alpha1.Safe, o.Node, "delete the plain files directly below the runtime's root: the runtime keeps nothing but directories there",
			"find", f.Path, "-xdev", "-maxdepth", "1", "-type", "f", "-delete")}, ""
	}
	if inodes && f.Path == "/var/lib/kubelet" {
		argv := []string{"find", f.Path, "-xdev", "-maxdepth", "1", "-type", "f", "-empty"}
		for _, n := range kubeletOwn {
			argv = append(argv, "!", "-name", n)
		}
		steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "delete the empty files directly below the kubelet's directory that are none of its own", append(argv, "-delete")...))
	}
	if image, ok := Filesystem(o, "imagefs"); ok && SameFilesystem(image, f) {
		steps = append(steps, detectors.ShellStep(v1alpha1.Safe, o.Node, "delete images that no container uses; the kubelet's own image GC does the same under DiskPressure",
			`if command -v crictl >/dev/null; then crictl rmi --prune; else ctr -n k8s.io images prune --all; fi`))
	}
	if node, ok := Filesystem(o, "nodefs"); ok && SameFilesystem(node, f) {
		steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "cut the journal down", "journalctl", "--vacuum-size=64M"),
			detectors.ShellStep(v1alpha1.Safe, o.Node, "delete rotated container logs; the ones being written stay", `find /var/log/pods -xdev -type f -name '*.log.*' -delete`))
	}
	return steps, "nothing that is plainly foreign fills it: if this does not free enough, decide with `du -xhd2 " + f.Path + "` what may go, or enlarge the filesystem"
}
