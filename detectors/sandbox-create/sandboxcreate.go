// Package sandboxcreate tells why a sandbox or container cannot be made: a binary of the runtime is gone, its directory or
// disk takes no writes, or the pod's cgroup cannot be made.
//
// The state of the thing that the message names decides, not the message: words.NoSpaceLeftOnDevice is said of inodes,
// cpusets and cgroup limits as well.
package sandboxcreate

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/words"
)

func init() {
	detectors.Register(detectors.Detector{Failure: "sandbox-create", Needs: []string{v1alpha1.SourceJournal, v1alpha1.SourceRuntime, v1alpha1.SourceStatus, v1alpha1.SourceFilesystems, v1alpha1.SourceCgroups, v1alpha1.SourceFiles}, Judge: judge})
}

// judge asks for each thing that making a sandbox needs.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	o := h.Last()
	failing := append(facts.CreateFailures(h), facts.PullFailures(o)...) // a pull takes the layers in, and meets the same
	var out []v1alpha1.Finding
	for _, judge := range []func(*v1alpha1.Observation, []facts.CreateFailure) []v1alpha1.Finding{binaries, unlisted, unconfigured, space, quota, cgroups, limits, refusals, layers} {
		out = append(out, judge(o, failing)...)
	}
	if found := unwritable(h, failing); len(found) > 0 {
		out = append(out, found...)
	} else {
		out = append(out, refusedElsewhere(h, failing)...)
	}
	for i := range out {
		out[i].Consequences = append(out[i].Consequences, facts.Consequences(o)...)
	}
	return out
}

// with adds the newest failure that says one of the texts.
func with(f *v1alpha1.Finding, failing []facts.CreateFailure, texts ...string) {
	for _, c := range failing {
		if facts.Has(c.Message, texts...) {
			f.Evidence = append(f.Evidence, c.Evidence)
			return
		}
	}
}

var shimTexts = []string{words.BinaryNotInstalled, "containerd-shim", "shim task", words.FailedToStartShim, "/conmon: "}
var ociTexts = []string{words.UnableToRetrieveOCIRuntimeError, "runc", words.ExecutableFileNotFound}

// inUse tells whether a pod of this node needs the handler: an unused one harms nobody.
func inUse(o *v1alpha1.Observation, handler string) bool {
	def := o.Runtime.DefaultHandler
	if def == "" {
		def = "runc"
	}
	if handler == def && (o.API == nil || slices.ContainsFunc(facts.Pods(o), func(p *corev1.Pod) bool { return p.Spec.RuntimeClassName == nil })) {
		return true
	}
	for _, s := range o.Runtime.Sandboxes {
		if s.Handler == handler {
			return true
		}
	}
	if o.API == nil {
		return false
	}
	for _, p := range facts.Pods(o) {
		if p.Spec.RuntimeClassName == nil {
			continue
		}
		for _, rc := range o.API.RuntimeClasses {
			if rc.Name == *p.Spec.RuntimeClassName && rc.Handler == handler {
				return true
			}
		}
	}
	return false
}

func binaries(o *v1alpha1.Observation, failing []facts.CreateFailure) []v1alpha1.Finding {
	if _, unread := o.Unreadable(v1alpha1.SourceStatus); unread && len(o.Runtime.Handlers) == 0 {
		return append(unstarted(o), before(o)...)
	}
	if _, unread := o.Unreadable(v1alpha1.SourceFiles); unread {
		return nil // where the binaries are was not looked at: an empty path says nothing
	}
	searched := pathKnown(o)
	var shim, oci *v1alpha1.Finding
	for _, r := range o.Runtime.Handlers {
		if !inUse(o, r.Name) {
			continue
		}
		if p := shimFile(o, r); p != "" && shim == nil && (gone(o, r.ShimPath, p, searched || missed(failing, p, words.BinaryNotInstalled)) || broken(o, p, failing)) {
			shim = &v1alpha1.Finding{
				Cause: "shim-missing", Certainty: v1alpha1.Certain,
				Summary:  fmt.Sprintf("the shim of runtime %s (%s) is missing or cannot be run: no container can be started", r.Name, path.Base(p)),
				Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceStatus, fmt.Sprintf("handler %s has type %s; %s", r.Name, r.Type, state(o, r.ShimPath, p)))},
			}
			with(shim, failing, shimTexts...)
			repair(o, shim, r.Name, p, path.Base(p) == "containerd-shim-runc-v2" || path.Base(p) == "conmon", "restore-shim", "the shim")
		}
		name := cmp.Or(r.BinaryName, "runc")
		if p := runtimeFile(o, r, name); oci == nil && ((strings.Contains(r.Type, "runc") || ofCRIO(o, p)) && gone(o, r.RuntimePath, p, searched || missed(failing, p)) || broken(o, p, failing)) {
			oci = &v1alpha1.Finding{
				Cause: "oci-runtime-missing", Certainty: v1alpha1.Certain,
				Summary:  fmt.Sprintf("the OCI runtime %s of handler %s is missing or cannot be run: no container can be created", name, r.Name),
				Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceStatus, fmt.Sprintf("handler %s runs %s; %s", r.Name, name, state(o, r.RuntimePath, p)))},
			}
			with(oci, failing, ociTexts...)
			repair(o, oci, r.Name, p, path.Base(name) == "runc", "restore-runtime", "the OCI runtime")
		}
	}
	var out []v1alpha1.Finding
	for _, f := range []*v1alpha1.Finding{shim, oci} {
		if f != nil {
			out = append(out, *f)
		}
	}
	return out
}

// missed tells that the runtime says it did not find a program of its own.
func missed(failing []facts.CreateFailure, p string, texts ...string) bool {
	texts = append(texts, `"`+path.Base(p)+`": `+words.ExecutableFileNotFound, "fork/exec "+p+": "+words.NoSuchFileOrDirectory)
	return slices.ContainsFunc(failing, func(c facts.CreateFailure) bool {
		return !started(c) && facts.Has(strings.ReplaceAll(c.Message, `\`, ""), texts...)
	})
}

// started tells that the OCI runtime ran, and what it says of a program is of the container's own.
func started(c facts.CreateFailure) bool {
	return strings.Contains(c.Message, words.StartContainerProcess)
}

// noHandler is the handler that a runtime says it has not: containerd's words, CRI-O's, and cri-dockerd's.
var noHandler = regexp.MustCompile(`no runtime for \\*"([^"\\]+)\\*" is configured|failed to find runtime handler (\S+) from runtime list|RuntimeHandler \\*"([^"\\]+)\\*" not supported`)

// unconfigured: pods of a RuntimeClass are here whose handler this node's runtime does not know.
func unconfigured(o *v1alpha1.Observation, failing []facts.CreateFailure) []v1alpha1.Finding {
	if _, unread := o.Unreadable(v1alpha1.SourceStatus); unread {
		return nil // it may be configured since
	}
	for _, c := range failing {
		m := noHandler.FindStringSubmatch(c.Message)
		if m == nil {
			continue
		}
		name := cmp.Or(m[1:]...)
		if slices.ContainsFunc(o.Runtime.Handlers, func(r v1alpha1.RuntimeHandler) bool { return r.Name == name }) {
			continue
		}
		return []v1alpha1.Finding{{
			Cause: "oci-runtime-missing", Certainty: v1alpha1.Certain, Evidence: []v1alpha1.Evidence{c.Evidence},
			Summary:      fmt.Sprintf("the runtime of this node has no handler %s, which the RuntimeClass of pod %s/%s names: no sandbox of that class can be made here", name, c.Namespace, c.Pod),
			ManualAction: fmt.Sprintf("have what installs %[1]s add it to %[2]s and restart the runtime, or keep pods of that class on nodes that have it (scheduling.nodeSelector of the RuntimeClass)", name, configFile(o)),
		}}
	}
	return nil
}

// noMonitor is what a CRI-O says that ends at its start because a handler's monitor is not there (pkg/config/config.go).
var noMonitor = regexp.MustCompile(words.InvalidConmonPath + ` stat (/[^ :"\\\\]+)`)

// unstarted is where CRI-O does not start without its monitor, and tells no handlers.
func unstarted(o *v1alpha1.Observation) []v1alpha1.Finding {
	l, ok := facts.LastOf(v1alpha1.History{*o}, facts.RuntimeLog, 2*time.Minute, words.InvalidConmonPath)
	m := noMonitor.FindStringSubmatch(l.Text)
	if !ok || m == nil || facts.Runtime(o).Name != facts.CRIO {
		return nil
	}
	if f, seen := file(o, m[1]); seen && executable(f) {
		return nil // it is back
	}
	u, known := facts.RuntimeUnit(o)
	if known && u.ActiveState == "active" && u.ActiveSince.After(l.At) {
		return nil // it has started since
	}
	fd := v1alpha1.Finding{
		Cause: "shim-missing", Certainty: v1alpha1.Certain,
		Summary:  m[1] + " is missing: CRI-O starts no container, and does not start itself without it",
		Evidence: []v1alpha1.Evidence{facts.FromLine(l), facts.Seen(o, v1alpha1.SourceFiles, state(o, "", m[1]))},
	}
	if !known {
		fd.Certainty, fd.ToConfirm = v1alpha1.Likely, "whether CRI-O has started since: `systemctl status crio`; `ls -l -- "+detectors.Quote(m[1])+"` on the node"
	}
	repair(o, &fd, "that names it", m[1], path.Base(m[1]) == "conmon", "restore-shim", "the monitor")
	if fd.Remedy != nil {
		unit := cmp.Or(facts.Runtime(o).Unit, "crio") + ".service"
		fd.Remedy = facts.Place(o).NewRemedy("restore-shim", append(fd.Remedy.Steps,
			detectors.NodeStep(v1alpha1.Safe, o.Node, "forget the failed starts", "systemctl", "reset-failed", unit),
			detectors.NodeStep(v1alpha1.Safe, o.Node, "CRI-O may have failed too often for systemd to start it again", "systemctl", "start", unit))...)
	}
	return []v1alpha1.Finding{fd}
}

// ofCRIO tells that p is a program that CRI-O's configuration names: its handlers have no type that would tell.
func ofCRIO(o *v1alpha1.Observation, p string) bool {
	_, ok := file(o, p)
	return ok && facts.Runtime(o).Name == facts.CRIO
}

// pathKnown: an agent that looks at the runtime's process knows its PATH, or that it does not; those before looked where systemd does.
func pathKnown(o *v1alpha1.Observation) bool {
	return len(o.Runtime.Environment.Path) > 0 || !o.Looked(v1alpha1.SourceRuntime) && o.Runtime.Exe == "" &&
		!slices.ContainsFunc(o.Unknown, func(u v1alpha1.Unknown) bool { return u.What == v1alpha1.SourceRuntime })
}

func configFile(o *v1alpha1.Observation) string {
	if o.Runtime.ConfigFile.Path != "" {
		return o.Runtime.ConfigFile.Path
	}
	return "/etc/containerd/config.toml"
}

// named is a file of the name that was looked for; empty where none was.
func named(o *v1alpha1.Observation, name string) string { return known(o, name, "") }

// shimFile is the shim of a handler, with CRI-O its monitor: its type is a path, or io.containerd.runc.v2 for containerd-shim-runc-v2 (containerd
// core/runtime/v2/shim_manager.go). Empty where the type names none.
func shimFile(o *v1alpha1.Observation, r v1alpha1.RuntimeHandler) string {
	parts := strings.Split(r.Type, ".")
	switch {
	case r.ShimPath != "":
		return r.ShimPath
	case facts.Runtime(o).Name == facts.CRIO:
		return named(o, "conmon")
	case path.IsAbs(r.Type):
		return r.Type
	case len(parts) < 2:
		return ""
	}
	name := "containerd-shim-" + strings.Join(parts[len(parts)-2:], "-")
	beside := "/usr/local/bin" // of containerd, where it looks before its PATH
	if o.Runtime.Exe != "" {
		beside = path.Dir(o.Runtime.Exe)
	}
	return known(o, name, beside+"/"+name)
}

func runtimeFile(o *v1alpha1.Observation, r v1alpha1.RuntimeHandler, name string) string {
	switch {
	case r.RuntimePath != "":
		return r.RuntimePath
	case path.IsAbs(name):
		return name
	}
	return known(o, name, "/usr/local/sbin/"+name)
}

// known is where a file of the name was seen, or is looked for.
func known(o *v1alpha1.Observation, name, otherwise string) string {
	for _, f := range o.Files {
		if path.Base(f.Path) == name {
			return f.Path
		}
	}
	return otherwise
}

func file(o *v1alpha1.Observation, p string) (v1alpha1.File, bool) {
	i := slices.IndexFunc(o.Files, func(f v1alpha1.File) bool { return f.Path == p })
	if i < 0 {
		return v1alpha1.File{}, false
	}
	return o.Files[i], true
}

// gone tells that a binary was looked for, in the runtime's own PATH, and is not there to be run.
func gone(o *v1alpha1.Observation, found, p string, searched bool) bool {
	if found != "" || !searched {
		return false
	}
	f, ok := file(o, p)
	return !ok || !executable(f)
}

func executable(f v1alpha1.File) bool {
	return f.Exists && strings.HasPrefix(f.Mode, "-") && strings.Contains(f.Mode, "x")
}

// broken tells that a binary is there and cannot be run: by its state, or by the words of a failure that names it.
func broken(o *v1alpha1.Observation, p string, failing []facts.CreateFailure) bool {
	// Runc and its shim have megabytes; of others nothing is known but that an ELF header has 64 bytes.
	least := int64(64)
	if name := path.Base(p); name == "runc" || name == "containerd-shim-runc-v2" {
		least = 4096
	}
	if f, ok := file(o, p); ok && f.Exists && f.Error == "" && (f.SizeBytes < least && f.Script == "" || !strings.Contains(f.Mode, "x")) && f.Mode != "" && !strings.HasPrefix(f.Mode, "L") {
		return true
	}
	return slices.ContainsFunc(failing, func(c facts.CreateFailure) bool {
		return !started(c) && facts.Has(c.Message, "/"+path.Base(p)+": "+words.ExecFormatError, "/"+path.Base(p)+": permission denied")
	})
}

// noexec is the mount that a file lies on where nothing may be run from that.
func noexec(o *v1alpha1.Observation, p string) string {
	var on v1alpha1.Mount
	for _, m := range o.Mounts {
		if (m.Target == "/" || strings.HasPrefix(p, m.Target+"/")) && len(m.Target) >= len(on.Target) {
			on = m
		}
	}
	if slices.Contains(on.Options, "noexec") {
		return on.Target
	}
	return ""
}

// state is what is known of a binary.
func state(o *v1alpha1.Observation, found, p string) string {
	f, ok := file(o, p)
	switch {
	case noexec(o, p) != "":
		return p + " is on " + noexec(o, p) + ", which is mounted noexec"
	case found == "" && (!ok || !f.Exists):
		return path.Base(p) + " is not an executable in the runtime's PATH"
	case ok:
		return fmt.Sprintf("%s is there: %s, %d bytes", p, f.Mode, f.SizeBytes)
	}
	return found + " is there, and cannot be run"
}

// repair gives the finding its remedy. What kind's image has of its own can be put back from it; on any other machine, and what
// somebody added to the node, it has to be installed by whoever did.
func repair(o *v1alpha1.Observation, fd *v1alpha1.Finding, handler, p string, own bool, remedy, what string) {
	f, ok := file(o, p)
	var steps []v1alpha1.Step
	switch {
	case noexec(o, p) != "":
		fd.ManualAction = noexec(o, p) + " is mounted noexec: mount it with exec, or install " + what + " elsewhere in the runtime's PATH"
		return
	case ok && f.Exists && f.SizeBytes > 4096 && strings.HasPrefix(f.Mode, "-") && !strings.Contains(f.Mode, "x"):
		s := detectors.NodeStep(v1alpha1.Safe, o.Node, what+" is there and not executable", "chmod", "0755", p)
		steps = append(steps, s)
	case !own || !o.Host.InContainer:
		fd.ManualAction = fmt.Sprintf("install %s, built for this machine (%s), with the package that it came with (%s), or take handler %s out of %s and restart the runtime", path.Base(p), o.Host.Arch, p, handler, configFile(o))
		return
	default:
		if ok && strings.HasPrefix(f.Mode, "d") {
			steps = append(steps, detectors.MoveAside(o.Node, p, "a folder stands in its place"))
		}
		steps = append(steps, detectors.RestoreStep(o.Node, p, what+" comes back from the node's image; the kubelet retries within ten seconds"))
	}
	fd.Remedy = facts.Place(o).NewRemedy(remedy, steps...)
}

// what a role's filesystem is for. A sandbox is written to those that need is said of; on the others only what a failure names lies.
var roles = []struct {
	role, what string
	need       bool
}{
	{"imagefs", "the runtime's filesystem", true},
	{"containerd-state", "the filesystem of the runtime's state", true},
	{"run", "the filesystem of runtime state and sockets", true},
	{"netns", "the filesystem of network namespaces", true},
	{"cni-state", "the filesystem of the network plugin's state", false},
	{"logs", "the filesystem of container logs", false},
	{"tmp", "the filesystem of temporary files", false},
	{"nodefs", "the kubelet's filesystem", false},
	{"root", "the root filesystem", false},
}

var noSpace = []string{words.NoSpaceLeftOnDevice, "disk quota exceeded"}

// pathFull is the path that a failure says there is no space for.
var pathFull = regexp.MustCompile(`(/[^\s:"'\\]+)\\*"?: (?:[Nn]o space left on device|[Dd]isk quota exceeded)`)

// full is the failure that a filesystem without room explains: one that names a path on it, or no path at all where every sandbox
// needs it.
func full(o *v1alpha1.Observation, f v1alpha1.Filesystem, need bool, failing []facts.CreateFailure) bool {
	return slices.ContainsFunc(failing, func(c facts.CreateFailure) bool {
		if !facts.Has(c.Message, noSpace...) || facts.Has(c.Message, noKey...) {
			return false
		}
		m := pathFull.FindStringSubmatch(c.Message)
		if m == nil {
			return need
		}
		named := m[1]
		if rest, ok := strings.CutPrefix(named, "/var/run/"); ok {
			named = "/run/" + rest
		}
		on := -1
		for i, g := range o.Filesystems {
			if mount := strings.TrimRight(g.Mount, "/"); strings.HasPrefix(named, mount+"/") && (on < 0 || len(g.Mount) > len(o.Filesystems[on].Mount)) {
				on = i
			}
		}
		return on >= 0 && facts.SameFilesystem(o.Filesystems[on], f)
	})
}

// space: a filesystem that making a sandbox writes to has nothing left. That of the runtime needs no failure to be believed; the
// others are full only if a failure says so.
func space(o *v1alpha1.Observation, failing []facts.CreateFailure) []v1alpha1.Finding {
	var out []v1alpha1.Finding
	var seen []v1alpha1.Filesystem
	for _, r := range roles {
		f, ok := facts.Filesystem(o, r.role)
		if !ok || slices.ContainsFunc(seen, func(s v1alpha1.Filesystem) bool { return facts.SameFilesystem(s, f) }) {
			continue
		}
		seen = append(seen, f)
		for _, inodes := range []bool{false, true} {
			// What a failure gave back when it cleaned up after itself is free again.
			cause, gone, scarce, what := "disk-full", facts.Full(f), false, "bytes"
			if inodes {
				cause, gone, scarce, what = "inodes-exhausted", facts.OutOfInodes(f), f.Inodes > 0 && f.InodesFree < 100, "inodes"
			}
			if r.role == "imagefs" && !gone || r.role != "imagefs" && (!gone && !scarce || !full(o, f, r.need && gone, failing)) {
				continue
			}
			fd := v1alpha1.Finding{
				Cause: cause, Certainty: v1alpha1.Certain,
				Summary:  fmt.Sprintf("%s %s has no %s left: a sandbox cannot be written", r.what, f.Path, what),
				Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceFilesystems, r.what+" "+facts.Usage(f, inodes))},
			}
			with(&fd, failing, noSpace...)
			for _, u := range facts.Strangers(o, f, inodes) {
				fd.Evidence = append(fd.Evidence, facts.Seen(o, v1alpha1.SourceFilesystems, fmt.Sprintf("%s takes %s in %s", u.Path, text.Bytes(u.Bytes), text.Plural(int(max(u.Files, 1)), "file"))))
			}
			steps, untouched := facts.MakeRoom(o, f, inodes)
			fd.ManualAction, fd.Remedy = untouched, facts.Place(o).NewRemedy("make-room", steps...)
			out = append(out, fd)
		}
	}
	return out
}

// quota: a quota on a path that the runtime writes is used up, and its filesystem has room for others.
func quota(o *v1alpha1.Observation, failing []facts.CreateFailure) []v1alpha1.Finding {
	for _, c := range failing {
		m := pathFull.FindStringSubmatch(c.Message)
		f, ok := facts.Filesystem(o, "imagefs")
		if m == nil || !facts.Has(c.Message, noSpace[1]) || !strings.HasPrefix(m[1], facts.RuntimeRoot(o)+"/") || !ok || facts.Full(f) || facts.OutOfInodes(f) {
			continue
		}
		return []v1alpha1.Finding{{
			Cause: "disk-full", Certainty: v1alpha1.Likely, Evidence: []v1alpha1.Evidence{c.Evidence, facts.Seen(o, v1alpha1.SourceFilesystems, "the filesystem itself has room: "+facts.Usage(f, false))},
			Summary:      "a quota on " + facts.RuntimeRoot(o) + " is used up: a sandbox cannot be written",
			ToConfirm:    "`xfs_quota -x -c 'report -h -p'` or `repquota -a` on the node",
			ManualAction: "somebody gave the runtime's folder a quota: raise it, or remove images and containers that nobody needs",
		}}
	}
	return nil
}

// reached are the limits of the kernel that making a sandbox meets, the words with which it does, and the cause that is nearest.
var reached = []struct {
	limit, cause, what string
	says               []string
}{
	{"pids", "cgroup-unwritable", "process IDs", []string{words.TemporarilyUnavailable, "cannot fork", "pthread_create failed"}},
	{"-namespaces", "cgroup-unwritable", "namespaces", noNamespace},
	{"inotify-watches", "cgroup-unwritable", "inotify watches", noSpace[:1]},
	{"inotify-instances", "cgroup-unwritable", "inotify instances", []string{words.TooManyOpenFiles}},
	{"open-files", "snapshotter-unwritable", "open files", []string{words.TooManyOpenFiles}},
}

// noNamespace are the words of the kernel's refusal of a namespace: of containerd (pkg/netns, pkg/sys), pinns of CRI-O, runc and runsc.
var noNamespace = []string{"/proc/self/exe: no space left on device", "failed to create namespace: no space left on device", "unshare netns: no space left on device",
	"namespaces: No space left on device", "namespace: No space left on device", "namespaces (except cgroupns): No space left on device", "clone: no space left on device",
	"getting the final child's pid from pipe caused: EOF"}

// limits: something is used up that is neither space nor memory, and a failure says so.
func limits(o *v1alpha1.Observation, failing []facts.CreateFailure) []v1alpha1.Finding {
	for _, r := range reached {
		for _, l := range o.Limits {
			ofNamespaces := r.limit == "-namespaces" && strings.HasSuffix(l.Name, r.limit)
			if !ofNamespaces && (l.Name != r.limit || l.Max <= 0) || l.Used*100 < l.Max*98 || !meets(o, l) || !slices.ContainsFunc(failing, func(c facts.CreateFailure) bool {
				return facts.Has(c.Message, r.says...)
			}) {
				continue
			}
			fd := v1alpha1.Finding{
				Cause: r.cause, Certainty: v1alpha1.Certain,
				Summary:      fmt.Sprintf("no %s are left: %s uses %d of %d, and a sandbox cannot be made", r.what, l.Of, l.Used, l.Max),
				Evidence:     []v1alpha1.Evidence{facts.FromLimit(o, l)},
				ManualAction: "find what uses them up, end that, or raise the limit: " + raise[r.limit],
			}
			if kind, _, _ := strings.Cut(l.Name, "-"); ofNamespaces {
				fd.ManualAction = "see who has them (`lsns -t " + detectors.Quote(kind) + "`), or raise the limit: user.max_" + kind + "_namespaces"
				if l.Max == 0 {
					fd.Summary = "this node allows no " + kind + " namespaces, and a sandbox with one cannot be made"
					fd.ManualAction = "somebody set user.max_" + kind + "_namespaces to 0, to harden the node: raise it, or run pods that need none here (of users: hostUsers)"
				}
			}
			with(&fd, failing, r.says...)
			return []v1alpha1.Finding{fd}
		}
	}
	return nil
}

// noKey is what runc and crun were at when the kernel gave them no keyring. It says then that a disk's quota is exceeded (EDQUOT).
var noKey = []string{words.CreateSessionKey, "create keyring"}

// refused are words that name what the kernel refuses a container by themselves, with the cause that is nearest; no disk is meant. The
// first group of says is what is named.
var refused = []struct {
	says          *regexp.Regexp
	summary, todo string
	cause         string // cgroup-unwritable where it is empty
}{
	{regexp.MustCompile(`(?i)(?:` + strings.Join(noKey, "|") + `).*disk quota exceeded()`),
		"no keys are left in the kernel's keyrings for the user that a container runs as, and a container cannot be made; no disk is meant",
		"see who has them in /proc/key-users, or raise the limits: `sysctl kernel.keys.maxkeys kernel.keys.maxbytes`, of root kernel.keys.root_maxkeys and kernel.keys.root_maxbytes", ""},
	// kernel/bpf/core.c bpf_jit_charge_modmem answers ENOTSUPP, for which libseccomp and Go have no name.
	{regexp.MustCompile(`seccomp.*errno (524)`),
		"the kernel has no room left for compiled filters (errno %s), and a container with a seccomp profile cannot be started",
		"raise the limit: `sysctl net.core.bpf_jit_limit`; each container with a seccomp profile takes some, and older kernels lose what ended containers had until a reboot", ""},
	{regexp.MustCompile(`fork/exec (\S+): cannot allocate memory`),
		"the node has no memory left to start %s, and a container cannot be made",
		"see who has it: `ps -eo rss,pid,cmd --sort=-rss | head`, /proc/meminfo (Committed_AS against CommitLimit where vm.overcommit_memory is 2), and the memory limit of the runtime's own unit", ""},
	{regexp.MustCompile(`MOUNT_ATTR_IDMAP on (/[^\s:"\\]+)`),
		"the filesystem of %s takes no mount with other user IDs, and a container of a pod with hostUsers: false cannot be made",
		"see `findmnt -T %s`: a filesystem that takes idmapped mounts on this kernel (ext4, xfs; tmpfs since 6.3), or pods with users of the host here", ""},
	// internal/cri/opts/spec_linux_opts.go of containerd, internal/factory of CRI-O.
	{regexp.MustCompile(`is mounted on \\*"(/[^"\\]*)\\*" but it is not a shared`),
		"the mount %s of this node is private, and a container that shares its mounts with the node (mountPropagation) cannot be made",
		"systemd makes all mounts shared at boot, this node's init did not: `mount --make-rshared %s`, and in what starts the node as well; under systemd look at MountFlags of the runtime's unit", ""},
	// QEMU, Cloud Hypervisor and Firecracker name the device or its module.
	{regexp.MustCompile(`(?:` + words.NoKVM + `|/dev/kvm)[^\n]{0,40}?: ?((?:No such file|Permission denied|no such file|permission denied)[a-z ]*)`),
		"the handler runs pods in virtual machines, and KVM is not to be had on this node (%s): no sandbox of it can be made",
		"`ls -l /dev/kvm; lsmod | grep kvm`: load kvm_intel or kvm_amd, turn virtualization on in the firmware or nested virtualization where the node is a virtual machine itself, or keep pods of that RuntimeClass on nodes that have it", "oci-runtime-missing"},
}

// refusals: the kernel refuses a container something that is neither space nor a binary, and the words say what.
func refusals(_ *v1alpha1.Observation, failing []facts.CreateFailure) []v1alpha1.Finding {
	for _, c := range failing {
		for _, r := range refused {
			m := r.says.FindStringSubmatch(c.Message)
			if m == nil {
				continue
			}
			say := func(text, named string) string { return strings.ReplaceAll(text, "%s", named) }
			return []v1alpha1.Finding{{Cause: cmp.Or(r.cause, "cgroup-unwritable"), Certainty: v1alpha1.Certain, Evidence: []v1alpha1.Evidence{c.Evidence}, Summary: say(r.summary, m[1]), ManualAction: say(r.todo, detectors.Quote(m[1]))}}
		}
	}
	return nil
}

// unsound are words of a runtime whose layers cannot be put together: the kernel refuses the mount, or the database names what is not there.
var unsound = []struct {
	says               *regexp.Regexp
	summary, look, act string
}{
	{regexp.MustCompile(`(?:mount rootfs component|mount /\S*/tmpmounts/).*no such device`), "the kernel has no overlay filesystem", "`grep overlay /proc/filesystems` on the node", "`modprobe overlay`, and have it loaded at boot (/etc/modules-load.d); after an update of the kernel its modules come with a reboot"},
	{regexp.MustCompile(`(?:mount rootfs component|mount /\S*/tmpmounts/).*(?:invalid argument|too many levels)`), "the kernel refuses the mount of a container's layers", "the kernel's log: `dmesg | grep -i overlay` on the node", "what the kernel says decides: overlay does not go on every filesystem (NFS, another overlay, XFS with ftype=0)"},
	{regexp.MustCompile(`missing parent .* bucket: not found|content digest \S+ not found|get reader from content store`), "layers that the runtime's database names are not there", "`ctr -n k8s.io content check` and `ctr -n k8s.io snapshots ls` on the node", "remove the image and have it pulled again (`crictl rmi IMAGE`); if many are meant, somebody took files out of the runtime's folder: drain the node and have it made anew"},
	// containers/storage of CRI-O (layers.go, drivers/overlay/overlay.go).
	{regexp.MustCompile(`creating read-write layer with ID .*[Ss]tat .*: no such file or directory|an't stat lower layer|: layer not known`), "layers that CRI-O's storage lists are not there", "`crio check` on the node (1.31 and newer), /var/lib/containers/storage/overlay", "remove the image and have it pulled again (`crictl rmi IMAGE`); if many are meant, as after a power cut: drain the node, stop CRI-O, `crio wipe -f`, and start it"},
	{regexp.MustCompile(`snapshotter (?:not loaded: )?\S+?:? ?was not found|snapshotter not loaded`), "the runtime's configuration names a snapshotter that it has not", "`ctr plugins ls | grep snapshotter` on the node: a plugin that was skipped or failed", "install it, or name another one in the runtime's configuration (snapshotter = \"overlayfs\", proxy_plugins), and restart the runtime"},
}

// layers: a container's filesystem cannot be put together, though there is room and nothing refuses a write.
func layers(o *v1alpha1.Observation, failing []facts.CreateFailure) []v1alpha1.Finding {
	for _, c := range failing {
		for _, daemon := range []func(*v1alpha1.Observation, facts.CreateFailure) *v1alpha1.Finding{unreached, unserved, unread} {
			if f := daemon(o, c); f != nil {
				return []v1alpha1.Finding{*f}
			}
		}
		for _, u := range unsound {
			if !u.says.MatchString(c.Message) {
				continue
			}
			f := v1alpha1.Finding{Cause: "snapshotter-unwritable", Certainty: v1alpha1.Likely, Evidence: []v1alpha1.Evidence{c.Evidence},
				Summary: u.summary + ", and a container cannot be made", ToConfirm: u.look, ManualAction: u.act}
			if l, ok := facts.LastOf(v1alpha1.History{*o}, "kernel", 5*time.Minute, "overlayfs: "); ok {
				f.Evidence = append(f.Evidence, facts.FromLine(l))
			}
			return []v1alpha1.Finding{f}
		}
	}
	return nil
}

// meets tells that what makes a sandbox meets a limit: not another process' open files, nor the process IDs of people's sessions.
func meets(o *v1alpha1.Observation, l v1alpha1.Limit) bool {
	who, _, _ := strings.Cut(l.Of, " ")
	switch {
	case l.Of == "node":
		return true
	case l.Name == "open-files":
		return who == "kubelet" || who == "crio" || who == facts.Runtime(o).Name
	case l.Name == "pids":
		return who == "system.slice" || strings.Contains(who, "kubepods") || strings.Contains(who, "runtime") || strings.Contains(who, "kubelet")
	}
	return true
}

// raise is where a limit is set.
var raise = map[string]string{
	"pids":              "`ps -eLo ppid,comm | sort | uniq -c | sort -n | tail`; kernel.pid_max and kernel.threads-max, TasksMax of the slice, podPidsLimit of the kubelet",
	"inotify-watches":   "fs.inotify.max_user_watches",
	"inotify-instances": "fs.inotify.max_user_instances",
	"open-files":        "LimitNOFILE of the unit, or fs.file-max",
}

var (
	snapshotTexts = []string{words.PrepareSnapshotDir, words.PrepareExtraction, "failed to create snapshot", words.MountRootfsComponent, words.FailedToCreateTempDir, "failed commit on ref", "failed to extract layer"}
	deniedTexts   = []string{words.OperationNotPermitted, words.ReadOnlyFileSystem, "permission denied"}
	writeRefused  = regexp.MustCompile(`(?:mkdir|open|create|rename|chmod|link|symlink|bind) (/[^ :"\\]+)\\*"?: (read-only file system|operation not permitted)`)
	pathInError   = regexp.MustCompile(`(?:mkdir|open|rename|chmod|link|symlink) (/[^ :"\\]+)`)
)

// unwritable: the snapshotter's directory refuses writes: immutable, or on a read-only mount.
func unwritable(h v1alpha1.History, failing []facts.CreateFailure) []v1alpha1.Finding {
	o := h.Last()
	root := facts.RuntimeRoot(o)
	var steps []v1alpha1.Step
	var ev []v1alpha1.Evidence
	var what string
	var reason string
	remount := func(f v1alpha1.Filesystem, mount string) {
		if l, ok := errored(h, f); ok {
			what += ": the kernel made it so after errors"
			ev = append(ev, facts.FromLine(l))
			reason = "the filesystem is damaged, or its disk fails: drain the node, read the kernel's log, check the filesystem (fsck, xfs_repair) while it is not mounted"
			return
		}
		if _, unread := o.Unreadable(v1alpha1.SourceKmsg); unread {
			reason = "the kernel's log was not read: if it made the filesystem read-only after an error, fsck comes before a remount"
			return
		}
		steps = append(steps, detectors.Destructive(detectors.NodeStep(v1alpha1.Destructive, o.Node, "the filesystem takes writes again", "mount", "-o", "remount,rw", mount), "writes to a damaged filesystem damage it further"))
	}
	for _, f := range o.Files {
		if !strings.HasPrefix(f.Path, root) || !f.Exists {
			continue
		}
		if f.Immutable {
			what = f.Path + " is immutable"
			ev = append(ev, facts.Seen(o, v1alpha1.SourceFiles, f.Path+" has the immutable attribute (lsattr: i): not even root writes there"))
			steps = append(steps, facts.Mutable(o.Node, f.Path, "take the attribute away; the kubelet retries within ten seconds"))
		}
	}
	for _, m := range o.Mounts {
		if !slices.Contains(m.Options, "ro") || !written(o, root, m.Target) {
			continue
		}
		what = m.Target + " is mounted read-only"
		ev = append(ev, facts.Seen(o, v1alpha1.SourceMounts, fmt.Sprintf("%s is a read-only mount of %s %s", m.Target, m.Source, m.Root)))
		if under, ok := facts.Filesystem(o, "imagefs"); ok && m.Target != root && m.Target != under.Mount {
			steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "a read-only mount lies over the directory: take it off", "umount", m.Target))
		} else {
			remount(under, m.Target)
		}
	}
	if len(steps) == 0 && reason == "" {
		if f, ok := facts.Filesystem(o, "imagefs"); ok && f.ReadOnly {
			what = f.Path + " is on a read-only filesystem"
			ev = append(ev, facts.Seen(o, v1alpha1.SourceFilesystems, what+" ("+f.Mount+")"))
			remount(f, f.Mount)
		}
	}
	if len(steps) == 0 && reason == "" {
		return refusedWrite(root, failing)
	}
	fd := v1alpha1.Finding{Cause: "snapshotter-unwritable", Certainty: v1alpha1.Certain, Evidence: ev}
	with(&fd, failing, deniedTexts...)
	fd.Summary = "the snapshotter cannot write: " + what
	fd.Remedy, fd.ManualAction = facts.Place(o).NewRemedy("make-writable", steps...), reason
	return []v1alpha1.Finding{fd}
}

// refusedElsewhere: making a pod's sandbox fails by a directory of the kubelet, of the runtime's state or of the network plugins that takes
// no writes. What a container's own filesystem or a pod's hostPath refuses is the pod's own affair.
func refusedElsewhere(h v1alpha1.History, failing []facts.CreateFailure) []v1alpha1.Finding {
	o := h.Last()
	for _, c := range failing {
		m := writeRefused.FindStringSubmatch(c.Message)
		if m == nil || strings.Contains(m[1], "/rootfs/") || !slices.ContainsFunc([]string{facts.KubeletRoot(o) + "/pods/", "/var/log/pods", "/var/log/containers", "/run/", "/var/run/", "/var/lib/cni"}, func(dir string) bool {
			return strings.HasPrefix(m[1]+"/", dir)
		}) {
			continue
		}
		dir := path.Dir(m[1])
		f := v1alpha1.Finding{Cause: "snapshotter-unwritable", Certainty: v1alpha1.Likely, Evidence: []v1alpha1.Evidence{c.Evidence},
			Summary:      "pods cannot be made: " + dir + " of the node takes no writes (" + m[2] + ")",
			ToConfirm:    "`lsattr -d -- " + detectors.Quote(dir) + "; findmnt -T " + detectors.Quote(dir) + "` on the node",
			ManualAction: "take away the attribute (chattr -i) or the mount that refuses the write; where the kernel made the filesystem read-only after errors (`dmesg`), drain the node and check it while it is not mounted"}
		for _, mount := range o.Mounts {
			if slices.Contains(mount.Options, "ro") && (mount.Target == m[1] || strings.HasPrefix(m[1], strings.TrimRight(mount.Target, "/")+"/")) {
				f.Certainty, f.ToConfirm = v1alpha1.Certain, ""
				f.Summary = "pods cannot be made: " + mount.Target + " of the node is mounted read-only"
				f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceMounts, fmt.Sprintf("%s is a read-only mount of %s %s", mount.Target, mount.Source, mount.Root)))
			}
		}
		return []v1alpha1.Finding{f}
	}
	return nil
}

// refusedWrite is where nothing of the state was seen: a failure that names a directory of the snapshotter and a refusal is still a likely
// one.
func refusedWrite(root string, failing []facts.CreateFailure) []v1alpha1.Finding {
	for _, c := range failing {
		if !facts.Has(c.Message, deniedTexts...) || !facts.Has(c.Message, snapshotTexts...) {
			continue
		}
		m := pathInError.FindStringSubmatch(c.Message)
		if m == nil || !strings.HasPrefix(m[1], root) {
			continue
		}
		dir := path.Dir(m[1])
		return []v1alpha1.Finding{{
			Cause: "snapshotter-unwritable", Certainty: v1alpha1.Likely, Evidence: []v1alpha1.Evidence{c.Evidence},
			Summary:      "the snapshotter cannot write " + dir,
			ToConfirm:    "`lsattr -d -- " + detectors.Quote(dir) + "; findmnt -T " + detectors.Quote(dir) + "` on the node",
			ManualAction: "the attribute or mount that refuses the write was not seen",
		}}
	}
	return nil
}

// written tells that the runtime itself writes directly into a directory: its root, its plugins' and the snapshotter's snapshots. What
// snapshotters mount below those are layers, read-only by intent (erofs, nydus).
func written(o *v1alpha1.Observation, root, dir string) bool {
	if dir == root {
		return true
	}
	parent, name := path.Split(dir)
	parent = strings.TrimRight(parent, "/")
	if facts.Runtime(o).Name == facts.CRIO {
		return parent == root && slices.Contains([]string{"overlay", "overlay-layers", "overlay-containers"}, name)
	}
	if s, mine := strings.CutPrefix(path.Base(parent), "io.containerd.snapshotter.v1."); mine && name == "snapshots" {
		parent, name = path.Dir(parent), "io.containerd.snapshotter.v1."+s
	}
	s, snapshotter := strings.CutPrefix(name, "io.containerd.snapshotter.v1.")
	return parent == root && strings.HasPrefix(name, "io.containerd.") && (!snapshotter || o.Runtime.Snapshotter == "" || s == o.Runtime.Snapshotter)
}

// errored is the kernel's word that it made a filesystem read-only, or gave it up, after errors.
func errored(h v1alpha1.History, f v1alpha1.Filesystem) (v1alpha1.LogLine, bool) {
	device := path.Base(f.Device)
	for _, l := range slices.Backward(facts.Lines(h, "kernel", 24*time.Hour)) {
		if facts.Has(l.Text, words.RemountedReadOnly, words.XFSShutDown, words.XFSShutsDown, words.BtrfsForcedReadOnly) &&
			(facts.Has(l.Text, "("+device+")", "device "+device+" ", "device "+device+")") || strings.HasPrefix(f.Device, "/dev/mapper/") || strings.HasPrefix(f.Device, "/dev/disk/")) {
			return l, true
		}
	}
	return v1alpha1.LogLine{}, false
}

func remount(node, mount string) v1alpha1.Step {
	s := detectors.NodeStep(v1alpha1.Destructive, node, "the cgroup hierarchy takes writes again", "mount", "-o", "remount,rw", mount)
	s.Undo = "mount -o remount,ro " + detectors.Quote(mount)
	return detectors.Destructive(s, "changes a mount that somebody made")
}

// makeWritable is the step against the read-only mount that a cgroup is in.
func makeWritable(o *v1alpha1.Observation, cgroup string) v1alpha1.Step {
	mount := ""
	for _, m := range o.Mounts {
		if (cgroup == m.Target || strings.HasPrefix(cgroup, m.Target+"/")) && slices.Contains(m.Options, "ro") && len(m.Target) > len(mount) {
			mount = m.Target
		}
	}
	if mount == cgroup || strings.Contains(mount, "kubepods") {
		return detectors.NodeStep(v1alpha1.Safe, o.Node, "a read-only mount lies over the pods' cgroup: take it off", "umount", mount)
	}
	return remount(o.Node, cmp.Or(mount, cgroup))
}

var cgroupTexts = []string{words.CgroupNotApplied, "failed to create cgroup", "cgroup.procs", "cgroups: cannot", "mkdir /sys/fs/cgroup", words.FailedToEnsureThatThePod, "cpuset.cpus"}

// cgroups: the pod's cgroup cannot be made or entered.
func cgroups(o *v1alpha1.Observation, failing []facts.CreateFailure) []v1alpha1.Finding {
	fd := v1alpha1.Finding{Cause: "cgroup-unwritable", Certainty: v1alpha1.Certain}
	var steps []v1alpha1.Step
	// One mount shows in every cgroup below it, and is taken off once.
	add := func(s v1alpha1.Step) {
		if !slices.ContainsFunc(steps, func(t v1alpha1.Step) bool { return t.Run == s.Run }) {
			steps = append(steps, s)
		}
	}
	for _, c := range o.Cgroups {
		full := c.Path
		if !strings.HasPrefix(full, "/sys/fs/cgroup") {
			full = "/sys/fs/cgroup/" + strings.TrimLeft(c.Path, "/")
		}
		say := func(what string) {
			fd.Evidence = append(fd.Evidence, facts.Seen(o, v1alpha1.SourceCgroups, full+": "+what))
		}
		switch {
		case c.ReadOnly:
			say("mounted read-only")
			add(makeWritable(o, full))
		case c.Immutable:
			say("immutable")
			add(facts.Mutable(o.Node, full, "take the attribute away"))
		case c.Limited && c.Below >= c.MaxBelow:
			say(fmt.Sprintf("cgroup.max.descendants is %d, and there are %d", c.MaxBelow, c.Below))
			add(detectors.Destructive(detectors.ShellStep(v1alpha1.Destructive, o.Node, "pods may have cgroups again", `echo max > "$d/cgroup.max.descendants"`, detectors.V("d", full)), facts.LimitOfSomebody))
		case c.EmptyCPUs && len(failing) > 0:
			say("cpuset.cpus or cpuset.mems is empty: no process can enter (the kernel says \"no space left on device\")")
			add(detectors.ShellStep(v1alpha1.Disruptive, o.Node, "give the cgroup its parent's processors and memory nodes", `cd -- "$d"
for k in cpus mems; do cat ../cpuset.$k > cpuset.$k; done`, detectors.V("d", full)))
		case c.PIDsMax > 0 && c.PIDsInside >= c.PIDsMax:
			say(fmt.Sprintf("pids.max is %d, and %d processes are inside", c.PIDsMax, c.PIDsInside))
			add(detectors.Destructive(detectors.ShellStep(v1alpha1.Destructive, o.Node, "pods may have processes again", `echo max > "$d/pids.max"`, detectors.V("d", full)), facts.LimitOfSomebody))
		case c.Frozen:
			say("frozen")
			add(detectors.ShellStep(v1alpha1.Disruptive, o.Node, "the pods' cgroup is frozen: thaw it", `cd -- "$d"
if [ -e freezer.state ]; then echo THAWED > freezer.state; else echo 0 > cgroup.freeze; fi`, detectors.V("d", full)))
		}
	}
	if len(steps) > 0 {
		with(&fd, failing, append([]string{words.NoSpaceLeftOnDevice, "cgroup"}, deniedTexts...)...)
		fd.Summary = "a pod's cgroup cannot be made: " + fd.Evidence[0].Text
		fd.Remedy = facts.Place(o).NewRemedy("open-cgroup", steps...)
		return []v1alpha1.Finding{fd}
	}
	for _, c := range failing {
		if facts.Has(c.Message, cgroupTexts...) && !strings.Contains(c.Message, "slice:prefix:name") {
			fd.Certainty, fd.Evidence = v1alpha1.Likely, []v1alpha1.Evidence{c.Evidence}
			fd.Summary = "a pod's cgroup cannot be made or entered"
			fd.ToConfirm = "the state of the kubelet's cgroup below /sys/fs/cgroup: mount options, cgroup.max.descendants, pids.max, cpuset.cpus"
			fd.ManualAction = "what refuses the cgroup was not seen"
			return []v1alpha1.Finding{fd}
		}
	}
	return nil
}
