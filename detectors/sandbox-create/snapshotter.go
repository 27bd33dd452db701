package sandboxcreate

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/words"
)

// notDialled is a daemon of the node that is not reached, as gRPC says it.
var notDialled = regexp.MustCompile(`dial unix:? ?(?://)?(/[^\s:"\\]+): (?:connect: )?([a-z ]+)`)

// unreached: the snapshotter is a daemon of its own (a proxy plugin of containerd: stargz, nydus, SOCI, overlaybd), or the kubelet asks one
// for its images, and it is not reached at its socket. nil where the failure says nothing of that.
func unreached(o *v1alpha1.Observation, c facts.CreateFailure) *v1alpha1.Finding {
	m := notDialled.FindStringSubmatch(c.Message)
	before, _, _ := strings.Cut(c.Message, "dial unix")
	pull := slices.ContainsFunc(facts.PullFailures(o), func(p facts.CreateFailure) bool { return p == c })
	if m == nil || strings.HasSuffix(o.Runtime.Endpoint, m[1]) || !strings.Contains(before, "snapshot") && !pull {
		return nil
	}
	name := daemonName(m[1])
	f := &v1alpha1.Finding{Cause: "snapshotter-unwritable", Certainty: v1alpha1.Likely, Evidence: []v1alpha1.Evidence{c.Evidence},
		Summary:   fmt.Sprintf("the snapshotter %s is a daemon of its own, and is not reached at %s (%s): no image can be unpacked and no container made with it", name, m[1], strings.TrimSpace(m[2])),
		ToConfirm: "whether it runs: `systemctl list-units --all " + detectors.Quote("*"+name+"*") + "`, and `ctr plugins ls | grep snapshot` on the node",
	}
	who := "its unit (`systemctl list-units --all " + detectors.Quote("*"+name+"*") + "`) or its pod on this node"
	for _, u := range facts.Units(o) {
		if strings.Contains(u.Name, name) {
			who = "`systemctl start " + detectors.Quote(u.Name) + "`"
			f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceUnits, u.Name+" is "+u.ActiveState+" ("+u.SubState+")"))
		}
	}
	for _, p := range facts.Pods(o) {
		if strings.Contains(p.Name, name) {
			who = "pod " + p.Namespace + "/" + p.Name + ", by its logs"
		}
	}
	f.ManualAction = "start the snapshotter's daemon (" + who + "), and see its log for why it ended; the kubelet tries again by itself"
	return f
}

// failingDisk is a path of which the kernel gives or takes nothing, and its word for why.
var failingDisk = regexp.MustCompile(`(/[^\s:"\\]+): ([Ii]nput/output error|[Ss]tructure needs cleaning)`)

// unread: what the runtime keeps cannot be read or written, for its disk or filesystem is damaged.
func unread(o *v1alpha1.Observation, c facts.CreateFailure) *v1alpha1.Finding {
	m := failingDisk.FindStringSubmatch(c.Message)
	if m == nil || !strings.HasPrefix(m[1], facts.RuntimeRoot(o)+"/") {
		return nil
	}
	return &v1alpha1.Finding{Cause: "snapshotter-unwritable", Certainty: v1alpha1.Likely, Evidence: []v1alpha1.Evidence{c.Evidence},
		Summary:      fmt.Sprintf("the disk or filesystem under %s fails (%s at %s): what needs it cannot be pulled or made", facts.RuntimeRoot(o), m[2], m[1]),
		ToConfirm:    "the kernel's log: `dmesg -T | grep -iE 'i/o error|ext4-fs error|xfs'` on the node",
		ManualAction: "drain the node; where the kernel's log tells of the disk, replace it; where of the filesystem alone, check it (fsck, xfs_repair) while it is not mounted, or have the node made anew"}
}

// unlinked is a path whose filesystem a process served that has ended (FUSE).
var unlinked = regexp.MustCompile(`(/[^\s:"\\]+): T?t?` + words.EndpointNotConnected)

// unserved: layers lie on a filesystem that a daemon serves (nydusd, stargz, SOCI, fuse-overlayfs), and it has ended. A volume below the
// kubelet's folder is a CSI driver's.
func unserved(o *v1alpha1.Observation, c facts.CreateFailure) *v1alpha1.Finding {
	m := unlinked.FindStringSubmatch(c.Message)
	if m == nil || strings.HasPrefix(m[1], facts.KubeletRoot(o)+"/") {
		return nil
	}
	return &v1alpha1.Finding{Cause: "snapshotter-unwritable", Certainty: v1alpha1.Likely, Evidence: []v1alpha1.Evidence{c.Evidence},
		Summary:      m[1] + ", on which layers of images lie, has lost the daemon that serves it (FUSE): no container can be made of them",
		ToConfirm:    "`stat -f -- " + detectors.Quote(m[1]) + "` and `findmnt -t fuse` on the node",
		ManualAction: "see why the daemon ended (nydusd, stargz, SOCI, fuse-overlayfs: its unit, its pod, or a child of the snapshotter) and restart it; containers whose layers it served have to be made again"}
}

var plainWord = regexp.MustCompile(`^[a-z0-9]{3,}$`)

// daemonName is what a socket says of whose it is: /run/containerd-stargz-grpc/containerd-stargz-grpc.sock is of stargz.
func daemonName(socket string) string {
	base := strings.TrimSuffix(path.Base(socket), path.Ext(socket))
	for _, word := range strings.Split(path.Base(path.Dir(socket))+"-"+base, "-") {
		if !slices.Contains([]string{"containerd", "snapshotter", "grpc", "run", "proxy", "plugins"}, word) && plainWord.MatchString(word) {
			return word
		}
	}
	return base
}
