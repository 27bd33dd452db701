package facts

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
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
	want := map[string]string{"nodefs": KubeletRoot(o), "imagefs": RuntimeRoot(o)}[role]
	for _, f := range o.Filesystems {
		if want != "" && f.Path == want {
			return f, true
		}
	}
	return v1alpha1.Filesystem{}, false
}

// KubeletRoot is the kubelet's root directory.
func KubeletRoot(o *v1alpha1.Observation) string {
	if o.Kubelet.RootDir != "" {
		return strings.TrimRight(o.Kubelet.RootDir, "/")
	}
	return "/var/lib/kubelet"
}

// RuntimeRoot is the runtime's root directory.
func RuntimeRoot(o *v1alpha1.Observation) string {
	if o.Runtime.RootDir != "" {
		return strings.TrimRight(o.Runtime.RootDir, "/")
	}
	if Runtime(o).Name == CRIO {
		return "/var/lib/containers/storage"
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

// SoftThreshold is a soft threshold of a signal that is crossed. The kubelet acts on one after its grace period.
func SoftThreshold(o *v1alpha1.Observation, signal string, capacity, free int64) (Threshold, bool) {
	c, _ := Config(o)
	text, set := c.EvictionSoft[signal]
	value, ok := amount(text, capacity)
	return Threshold{Signal: signal, Text: text, Value: value}, set && ok && free < value
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

// owns tells what a directory's own program keeps directly in it: a containerd of its usual layout in its root and its state
// directory, the libraries of CRI-O beside its storage, the kubelet in its own. What else is in there somebody put there. known is false for every other directory.
func owns(o *v1alpha1.Observation, dir string) (own func(name string) bool, known bool) {
	r := Runtime(o)
	list := func(names ...string) func(string) bool {
		return func(name string) bool { return slices.Contains(names, name) }
	}
	switch {
	case dir == KubeletRoot(o):
		return func(name string) bool {
			return list("checkpoints", "config.yaml.d", "config.d", "device-plugins", "kubeconfig", "pki", "plugins", "plugins_registry", "pod-resources", "pods-api", "pods",
				"seccomp", "image_manager", "patches", "containers", "volumes", "logs", "tracing", "nodeagent-health", "pod-startup")(name) ||
				strings.HasSuffix(name, "_state") || strings.HasSuffix(name, "_checkpoint") || path.Ext(name) != "" && strings.Contains("/.yaml/.env/.conf/.json/.kubeconfig/.crt/.key/", path.Ext(name)+"/")
		}, true
	case r.Name == Containerd && (dir == RuntimeRoot(o) || dir == r.State || r.State == "" && dir == "/run/containerd"):
		return func(name string) bool {
			return strings.HasPrefix(name, "io.containerd.") || strings.Contains(name, ".sock") || list("tmpmounts", "opt", "s", "fifo", "runc", "cri", "nri", "lost+found")(name)
		}, true
	case r.Name == CRIO && dir == crioShared && path.Dir(RuntimeRoot(o)) == dir:
		return list("storage", "cache", "sigstore", "lost+found"), true
	}
	return nil, false
}

// crioShared is where CRI-O's storage lies beside what else the containers libraries keep.
const crioShared = "/var/lib/containers"

// data are words in the names of files that hold what somebody still needs though nobody may have them open: disk images and pools,
// databases, logs, keys.
var data = regexp.MustCompile(`(?i)(\.(log|img|raw|qcow2?|vmdk|ext4|xfs|erofs|squashfs|iso|db|sqlite|bolt|wal|lock|pid|toml|data|meta|swap)(\.|$))|swap|pool|scratch|devmapper|blockfile|snapshot|metadata`)

// Strangers are the entries below the directories of kubelet and runtime that take a twentieth of a filesystem at least and belong to
// neither, as far as their names say.
func Strangers(o *v1alpha1.Observation, f v1alpha1.Filesystem, inodes bool) []v1alpha1.PathUse {
	return keep(f.TopUsers, func(u v1alpha1.PathUse) bool {
		own, known := owns(o, path.Dir(u.Path))
		return known && !own(path.Base(u.Path)) && large(f, u, inodes)
	})
}

func large(f v1alpha1.Filesystem, u v1alpha1.PathUse, inodes bool) bool {
	if inodes {
		return f.Inodes > 0 && u.Files*20 >= f.Inodes
	}
	return f.Bytes > 0 && u.Bytes*20 >= f.Bytes
}

// MakeRoom are the steps that free a filesystem by what was seen to fill it, and what is left to a person. Deleted is only what is
// proven to be nobody's: a plain file that no process, loop device, swap or configuration has, or files without content. A directory
// may be a storage pool that is not in use at the moment: it stays.
func MakeRoom(o *v1alpha1.Observation, f v1alpha1.Filesystem, inodes bool) (steps []v1alpha1.Step, untouched string) {
	for _, u := range Strangers(o, f, inodes) {
		if data.MatchString(path.Base(u.Path)) {
			continue
		}
		switch {
		case u.Dir && inodes && u.Bytes < 128*u.Files: // a directory on a disk takes 30 bytes or so for each name
			steps = append(steps, discard(o, u.Path, fmt.Sprintf("delete %s: %s, and all files in it are empty", u.Path, text.Plural(int(u.Files), "inode")), true))
		case !u.Dir && !inodes:
			steps = append(steps, discard(o, u.Path, fmt.Sprintf("delete %s: %s in a file that neither the runtime nor the kubelet keeps, if nobody uses it", u.Path, text.Bytes(u.Bytes)), false))
		}
	}
	if inodes {
		steps = append(steps, emptyNames(o, f)...)
	}
	if len(steps) > 0 {
		return steps, ""
	}
	if image, ok := Filesystem(o, "imagefs"); ok && SameFilesystem(image, f) {
		steps = append(steps, unusedImages(o, f)...)
	}
	if logs, ok := Filesystem(o, "logs"); ok && SameFilesystem(logs, f) {
		steps = append(steps, oldLogs(o, f, inodes)...)
	}
	return steps, "nothing that is proven to be nobody's fills it: decide with `du -xhd2 -- " + detectors.Quote(f.Path) + "` what may go (`du --inodes` for inodes), or enlarge the filesystem; " +
		"the kubelet itself deletes unused images under DiskPressure, those that no registry has any more included"
}

// emptyNames are the steps where nothing that was counted takes the inodes: they are names directly below then, more than were listed.
func emptyNames(o *v1alpha1.Observation, f v1alpha1.Filesystem) (steps []v1alpha1.Step) {
	if len(f.TopUsers) == 0 || slices.ContainsFunc(f.TopUsers, func(u v1alpha1.PathUse) bool { return large(f, u, true) }) {
		return nil
	}
	dirs := []string{f.Path}
	for _, u := range f.TopUsers {
		dirs = append(dirs, path.Dir(u.Path))
	}
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		if _, known := owns(o, dir); known {
			steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "delete the files directly below "+dir+" that are empty; those of kubelet and runtime stay",
				"find", dir, "-xdev", "-maxdepth", "1", "-type", "f", "-empty", "!", "-name", "*.*", "!", "-name", "*lock*", "!", "-name", "*_state", "!", "-name", "*_checkpoint", "-delete"))
		}
	}
	return steps
}

// oldLogs are the steps that delete logs nobody writes any more.
func oldLogs(o *v1alpha1.Observation, f v1alpha1.Filesystem, inodes bool) (steps []v1alpha1.Step) {
	for _, u := range f.TopUsers {
		switch {
		case !large(f, u, inodes):
		case u.Path == "/var/log/journal":
			steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "cut the journal down: it takes "+text.Bytes(u.Bytes), "journalctl", "--vacuum-size=64M"))
		case u.Path == "/var/log/pods":
			steps = append(steps, detectors.ShellStep(v1alpha1.Safe, o.Node, "delete rotated container logs: logs take "+text.Bytes(u.Bytes)+"; the ones being written stay", `find /var/log/pods -xdev -type f -name '*.log.*' -delete`))
		}
	}
	return steps
}

// unusedPath is proof that nobody uses the path $p, or the end.
const unusedPath = `
! find -L /proc/[0-9]*/fd -maxdepth 1 -inum "$(stat -c %i -- "$p")" -exec stat -Lc %d:%i {} + 2>/dev/null | grep -qx "$(stat -c %d:%i -- "$p")" || stays "a process has it open"
! find /proc/[0-9]*/fd -maxdepth 1 -type l -exec readlink {} + 2>/dev/null | grep -qF -- "$p/" || stays "a process has something of it open"
! grep -qsF -- "$p" /proc/[0-9]*/maps || stays "a process has mapped it"
! grep -qsF -- "$p" /sys/block/*/loop/backing_file /proc/swaps /proc/mounts || stays "it is a disk, swap or mounted"
! grep -rqsF -- "$p" /etc /run/systemd /usr/lib/systemd || stays "a configuration names it"
`

const pathStays = `stays() { echo "$p stays: $1" >&2; exit 1; }
[ -e "$p" ] || exit 0
`

// discard deletes a path after proof that nobody uses it: a file, or a directory of empty ones.
func discard(o *v1alpha1.Observation, p, why string, dir bool) v1alpha1.Step {
	if dir {
		return detectors.ShellStep(v1alpha1.Safe, o.Node, why, pathStays+`[ -d "$p" ] && [ ! -L "$p" ] || stays "it is no directory"
! find "$p" -xdev ! -type d ! -type f -o -type f -size +0 | grep -q . || stays "not all of it is empty files"`+unusedPath+`rm -rf --one-file-system -- "$p"`, detectors.V("p", p))
	}
	return detectors.ShellStep(v1alpha1.Safe, o.Node, why, pathStays+`[ -f "$p" ] && [ ! -L "$p" ] || stays "it is no plain file"`+unusedPath+`rm -f -- "$p"`, detectors.V("p", p))
}

// unusedImages deletes images by their IDs through CRI: those that no container and no pod of this node uses, that are not pinned,
// and that carry the name of a registry. What was loaded from a file carries none, or is told by pods that are never to pull: then
// any image may have been.
func unusedImages(o *v1alpha1.Observation, f v1alpha1.Filesystem) []v1alpha1.Step {
	for _, source := range []string{v1alpha1.SourceImages, v1alpha1.SourceContainers, v1alpha1.SourceAPI} {
		if _, unread := o.Unreadable(source); unread || o.API == nil {
			return nil
		}
	}
	used, loaded := usedImages(o)
	if loaded {
		return nil
	}
	argv, freed := append(slices.Clone(Runtime(o).CLI), "rmi"), uint64(0)
	for _, i := range o.Runtime.Images {
		pulled := !i.Pinned && len(i.Tags) > 0 && !used[i.ID] && !slices.ContainsFunc(i.Tags, func(tag string) bool {
			host, name, _ := strings.Cut(tag, "/")
			return used[tag] || used[strings.TrimPrefix(strings.TrimPrefix(tag, "docker.io/"), "library/")] || !strings.ContainsAny(host, ".:") || strings.HasPrefix(name, "library/import-") ||
				strings.Contains(tag, "/pause:")
		})
		if pulled {
			argv, freed = append(argv, i.ID), freed+i.SizeBytes
		}
	}
	if int64(freed)*20 < f.Bytes || f.Bytes == 0 {
		return nil
	}
	return []v1alpha1.Step{detectors.Destructive(detectors.NodeStep(v1alpha1.Destructive, o.Node, "delete images that no container and no pod of this node uses: "+text.Bytes(int64(freed)), argv...),
		"an image that its registry has no longer is lost")}
}

// usedImages are those that containers and pods name; loaded where a pod is never to pull one, so that any may come from a file.
func usedImages(o *v1alpha1.Observation) (used map[string]bool, loaded bool) {
	used = map[string]bool{o.Runtime.SandboxImage: true}
	for _, c := range o.Runtime.Containers {
		used[c.Image] = true
	}
	for _, p := range slices.Concat(o.API.Pods, o.API.Pending) {
		for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
			used[c.Image] = true
			loaded = loaded || c.ImagePullPolicy == corev1.PullNever
		}
		for _, v := range p.Spec.Volumes {
			if v.Image != nil {
				used[v.Image.Reference] = true
			}
		}
	}
	return used, loaded
}
