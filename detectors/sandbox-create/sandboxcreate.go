// Package sandboxcreate tells why a sandbox or container cannot be made: a binary of the runtime is gone, its directory or
// disk takes no writes, or the pod's cgroup cannot be made.
//
// The state of the thing that the message names decides, not the message: words.NoSpaceLeftOnDevice is said of inodes,
// cpusets and cgroup limits as well.
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
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/words"
)

func init() {
	detectors.Register(detectors.Detector{Failure: "sandbox-create", Needs: []string{v1alpha1.SourceJournal, v1alpha1.SourceStatus, v1alpha1.SourceFilesystems, v1alpha1.SourceCgroups, v1alpha1.SourceFiles}, Judge: judge})
}

// judge asks for each thing that making a sandbox needs.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	o := h.Last()
	failing := facts.CreateFailures(h)
	var out []v1alpha1.Finding
	for _, judge := range []func(*v1alpha1.Observation, []facts.CreateFailure) []v1alpha1.Finding{binaries, space, unwritable, cgroups} {
		out = append(out, judge(o, failing)...)
	}
	for i := range out {
		out[i].Failure, out[i].Node = "sandbox-create", o.Node
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

var shimTexts = []string{"runtime \"io.containerd.runc.v2\" binary not installed", words.BinaryNotInstalled, "containerd-shim", "shim task", words.FailedToStartShim}
var ociTexts = []string{words.UnableToRetrieveOCIRuntimeError, "runc", words.ExecutableFileNotFound}

// inUse tells whether a pod of this node needs the handler: an unused one harms nobody.
func inUse(o *v1alpha1.Observation, handler string) bool {
	def := o.Runtime.DefaultHandler
	if def == "" {
		def = "runc"
	}
	if handler == def {
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
		return nil
	}
	if _, unread := o.Unreadable(v1alpha1.SourceFiles); unread {
		return nil // where the binaries are was not looked at: an empty path says nothing
	}
	var shim, oci *v1alpha1.Finding
	for _, r := range o.Runtime.Handlers {
		if !inUse(o, r.Name) {
			continue
		}
		file := shimFile(o, r.Type)
		if r.ShimPath == "" && r.Type != "" || broken(o, file, failing, "containerd-shim") {
			if shim == nil {
				shim = &v1alpha1.Finding{
					Cause: "shim-missing", Certainty: v1alpha1.Certain,
					Summary:  fmt.Sprintf("the shim of runtime %s (%s) is missing or cannot be run: no container can be started", r.Name, path.Base(file)),
					Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceStatus, fmt.Sprintf("handler %s has type %s; %s is not an executable in containerd's PATH", r.Name, r.Type, path.Base(file)))},
				}
				with(shim, failing, shimTexts...)
				shim.Remedy = facts.Place(o).NewRemedy("restore-shim", restore(o, file, "the shim")...)
			}
		}
		name := r.BinaryName
		if name == "" {
			name = "runc"
		}
		file = runtimeFile(o, name)
		if (r.RuntimePath == "" && strings.Contains(r.Type, "runc") || broken(o, file, failing, "runc")) && oci == nil {
			oci = &v1alpha1.Finding{
				Cause: "oci-runtime-missing", Certainty: v1alpha1.Certain,
				Summary:  fmt.Sprintf("the OCI runtime %s of handler %s is missing or cannot be run: no container can be created", name, r.Name),
				Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceStatus, fmt.Sprintf("handler %s runs %s, which is not an executable in containerd's PATH", r.Name, name))},
			}
			with(oci, failing, ociTexts...)
			if r.BinaryName != "" && path.Base(r.BinaryName) != "runc" {
				oci.ManualAction = fmt.Sprintf("the runtime's configuration names %s for handler %s: install it, or take BinaryName out of %s and restart containerd", name, r.Name, configFile(o))
			} else {
				oci.Remedy = facts.Place(o).NewRemedy("restore-runtime", restore(o, file, "the OCI runtime")...)
			}
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

func configFile(o *v1alpha1.Observation) string {
	if o.Runtime.ConfigFile.Path != "" {
		return o.Runtime.ConfigFile.Path
	}
	return "/etc/containerd/config.toml"
}

// shimFile is where the shim of a runtime type belongs: io.containerd.runc.v2 → containerd-shim-runc-v2.
func shimFile(o *v1alpha1.Observation, kind string) string {
	parts := strings.Split(kind, ".")
	name := "containerd-shim-runc-v2"
	if len(parts) >= 2 {
		name = "containerd-shim-" + strings.Join(parts[len(parts)-2:], "-")
	}
	return known(o, name, "/usr/local/bin/"+name)
}

func runtimeFile(o *v1alpha1.Observation, name string) string {
	if path.IsAbs(name) {
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

// broken: the file is there and named by a failure that says it cannot be run.
func broken(o *v1alpha1.Observation, p string, failing []facts.CreateFailure, name string) bool {
	if f, ok := file(o, p); ok && f.Exists && f.Error == "" && (f.SizeBytes < 4096 && f.Script == "" || !strings.Contains(f.Mode, "x")) && f.Mode != "" && !strings.HasPrefix(f.Mode, "L") {
		return true
	}
	return slices.ContainsFunc(failing, func(c facts.CreateFailure) bool {
		return strings.Contains(c.Message, name) && facts.Has(c.Message, "exec format error", "permission denied: unknown", "fork/exec") && facts.Has(c.Message, path.Base(p)+": exec format error", path.Base(p)+": permission denied")
	})
}

func restore(o *v1alpha1.Observation, p, what string) []v1alpha1.Step {
	if f, ok := file(o, p); ok && f.Exists && f.SizeBytes > 4096 && f.Mode != "" && !strings.Contains(f.Mode, "x") {
		return []v1alpha1.Step{detectors.NodeStep(v1alpha1.Safe, o.Node, what+" is there and not executable", "chmod", "0755", p)}
	}
	back := detectors.RestoreStep(o.Node, p, what+" comes back from the node's image; the kubelet retries within ten seconds")
	if f, ok := file(o, p); ok && strings.HasPrefix(f.Mode, "d") {
		return []v1alpha1.Step{detectors.MoveAside(o.Node, p, "a folder stands in its place"), back}
	}
	return []v1alpha1.Step{back}
}

// space: the runtime's filesystem has nothing left.
func space(o *v1alpha1.Observation, failing []facts.CreateFailure) []v1alpha1.Finding {
	f, ok := facts.Filesystem(o, "imagefs")
	if !ok {
		return nil
	}
	var out []v1alpha1.Finding
	for _, inodes := range []bool{false, true} {
		cause, gone, what := "disk-full", facts.Full(f), "bytes"
		if inodes {
			cause, gone, what = "inodes-exhausted", facts.OutOfInodes(f), "inodes"
		}
		if !gone {
			continue
		}
		fd := v1alpha1.Finding{
			Cause: cause, Certainty: v1alpha1.Certain,
			Summary:  fmt.Sprintf("the runtime's filesystem %s has no %s left: a sandbox cannot be written", f.Path, what),
			Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceFilesystems, facts.Usage(f, inodes))},
		}
		with(&fd, failing, words.NoSpaceLeftOnDevice, "disk quota exceeded")
		for _, u := range facts.Strangers(o, f, inodes) {
			fd.Evidence = append(fd.Evidence, facts.Seen(o, v1alpha1.SourceFilesystems, fmt.Sprintf("%s takes %s in %s", u.Path, text.Bytes(u.Bytes), facts.Plural(int(max(u.Files, 1)), "file"))))
		}
		steps, untouched := facts.MakeRoom(o, f, inodes)
		fd.ManualAction, fd.Remedy = untouched, facts.Place(o).NewRemedy("make-room", steps...)
		out = append(out, fd)
	}
	return out
}

var (
	snapshotTexts = []string{words.PrepareSnapshotDir, "failed to prepare extraction snapshot", "failed to create snapshot", "failed to mount rootfs component", words.FailedToCreateTempDir}
	deniedTexts   = []string{words.OperationNotPermitted, words.ReadOnlyFileSystem, "permission denied"}
	pathInError   = regexp.MustCompile(`(?:mkdir|open|rename|chmod|link|symlink) (/[^ :"\\]+)`)
)

// unwritable: the snapshotter's directory refuses writes: immutable, or on a read-only mount.
func unwritable(o *v1alpha1.Observation, failing []facts.CreateFailure) []v1alpha1.Finding {
	root := facts.RuntimeRoot(o)
	var steps []v1alpha1.Step
	var ev []v1alpha1.Evidence
	var what string
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
		if m.Target != root && !strings.HasPrefix(m.Target, root+"/io.containerd.") || !slices.Contains(m.Options, "ro") || strings.Contains(m.Target, "/rootfs") {
			continue
		}
		what = m.Target + " is mounted read-only"
		ev = append(ev, facts.Seen(o, v1alpha1.SourceMounts, fmt.Sprintf("%s is a read-only mount of %s %s", m.Target, m.Source, m.Root)))
		if under, ok := facts.Filesystem(o, "imagefs"); ok && m.Target != root && m.Target != under.Mount {
			steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "a read-only mount lies over the directory: take it off", "umount", m.Target))
		} else {
			steps = append(steps, detectors.Destructive(detectors.NodeStep(v1alpha1.Destructive, o.Node, "the filesystem takes writes again; if the kernel made it read-only after an error, fsck comes first", "mount", "-o", "remount,rw", m.Target), "writes to a damaged filesystem damage it further"))
		}
	}
	if len(steps) == 0 {
		if f, ok := facts.Filesystem(o, "imagefs"); ok && f.ReadOnly {
			what = f.Path + " is on a read-only filesystem"
			ev = append(ev, facts.Seen(o, v1alpha1.SourceFilesystems, what+" ("+f.Mount+")"))
			steps = append(steps, detectors.Destructive(detectors.NodeStep(v1alpha1.Destructive, o.Node, "the filesystem takes writes again; if the kernel made it read-only after an error, fsck comes first", "mount", "-o", "remount,rw", f.Mount), "writes to a damaged filesystem damage it further"))
		}
	}
	fd := v1alpha1.Finding{Cause: "snapshotter-unwritable", Certainty: v1alpha1.Certain, Evidence: ev}
	if len(steps) == 0 {
		// Nothing of the state was seen: a failure that names a directory of the snapshotter and a refusal is still a likely one.
		for _, c := range failing {
			if !facts.Has(c.Message, deniedTexts...) || !facts.Has(c.Message, snapshotTexts...) {
				continue
			}
			m := pathInError.FindStringSubmatch(c.Message)
			if m == nil || !strings.HasPrefix(m[1], root) {
				continue
			}
			dir := path.Dir(m[1])
			fd.Certainty, fd.Evidence = v1alpha1.Likely, []v1alpha1.Evidence{c.Evidence}
			fd.Summary = "the snapshotter cannot write " + dir
			fd.ToConfirm = "`lsattr -d " + dir + "; findmnt -T " + dir + "` on the node"
			fd.ManualAction = "the attribute or mount that refuses the write was not seen"
			return []v1alpha1.Finding{fd}
		}
		return nil
	}
	with(&fd, failing, deniedTexts...)
	fd.Summary = "the snapshotter cannot write: " + what
	fd.Remedy = facts.Place(o).NewRemedy("make-writable", steps...)
	return []v1alpha1.Finding{fd}
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
			mount := ""
			for _, m := range o.Mounts {
				if (full == m.Target || strings.HasPrefix(full, m.Target+"/")) && slices.Contains(m.Options, "ro") && len(m.Target) > len(mount) {
					mount = m.Target
				}
			}
			switch {
			case mount == full || strings.Contains(mount, "kubepods"):
				add(detectors.NodeStep(v1alpha1.Safe, o.Node, "a read-only mount lies over the pods' cgroup: take it off", "umount", mount))
			case mount != "":
				add(detectors.NodeStep(v1alpha1.Safe, o.Node, "the cgroup hierarchy takes writes again", "mount", "-o", "remount,rw", mount))
			default:
				add(detectors.NodeStep(v1alpha1.Safe, o.Node, "the cgroup hierarchy takes writes again", "mount", "-o", "remount,rw", full))
			}
		case c.Immutable:
			say("immutable")
			add(facts.Mutable(o.Node, full, "take the attribute away"))
		case c.Limited && c.Below >= c.MaxBelow:
			say(fmt.Sprintf("cgroup.max.descendants is %d, and there are %d", c.MaxBelow, c.Below))
			add(detectors.ShellStep(v1alpha1.Safe, o.Node, "pods may have cgroups again", "echo max > "+detectors.Quote(full+"/cgroup.max.descendants")))
		case c.EmptyCPUs && len(failing) > 0:
			say("cpuset.cpus or cpuset.mems is empty: no process can enter (the kernel says \"no space left on device\")")
			add(detectors.ShellStep(v1alpha1.Safe, o.Node, "give the cgroup its parent's processors and memory nodes", fmt.Sprintf(`cd %s
for k in cpus mems; do cat ../cpuset.$k > cpuset.$k; done`, detectors.Quote(full))))
		case c.PIDsMax > 0 && c.PIDsInside >= c.PIDsMax:
			say(fmt.Sprintf("pids.max is %d, and %d processes are inside", c.PIDsMax, c.PIDsInside))
			add(detectors.ShellStep(v1alpha1.Safe, o.Node, "pods may have processes again", "echo max > "+detectors.Quote(full+"/pids.max")))
		case c.Frozen:
			say("frozen")
			add(detectors.ShellStep(v1alpha1.Safe, o.Node, "the pods' cgroup is frozen: thaw it", fmt.Sprintf(`cd %s
if [ -e freezer.state ]; then echo THAWED > freezer.state; else echo 0 > cgroup.freeze; fi`, detectors.Quote(full))))
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
