// Package csimount tells why a CSI volume is not mounted: its filesystem, its driver's registration, or its driver.
//
// A pod must wait for the volume now; what the driver answered, whether it is registered and whether its socket answers
// decides between the causes.
package csimount

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/words"
)

func init() {
	detectors.Register(detectors.Detector{Failure: "csi-mount", Needs: []string{v1alpha1.SourceAPI}, Judge: judge})
}

// fresh: a CSI call may take two minutes, and the retry backs off to 2m2s.
const fresh = 5 * time.Minute

// volume is a CSI volume that a pod of this node waits for.
type volume struct {
	pod     *corev1.Pod
	claim   string
	spec    string // what the kubelet calls it: its PersistentVolume's name, or the name in the pod
	driver  string
	handle  string
	fsType  string
	inline  bool // written into the pod
	message string
	at      v1alpha1.Evidence
}

// judge explains each waiting volume, one finding per volume and cause.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	var out []v1alpha1.Finding
	for _, v := range waiting(h) {
		f := judgeVolume(h, v)
		if f == nil {
			continue
		}
		f.Object = facts.PodRef(v.pod)
		if v.claim != "" {
			f.Object = &v1alpha1.ObjectRef{Kind: "PersistentVolumeClaim", Namespace: v.pod.Namespace, Name: v.claim}
		}
		f.Consequences = append(f.Consequences, fmt.Sprintf("pod %s/%s in ContainerCreating", v.pod.Namespace, v.pod.Name))
		out = append(out, *f)
	}
	return out
}

func waiting(h v1alpha1.History) []volume {
	o := h.Last()
	var out []volume
	for _, p := range facts.Pods(o) {
		if p.Status.Phase != corev1.PodPending || !blockedOnVolumes(p) {
			continue
		}
		vols := volumesOf(o, p)
		for _, v := range vols {
			v.hear(h, len(vols) == 1)
			out = append(out, v)
		}
	}
	return out
}

// volumesOf are the CSI volumes of a pod.
func volumesOf(o *v1alpha1.Observation, p *corev1.Pod) (vols []volume) {
	for _, pv := range p.Spec.Volumes {
		v := volume{pod: p, spec: pv.Name}
		switch {
		case pv.CSI != nil:
			v.driver, v.inline = pv.CSI.Driver, true
			if pv.CSI.FSType != nil {
				v.fsType = *pv.CSI.FSType
			}
		case pv.PersistentVolumeClaim != nil:
			v.claim = pv.PersistentVolumeClaim.ClaimName
		case pv.Ephemeral != nil:
			v.claim = p.Name + "-" + pv.Name
		default:
			continue
		}
		if v.claim == "" || v.from(o) {
			vols = append(vols, v)
		}
	}
	return vols
}

// hear fills in what was said of the volume last: in an event of its pod, else by the kubelet. What names no volume is of the only one.
func (v *volume) hear(h v1alpha1.History, only bool) {
	for _, e := range facts.Events(h.Last(), "Pod", v.pod.Namespace, v.pod.Name, fresh, "FailedMount", "FailedMapVolume") { // FailedAttachVolume is the control plane's
		// The first only says that others failed, the second that the control plane has not attached it.
		if facts.Has(e.Message, words.UnableToAttachOrMount, words.ExternalAttacher) {
			continue
		}
		m := forVolume.FindStringSubmatch(e.Message)
		if m != nil && m[1] == v.spec || m == nil && (only || facts.Has(e.Message, nonEmpty(v.handle, v.claim, v.driver)...)) {
			v.message, v.at = e.Message, facts.FromEvent(&e)
			break
		}
	}
	if v.message != "" {
		return
	}
	if l, ok := facts.LastOf(h, "kubelet", fresh, nonEmpty("driver name "+v.driver+" not found", v.handle)...); ok && facts.Has(l.Text, "MountVolume", "MountDevice", "not found in the list") {
		v.message, v.at = l.Text, facts.FromLine(l)
	}
}

var forVolume = regexp.MustCompile(`failed for volume "([^"]+)"`)

// blockedOnVolumes: no container has been started and no sandbox is missed: mounting comes before both.
func blockedOnVolumes(p *corev1.Pod) bool {
	if p.Spec.NodeName == "" {
		return false
	}
	for _, c := range facts.Containers(p) {
		if w := c.Status.State.Waiting; w == nil || w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" && w.Reason != "" {
			return false
		}
	}
	return true
}

func nonEmpty(words ...string) []string {
	return slices.DeleteFunc(words, func(s string) bool { return s == "" })
}

// from fills in what the claim's volume says, and tells whether it is a CSI driver's: an in-tree volume may have been handed to one.
func (v *volume) from(o *v1alpha1.Observation) bool {
	for i := range o.API.PVCs {
		c := &o.API.PVCs[i]
		if c.Namespace != v.pod.Namespace || c.Name != v.claim || c.Spec.VolumeName == "" {
			continue
		}
		for j := range o.API.PVs {
			pv := &o.API.PVs[j]
			if pv.Name != c.Spec.VolumeName {
				continue
			}
			v.spec = pv.Name
			if src := pv.Spec.CSI; src != nil {
				v.driver, v.handle, v.fsType = src.Driver, src.VolumeHandle, src.FSType
			} else {
				v.driver, v.handle = pv.Annotations["pv.kubernetes.io/migrated-to"], pv.Name
			}
			return v.driver != ""
		}
	}
	return false
}

// damaged are words of a filesystem that is damaged. refused are mount's for one that it cannot take: damaged, or not what it is to be
// mounted as.
var (
	damaged = []string{"Structure needs cleaning", "structure needs cleaning", "bad magic number", "can't read superblock", "Bad message", "bad message", "contains a file system with errors",
		"UNEXPECTED INCONSISTENCY", words.FsckFoundErrors, "bad geometry"}
	refused = []string{"wrong fs type", "bad superblock", "unknown filesystem type", words.AlreadyContains}
)

func registered(o *v1alpha1.Observation, driver string) bool {
	if o.API.CSINode == nil {
		return false
	}
	for _, d := range o.API.CSINode.Spec.Drivers {
		if d.Name == driver {
			return true
		}
	}
	return false
}

// socketOf is the driver's socket, nil where none was seen.
func socketOf(o *v1alpha1.Observation, driver string) (socket *v1alpha1.PluginSocket) {
	for i := range o.Sockets {
		if s := &o.Sockets[i]; s.Kind == "csi" && (s.Name == driver || strings.Contains(s.Path, "/"+driver+"/")) {
			socket = s
		}
	}
	return socket
}

func judgeVolume(h v1alpha1.History, v volume) *v1alpha1.Finding {
	o := h.Last()
	socket := socketOf(o, v.driver)
	answers := socket != nil && socket.Answers == "ok"
	listed, waited := registered(o, v.driver), facts.APINow(o).Sub(v.pod.CreationTimestamp.Time)
	f := &v1alpha1.Finding{Certainty: v1alpha1.Certain}
	if v.message != "" {
		f.Evidence = append(f.Evidence, v.at)
	}
	if socket != nil {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceSockets, socket.Path+": "+socket.Answers))
	}
	switch {
	case v.missed(o, listed, socket == nil || answers) || !listed && o.API.CSINode != nil && (v.message != "" || waited > time.Minute):
		f.Cause = "driver-not-registered"
		f.Summary = "CSI driver " + v.driver + " is not registered with the kubelet of this node"
		f.Evidence = append(f.Evidence, facts.Seen(o, "api.csinode", "drivers: "+drivers(o)))
		if e, ok := facts.Alive(o, facts.CSIPlugin(o, v.driver, facts.KubeletRoot(o)+"/plugins/"+v.driver), "is the driver's"); ok {
			f.Evidence = append(f.Evidence, e)
		}
		restart(o, f, v, socket, "register-driver", "the driver's registrar announces it to the kubelet when it starts")
	case facts.Has(v.message, slices.Concat(damaged, refused)...):
		f.Cause = "filesystem-corrupt"
		f.Summary = fmt.Sprintf("the filesystem of volume %s cannot be mounted: %s", name(v), tail(v.message))
		unmountable(h, f, v)
	// Nobody took the call, by the words of gRPC or by what the socket shows.
	case answers && facts.Has(v.message, late...):
		f.Cause, f.Certainty = "driver-unresponsive", v1alpha1.Likely
		f.Summary = "CSI driver " + v.driver + " answers, and does not finish its work on volume " + name(v)
		f.ToConfirm = "the driver's own log: it may be formatting, checking or changing the owner of a large volume, or its backend hangs"
		f.ManualAction = "do not restart the driver while it may be at work on the volume: that ends a mkfs or fsck in the middle"
	case facts.Has(v.message, words.EndpointNotConnected):
		f.Cause = "driver-unresponsive"
		f.Summary = "the process that served the mount of volume " + name(v) + " has ended (FUSE), and its mount point stays: " + tail(v.message)
		f.ManualAction = "take away the mount point that the message names (`umount -l`), of which nothing can be read any more: the kubelet mounts it again; other pods' mounts of the driver may have ended with it (`findmnt -t fuse`, then `stat` of each), and the driver's log says why"
	case v.unanswered() || waited > patience && silent(h, socket):
		unresponsive(o, f, v, socket)
	default:
		return nil
	}
	return f
}

// unresponsive: nobody took the call.
func unresponsive(o *v1alpha1.Observation, f *v1alpha1.Finding, v volume, socket *v1alpha1.PluginSocket) {
	f.Cause = "driver-unresponsive"
	f.Summary = "CSI driver " + v.driver + " is registered and does not answer"
	if socket == nil && !facts.Has(v.message, words.ConnectionRefused, "connection error", "dial unix") {
		f.Certainty, f.ToConfirm = v1alpha1.Likely, "whether anybody answers on the driver's socket below "+facts.KubeletRoot(o)+"/plugins, and the driver's own log"
		f.ManualAction = "whether the driver answers was not seen: it may be at work, and a restart ends that"
		return
	}
	restart(o, f, v, socket, "restart-driver", "a new driver process; what the kernel has mounted stays mounted")
}

// missed: the kubelet did not have the driver when it tried. A driver that is registered and works, and that started only after that, as
// on a node that is new, has not been tried again.
func (v volume) missed(o *v1alpha1.Observation, listed, works bool) bool {
	if !facts.Has(v.message, words.CSIDriverNotRegistered) {
		return false
	}
	return !listed || !works || !slices.ContainsFunc(facts.CSIPlugin(o, v.driver, facts.KubeletRoot(o)+"/plugins/"+v.driver), func(p *corev1.Pod) bool {
		return slices.ContainsFunc(p.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
			return c.State.Running != nil && c.State.Running.StartedAt.After(v.at.At)
		})
	})
}

// unanswered tells an error of a call that nobody took. One that the driver itself returned is none, whoever refused behind it.
func (v volume) unanswered() bool {
	if m := grpcCode.FindStringSubmatch(v.message); m != nil && m[1] != "Unavailable" && m[1] != "DeadlineExceeded" {
		return false
	}
	return facts.Has(v.message, words.ConnectionRefused, "connection error", "code = Unavailable", "dial unix", "code = DeadlineExceeded", "context deadline exceeded")
}

var grpcCode = regexp.MustCompile(`rpc error: code = (\w+)`)

// late are the words of a call that took too long, or that found an earlier one still at work (csi-common drivers: Aborted).
var late = []string{"code = Aborted", "code = DeadlineExceeded", "context deadline exceeded"}

// restart gives a finding the remedy that makes the driver's pod again. The mounts of a FUSE driver are served by processes of that
// pod: every pod that uses one would lose it, so that is left to a person.
func restart(o *v1alpha1.Observation, f *v1alpha1.Finding, v volume, socket *v1alpha1.PluginSocket, remedy, why string) {
	folder := facts.KubeletRoot(o) + "/plugins/" + v.driver
	if socket != nil {
		folder = path.Dir(socket.Path)
	}
	steps, reason := facts.RestartPlugin(o, facts.CSIPlugin(o, v.driver, folder), v.driver, why)
	if mount := fuse(o, v.driver); mount != "" && len(steps) > 0 {
		steps, reason = nil, "a restart of the driver may end mounts that its processes serve, such as "+mount+": move the pods that use them first"
	}
	f.Remedy, f.ManualAction = facts.Place(o).NewRemedy(remedy, steps...), reason
	if f.Remedy == nil && reason == "" {
		f.ManualAction = "restart the node plugin of driver " + v.driver
	}
}

// fuse is a mount that a process in user space serves for the driver, or for one that is not known. A staged volume's path has the
// driver's name, a published one's the name of its PersistentVolume.
func fuse(o *v1alpha1.Observation, driver string) string {
	for _, m := range o.Mounts {
		if m.Type != "fuse" && !strings.HasPrefix(m.Type, "fuse.") {
			continue
		}
		whose := ""
		if _, rest, ok := strings.Cut(m.Target, "/kubernetes.io/csi/"); ok {
			whose, _, _ = strings.Cut(rest, "/")
		} else if _, rest, ok := strings.Cut(m.Target, "/kubernetes.io~csi/"); ok {
			pv, _, _ := strings.Cut(rest, "/")
			for i := range o.API.PVs {
				if src := o.API.PVs[i].Spec.CSI; src != nil && o.API.PVs[i].Name == pv {
					whose = src.Driver
				}
			}
		}
		if whose == driver || !registered(o, whose) {
			return m.Target
		}
	}
	return ""
}

// intact are words by which a repair is not what a filesystem needs: of the kernel about its device (of, in which DEV stands for its
// name), or of the program that the driver ran.
var intact = []struct {
	of, says, fsType string
	sure             bool
	todo             string
}{
	{of: "(DEV)", says: words.DuplicateUUID, fsType: "xfs",
		todo: "another mounted filesystem has the same UUID, as a restored snapshot has: mount it with nouuid, or give it another one (`xfs_admin -U generate`)"},
	{of: "(DEV)", says: words.UnsupportedFeatures, fsType: "newer",
		todo: "this kernel does not know a feature of the filesystem: it is not damaged; a newer kernel mounts it"},
	{of: "(DEV)", says: words.WriteAccessUnavailable, fsType: "write-protected",
		todo: "the device takes no writes, and its journal has to be replayed first: attach it to be written (see who holds it read-only, a snapshot, a lock, another node), or mount it read-only with noload; nothing is repaired on it"},
	{of: " dev DEV,", says: words.DeviceIOError, fsType: "unreadable",
		todo: "the device itself cannot be read: see the kernel's log and the storage behind it (its replicas, paths, network) first; a repair of what is read wrongly destroys more"},
	{says: words.FsckTooOld, fsType: "newer",
		todo: "the fsck that the driver brings does not know a feature of the filesystem, which is not damaged by that: a newer release of the driver (e2fsprogs) checks it, or `tune2fs -O ^FEATURE` takes the feature away where nothing has it mounted"},
	{says: "unknown filesystem type '", fsType: "unknown",
		todo: "the kernel has not a filesystem of that name: `modprobe` it on the node (its module may be of a package of its own), or keep the volume on nodes that have it; nothing is repaired on it"},
	{says: "unknown filesystem type 'crypto_LUKS'", fsType: "encrypted",
		todo: "the device holds crypto_LUKS, which is encrypted and no filesystem: it is opened first (`cryptsetup open`), by the driver where its StorageClass has the passphrase's secret; nothing is repaired on it"},
	{says: "_member'", fsType: "part",
		todo: "the device is a part of something and no filesystem, as blkid calls it: see `pvs` and `lvs` (LVM2_member), `cat /proc/mdstat` (linux_raid_member) or `zpool import` (zfs_member) for of what, and have the claim name that; nothing is repaired on it"},
	{says: "unknown filesystem type 'swap'", fsType: "swap",
		todo: "the device holds swap and no filesystem: see that it is the right device (`cat /proc/swaps`, `blkid -p`); nothing is repaired on it"},
	{says: words.AlreadyContains, fsType: "another",
		todo: "the device holds another filesystem than the volume is to have, and that is whole as far as is told: see that it is the right device, then have the fsType of the StorageClass or the PersistentVolume name what it holds; formatting it destroys the data"},
	{says: words.XFSLogToReplay, fsType: "xfs", sure: true,
		todo: "its log has to be replayed, which a mount does: mount the device once by hand on this node and unmount it (`mount -t xfs DEVICE DIR && umount DIR`); `xfs_repair -L` throws away what the log holds, and is for a log that does not replay"},
}

// unmountable judges a filesystem that mount refuses: what the kernel says of the device, and the type that the volume is to have,
// decide whether it can be repaired.
func unmountable(h v1alpha1.History, f *v1alpha1.Finding, v volume) {
	dev, fsType := device(v)
	sure := facts.Has(v.message, damaged...)
	f.ManualAction = "see what the device holds with `blkid -p`, and check it read-only (`e2fsck -n`, `xfs_repair -n`, `btrfs check --readonly`) before anything is repaired, or restore the volume from a backup"
	// The kernel's log is everybody's: its word counts where it names the device that the driver named.
	if dev := blockDev.FindString(v.message); dev != "" {
		in := "(" + dev[strings.LastIndex(dev, "/")+1:] + ")"
		if l, ok := facts.LastLine(h, "kernel", fresh, in); ok {
			f.Evidence = append(f.Evidence, facts.FromLine(l))
		}
		for _, k := range intact {
			if k.of == "" {
				continue // no word of the kernel's
			}
			if l, ok := facts.LastLine(h, "kernel", fresh, strings.ReplaceAll(k.of, "DEV", dev[strings.LastIndex(dev, "/")+1:]), k.says); ok {
				f.Evidence, sure, fsType, f.ManualAction = append(f.Evidence, facts.FromLine(l)), false, k.fsType, k.todo
			}
		}
	}
	for _, k := range intact {
		if k.of == "" && facts.Has(v.message, k.says) {
			sure, fsType, f.ManualAction = k.sure, k.fsType, k.todo
		}
	}
	foreign := facts.Has(v.message, "unknown filesystem type", words.AlreadyContains)
	ext := strings.HasPrefix(fsType, "ext")
	if !sure && (foreign || fsType != "" && !ext) {
		f.Certainty, f.ToConfirm = v1alpha1.Likely, "`blkid -p` of the device: mount says the same of a damaged filesystem, of another type, of one that is encrypted, and of features that the kernel lacks"
		return
	}
	if foreign || fsType != "" && !ext {
		return
	}
	if dev == "" {
		f.ManualAction = "which device holds the volume was not told: `fsck` it where the driver keeps it, or restore it from a backup"
		return
	}
	f.ManualAction = ""
	f.Remedy = facts.Place(h.Last()).NewRemedy("repair-filesystem", repair(h.Last().Node,
		"the volume is mounted nowhere here, and holds ext2, 3 or 4 as far as blkid says: repair it, with a backup superblock where the first one is gone. What is overwritten is kept in /var/tmp for e2undo; the kubelet retries within two minutes",
		dev, ext))
}

// patience is how long a volume may take before a driver that says nothing is held to blame. The kubelet itself waits two minutes
// for each call, and says nothing meanwhile.
const patience = 20 * time.Second

// silent tells that nobody answered on the socket in this look and in the one before, where there is one: a machine that is
// very busy answers late once.
func silent(h v1alpha1.History, socket *v1alpha1.PluginSocket) bool {
	return socket != nil && !slices.ContainsFunc(h[max(0, len(h)-2):], func(o v1alpha1.Observation) bool {
		return slices.ContainsFunc(o.Sockets, func(s v1alpha1.PluginSocket) bool { return s.Path == socket.Path && s.Answers == "ok" })
	})
}

func drivers(o *v1alpha1.Observation) string {
	if o.API.CSINode == nil {
		return "no CSINode object"
	}
	var out []string
	for _, d := range o.API.CSINode.Spec.Drivers {
		out = append(out, d.Name)
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

func name(v volume) string {
	if v.claim != "" {
		return v.pod.Namespace + "/" + v.claim
	}
	return "of pod " + v.pod.Namespace + "/" + v.pod.Name
}

func tail(s string) string {
	if i := strings.LastIndex(s, "desc = "); i >= 0 {
		return facts.Short(s[i+len("desc = "):])
	}
	return facts.Short(s)
}

var (
	blockDev = regexp.MustCompile(`/dev/[a-z0-9/_-]+`)
	imageIn  = regexp.MustCompile(`/[^\s:,'"]+\.(?:img|raw|image|ext4|xfs)\b`)
	typeIn   = regexp.MustCompile(`\bas "?(ext[234]|xfs|btrfs|zfs)\b|\btype "?(ext[234]|xfs|btrfs|zfs)\b`)
)

// device is the device or image that holds the volume, where the kubelet's event or the driver's error names it. What a volume's
// attributes say is no proof, and those of an inline volume are the words of whoever wrote the pod.
func device(v volume) (dev, fstype string) {
	if fstype = v.fsType; fstype == "" {
		if m := typeIn.FindStringSubmatch(v.message); m != nil {
			fstype = m[1] + m[2]
		}
	}
	if v.inline {
		return "", fstype
	}
	dev = cmp.Or(imageIn.FindString(v.message), blockDev.FindString(v.message))
	if !plainPath.MatchString(dev) || strings.Contains(dev, "..") {
		dev = ""
	}
	return dev, fstype
}

var plainPath = regexp.MustCompile(`^/[A-Za-z0-9/_.:-]+$`)

// repair checks the filesystem where it stands, if blkid knows it as ext, or knows nothing there and the volume is to be ext: what
// lies over the remains of an older one is not touched. Where blkid knows nothing, only a filesystem whose inodes are whole counts: those
// of one that another lies over are garbage. e2fsck finds backup superblocks by itself when the first one is damaged; where
// the first one does not even look like one, the places are given by the block size. e2fsck opens the device for itself alone, and what
// something stands upon (LVM, RAID, LUKS, partitions, swap) is left alone.
func repair(node, why, dev string, ext bool) v1alpha1.Step {
	return detectors.Destructive(detectors.ShellStep(v1alpha1.Destructive, node, why, `if findmnt -n -S "$d" >&2 || [ -f "$d" ] && losetup -n -j "$d" | grep . >&2; then echo "$d is in use" >&2; exit 1; fi
if [ -b "$d" ]; then
  sys=/sys/class/block/$(basename -- "$(readlink -f -- "$d")")
  for h in "$sys"/holders/* "$sys"/*/partition; do [ ! -e "$h" ] || { echo "$d has ${h##*/} on it" >&2; exit 1; }; done
  ! grep -q "^$(readlink -f -- "$d") " /proc/swaps || { echo "$d is swap" >&2; exit 1; }
fi
code=0 bare=
have=$(blkid -p -s TYPE -o value -- "$d") || code=$?
case "$code $have $ext" in
"0 ext"[234]" "*) ;;
"2  true") bare=yes ;;
"2 "*) echo "blkid finds no filesystem on $d, and the volume's type is not told" >&2; exit 1 ;;
*) echo "$d holds ${have:-what blkid cannot tell}: only ext is repaired" >&2; exit 1 ;;
esac
n=0
check() {
  n=$((n + 1))
  code=0
  if [ -n "$bare" ] && e2fsck -f -n "$@" -- "$d" 2>&1 | grep -Eq 'Cannot proceed|garbage|Clear|llegal'; then return; fi
  e2fsck -f -y -z "$keep/sickbay-$(basename -- "$d")-$$-$n.e2undo" "$@" -- "$d" || code=$?
  if [ $code -lt 4 ]; then exit 0; fi
}
check
check -b 32768 -B 4096
check -b 98304 -B 4096
check -b 8193 -B 1024
check -b 24577 -B 1024
check -b 16384 -B 2048
echo "no superblock of $d is usable, or too much of its filesystem is lost: restore the volume from a backup" >&2
exit 1`, detectors.V("d", dev), detectors.V("ext", strconv.FormatBool(ext)), detectors.V("keep", "/var/tmp")), "changes the data of a volume, which no other node may have attached")
}
