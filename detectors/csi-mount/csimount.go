// Package csimount tells why a CSI volume is not mounted: its filesystem, its driver's registration, or its driver.
//
// A pod must wait for the volume now; what the driver answered, whether it is registered and whether its socket answers
// decides between the causes.
package csimount

import (
	"fmt"
	"regexp"
	"slices"
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
	driver  string
	handle  string
	attrs   map[string]string
	message string
	at      v1alpha1.Evidence
}

// judge explains each waiting volume, one finding per volume and cause.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	o := h.Last()
	var out []v1alpha1.Finding
	for _, v := range waiting(h) {
		f := judgeVolume(h, v)
		if f == nil {
			continue
		}
		f.Failure, f.Node = "csi-mount", o.Node
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
		var vols []volume
		for _, pv := range p.Spec.Volumes {
			v := volume{pod: p}
			switch {
			case pv.CSI != nil:
				v.driver, v.attrs = pv.CSI.Driver, pv.CSI.VolumeAttributes
			case pv.PersistentVolumeClaim != nil:
				v.claim = pv.PersistentVolumeClaim.ClaimName
				src := source(o, p.Namespace, v.claim)
				if src == nil {
					continue
				}
				v.driver, v.handle, v.attrs = src.Driver, src.VolumeHandle, src.VolumeAttributes
			default:
				continue
			}
			vols = append(vols, v)
		}
		if len(vols) == 0 {
			continue
		}
		events := facts.Events(o, "Pod", p.Namespace, p.Name, fresh, "FailedMount", "FailedAttachVolume", "FailedMapVolume")
		for _, v := range vols {
			for _, e := range events {
				// "Unable to attach or mount volumes" only says that others failed.
				if facts.Has(e.Message, "Unable to attach or mount volumes") {
					continue
				}
				if len(vols) == 1 || facts.Has(e.Message, nonEmpty(v.handle, v.claim, v.driver)...) {
					v.message, v.at = e.Message, facts.FromEvent(&e)
					break
				}
			}
			if v.message == "" {
				if l, ok := facts.LastOf(h, "kubelet", fresh, nonEmpty("driver name "+v.driver+" not found", v.handle)...); ok && facts.Has(l.Text, "MountVolume", "MountDevice", "not found in the list") {
					v.message, v.at = l.Text, facts.FromLine(l)
				}
			}
			out = append(out, v)
		}
	}
	return out
}

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

func source(o *v1alpha1.Observation, namespace, claim string) *corev1.CSIPersistentVolumeSource {
	for i := range o.API.PVCs {
		c := &o.API.PVCs[i]
		if c.Namespace != namespace || c.Name != claim || c.Spec.VolumeName == "" {
			continue
		}
		for j := range o.API.PVs {
			if o.API.PVs[j].Name == c.Spec.VolumeName {
				return o.API.PVs[j].Spec.CSI
			}
		}
	}
	return nil
}

var corruptTexts = []string{"wrong fs type", "bad superblock", "Structure needs cleaning", "superblock", "fsck", "can't read superblock", "needs to be formatted", "bad magic number", "unknown filesystem type", "Bad message", "contains a file system with errors", "UNEXPECTED INCONSISTENCY", "errors were found", "does not hold", "bad geometry"}

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

func judgeVolume(h v1alpha1.History, v volume) *v1alpha1.Finding {
	o := h.Last()
	listed := registered(o, v.driver)
	var socket *v1alpha1.PluginSocket
	for i := range o.Sockets {
		if s := &o.Sockets[i]; s.Kind == "csi" && (s.Name == v.driver || strings.Contains(s.Path, "/"+v.driver+"/")) {
			socket = s
		}
	}
	restart := func(why string) []v1alpha1.Step {
		return facts.RestartPlugin(o, []string{"/var/lib/kubelet/plugins_registry", "/var/lib/kubelet/plugins"}, []string{v.driver, strings.SplitN(v.driver, ".", 2)[0], "csi"}, why)
	}
	f := &v1alpha1.Finding{Certainty: v1alpha1.Certain}
	if v.message != "" {
		f.Evidence = append(f.Evidence, v.at)
	}
	if socket != nil {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceSockets, socket.Path+": "+socket.Answers))
	}
	switch {
	case facts.Has(v.message, words.CSIDriverNotRegistered) || !listed && o.API.CSINode != nil && (v.message != "" || facts.APINow(o).Sub(v.pod.CreationTimestamp.Time) > time.Minute):
		if listed && socket != nil && socket.Answers == "ok" && v.message == "" {
			return nil
		}
		f.Cause = "driver-not-registered"
		f.Summary = "CSI driver " + v.driver + " is not registered with the kubelet of this node"
		f.Evidence = append(f.Evidence, facts.Seen(o, "api.csinode", "drivers: "+drivers(o)))
		f.Remedy = facts.Place(o).NewRemedy("register-driver", restart("the driver's registrar announces it to the kubelet when it starts")...)
		f.ManualAction = "no pod or unit of driver " + v.driver + " was found on this node: deploy its node plugin"
	case facts.Has(v.message, corruptTexts...):
		f.Cause = "filesystem-corrupt"
		f.Summary = fmt.Sprintf("the filesystem of volume %s cannot be mounted: %s", name(v), tail(v.message))
		// The kernel's log is everybody's: its word counts where it names the device that the driver named.
		if d := blockDev.FindString(v.message); d != "" {
			if l, ok := facts.LastLine(h, "kernel", fresh, "("+d[strings.LastIndex(d, "/")+1:]+")"); ok {
				f.Evidence = append(f.Evidence, facts.FromLine(l))
			}
		}
		dev, fstype := device(v)
		if dev == "" {
			f.ManualAction = "which device holds the volume was not told: `fsck` it where the driver keeps it, or restore it from a backup"
			return f
		}
		f.Remedy = facts.Place(o).NewRemedy("repair-filesystem", detectors.ShellStep(v1alpha1.Safe, o.Node,
			"the volume is mounted nowhere: repair it, with a backup superblock where the first one is gone; the kubelet retries within two minutes", repair(dev, fstype)))
		return f
	case facts.Has(v.message, "DeadlineExceeded", "context deadline exceeded", "timed out waiting", "code = Unavailable", words.ConnectionRefused, "connection error", "code = Aborted", "dial unix") ||
		socket != nil && socket.Answers != "ok" && silentFor(h, socket.Path) && facts.APINow(o).Sub(v.pod.CreationTimestamp.Time) > patience:
		f.Cause = "driver-unresponsive"
		f.Summary = "CSI driver " + v.driver + " is registered and does not answer"
		f.Remedy = facts.Place(o).NewRemedy("restart-driver", restart("a new driver process; volumes that are mounted stay mounted")...)
		f.ManualAction = "no pod or unit of driver " + v.driver + " was found on this node: restart its node plugin"
	default:
		return nil
	}
	if f.Remedy != nil {
		f.ManualAction = ""
	}
	return f
}

// patience is how long a volume may take before a driver that says nothing is held to blame. The kubelet itself waits two minutes
// for each call, and says nothing meanwhile.
const patience = 20 * time.Second

// silentFor tells that nobody answered on the socket in this look and in the one before, where there is one: a machine that is
// very busy answers late once.
func silentFor(h v1alpha1.History, path string) bool {
	for _, o := range h[max(0, len(h)-2):] {
		for _, s := range o.Sockets {
			if s.Path == path && s.Answers == "ok" {
				return false
			}
		}
	}
	return true
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
	deviceIn = regexp.MustCompile(`(?:mount: [^ ]+: .* on |on |Volume |device |of |file |image |open |mount )"?(/[^\s:,'"]+)`)
	blockDev = regexp.MustCompile(`/dev/[a-z0-9/_-]+`)
	imageIn  = regexp.MustCompile(`/[^\s:,'"]+\.(?:img|raw|image|ext4|xfs)\b`)
	typeIn   = regexp.MustCompile(`\b(ext[234]|xfs|btrfs)\b`)
)

// device is the device or image that holds the volume: the error names it, else the volume's own attributes.
func device(v volume) (dev, fstype string) {
	fstype = typeIn.FindString(v.message)
	if m := imageIn.FindString(v.message); m != "" {
		return m, fstype
	}
	if m := blockDev.FindString(v.message); m != "" {
		return m, fstype
	}
	for _, k := range []string{"image", "path", "device", "devicePath", "file", "backingFile"} {
		if p := v.attrs[k]; strings.HasPrefix(p, "/") {
			return p, fstype
		}
	}
	if strings.HasPrefix(v.handle, "/") {
		return v.handle, fstype
	}
	if m := deviceIn.FindStringSubmatch(v.message); m != nil && !strings.Contains(m[1], "globalmount") && !strings.Contains(m[1], "/kubernetes.io~csi/") {
		return m[1], fstype
	}
	return "", fstype
}

// unused stops a repair where the filesystem is mounted: an image is, through a loop device.
const unused = `if findmnt -n -S "$d" >&2 || [ -f "$d" ] && losetup -n -j "$d" | grep . >&2; then echo "$d is in use" >&2; exit 1; fi`

// repair checks the filesystem where it stands. e2fsck finds backup superblocks by itself when the first one is damaged; where
// the first one does not even look like one, the places are given by the block size.
func repair(dev, fstype string) string {
	q := detectors.Quote(dev)
	if fstype == "xfs" {
		return "d=" + q + `
` + unused + `
xfs_repair "$d"`
	}
	return "d=" + q + `
` + unused + `
check() {
  code=0
  e2fsck -f -y "$@" "$d" || code=$?
  if [ $code -lt 4 ]; then exit 0; fi
}
check
check -b 32768 -B 4096
check -b 98304 -B 4096
check -b 8193 -B 1024
check -b 24577 -B 1024
check -b 16384 -B 2048
echo "no superblock of $d is usable: restore the volume from a backup" >&2
exit 1`
}
