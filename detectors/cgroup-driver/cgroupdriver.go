// Package cgroupdriver tells that the kubelet and the runtime name cgroups in different ways.
//
// The kubelet's configuration after the runtime's answer (configz) against the running options of the handler decides; what
// files say, and the kubelet's cgroupDriver where the runtime names one, has no effect. The direction decides how it shows:
// kubelet cgroupfs and runtime systemd fails loudly, the other way round pods run outside their cgroups in silence.
package cgroupdriver

import (
	"cmp"
	"fmt"
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
	detectors.Register(detectors.Detector{Failure: "cgroup-driver", Needs: []string{v1alpha1.SourceHost, v1alpha1.SourceUnits, v1alpha1.SourceJournal, v1alpha1.SourceCgroups}, Judge: judge})
}

// judge compares the running values, then looks where containers really are.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	return facts.First(h, refused, ofDocker, mismatch)
}

// refused: the kubelet does not start on cgroup v1.
func refused(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	k := facts.KubeletState(h)
	if o.Host.CgroupVersion != 1 || !k.Known || k.Running || k.Halted {
		return nil
	}
	line, said := facts.LastLine(h, "kubelet", facts.ExitFresh, words.CgroupV1Refused)
	if !said || k.Said && !strings.Contains(k.Exit.Text, words.CgroupV1Refused) && k.Exit.At.After(line.At) {
		return nil
	}
	if v := o.Kubelet.File.FailCgroupV1; v != nil && !*v && !k.Looping {
		return nil // set right since
	}
	return &v1alpha1.Finding{
		Cause: "cgroup-v1-refused", Certainty: v1alpha1.Certain,
		Summary: "the kubelet refuses to run on cgroup v1: failCgroupV1 is true, and this host has v1",
		Evidence: []v1alpha1.Evidence{facts.FromLine(line), facts.Seen(o, v1alpha1.SourceHost, "cgroup version 1"),
			facts.Seen(o, v1alpha1.SourceUnits, fmt.Sprintf("kubelet: %s/%s, result %s, %d restarts", k.Unit.ActiveState, k.Unit.SubState, k.Unit.Result, k.Unit.NRestarts))},
		Remedy: facts.Place(o).NewRemedy("allow-cgroup-v1",
			facts.SetKubeletConfig(o, "let the kubelet run on cgroup v1 until the host is moved to v2", "failCgroupV1", "false"),
			facts.RestartKubelet(o, "the kubelet reads its configuration only at start; pods go on"),
			detectors.WaitReady(o.Node)),
	}
}

// ofDocker: a kubelet that still asks Docker itself ends where their drivers differ.
func ofDocker(h v1alpha1.History) *v1alpha1.Finding {
	k := facts.KubeletState(h)
	if !k.Down() || !k.Said || !strings.Contains(k.Exit.Text, words.DockerDriverDiffers) {
		return nil
	}
	return &v1alpha1.Finding{
		Cause: "driver-mismatch", Certainty: v1alpha1.Certain,
		Summary:      "the kubelet does not start: its cgroup driver is not Docker's",
		Evidence:     []v1alpha1.Evidence{facts.FromLine(k.Exit)},
		ManualAction: `have Docker use systemd's cgroups ("exec-opts": ["native.cgroupdriver=systemd"] in /etc/docker/daemon.json) and the kubelet as well (cgroupDriver: systemd), drain the node, and restart both`,
	}
}

// driver of a handler as it runs: an option that is not given is cgroupfs.
func driver(r v1alpha1.RuntimeHandler) string {
	if r.SystemdCgroup != nil && *r.SystemdCgroup {
		return "systemd"
	}
	return "cgroupfs"
}

// kubeletDriver is what the running kubelet took: what it says that the runtime answered, else its configuration.
func kubeletDriver(h v1alpha1.History) (string, v1alpha1.Evidence, bool) {
	o := h.Last()
	if l, ok := facts.LastLine(h, "kubelet", 365*24*time.Hour, words.CgroupDriverFromRuntime); ok && !l.At.Before(o.Units[facts.KubeletUnitName(o)].ActiveSince.Add(-time.Second)) {
		switch {
		case strings.Contains(l.Text, `cgroupDriver="systemd"`):
			return "systemd", facts.FromLine(l), true
		case strings.Contains(l.Text, `cgroupDriver="cgroupfs"`):
			return "cgroupfs", facts.FromLine(l), true
		}
	}
	c, source := facts.Config(o)
	if source == "kubelet.configz" && c.CgroupDriver != "" && !configzBeforeAnswer(o) {
		return c.CgroupDriver, facts.Seen(o, v1alpha1.SourceKubelet, "cgroupDriver: "+c.CgroupDriver+", as the running kubelet uses it"), true
	}
	// A runtime before containerd 2 names no driver: the kubelet goes by its own configuration, whose default is cgroupfs.
	if !tellsDriver(o) && o.Kubelet.FileError == "" && !facts.EmptyConfig(c) && facts.KubeletState(h).Running {
		name := cmp.Or(c.CgroupDriver, "cgroupfs")
		if v, ok := facts.FlagValue(o, "cgroup-driver"); ok {
			name = v
		}
		return name, facts.Seen(o, source, "cgroupDriver: "+name+"; the runtime names none"), true
	}
	return "", v1alpha1.Evidence{}, false
}

// configzBeforeAnswer tells that configz is of before the runtime's answer, which the kubelet goes by. Kubernetes 1.28 to 1.34 publish
// it so (cmd/kubelet/app/server.go), and ask by default since 1.31 (KubeletCgroupDriverFromCRI).
func configzBeforeAnswer(o *v1alpha1.Observation) bool {
	minor := facts.KubeletMinor(o)
	return minor >= 31 && minor <= 34 && tellsDriver(o)
}

// tellsDriver tells that the kubelet may have the driver from the runtime (CRI's RuntimeConfig), or that this is not known.
func tellsDriver(o *v1alpha1.Observation) bool {
	return o.Runtime.CgroupDriver != "" || facts.Runtime(o).Name != facts.Containerd || !strings.HasPrefix(strings.TrimPrefix(o.Runtime.Version, "v"), "1.")
}

func defaultHandler(o *v1alpha1.Observation) string {
	if o.Runtime.DefaultHandler != "" {
		return o.Runtime.DefaultHandler
	}
	return "runc"
}

// users are pods that run or want to run with a handler.
func users(o *v1alpha1.Observation, handler string) []string {
	var out []string
	for _, s := range o.Runtime.Sandboxes {
		if s.Handler == handler {
			out = append(out, s.Namespace+"/"+s.Name)
		}
	}
	for _, p := range facts.Pods(o) {
		if p.Spec.RuntimeClassName == nil {
			continue
		}
		for _, rc := range o.API.RuntimeClasses {
			if rc.Name == *p.Spec.RuntimeClassName && rc.Handler == handler && !slices.Contains(out, p.Namespace+"/"+p.Name) {
				out = append(out, p.Namespace+"/"+p.Name)
			}
		}
	}
	return out
}

const loudText = `expected cgroupsPath to be of format`

// outsideOf are the containers whose processes are outside the kubelet's cgroups.
func outsideOf(o *v1alpha1.Observation) (outside []v1alpha1.ContainerUsage) {
	for _, c := range o.Containers {
		// One of which this node's runtime says no pod may be another node's, on a machine that hosts nodes as containers.
		// The process of a container's monitor (conmon) is none of the container's.
		if !c.UnderKubepods && c.PID > 0 && c.CgroupPath != "" && c.Pod != "" && !strings.Contains(c.CgroupPath, "-conmon-") && perQOS(o) {
			outside = append(outside, c)
		}
	}
	return outside
}

// differing are the handlers whose driver is not the kubelet's, and whether the default one is among them.
func differing(o *v1alpha1.Observation, kubelet string) (wrong []v1alpha1.RuntimeHandler, defaultWrong bool) {
	for _, r := range o.Runtime.Handlers {
		if !strings.Contains(r.Type, "runc") || driver(r) == kubelet {
			continue
		}
		if r.Name == defaultHandler(o) {
			defaultWrong = true
		} else if len(users(o, r.Name)) == 0 {
			continue // a handler nobody uses harms nobody
		}
		wrong = append(wrong, r)
	}
	return wrong, defaultWrong
}

// loudly is a container that the runtime would not create for its cgroup's name.
func loudly(h v1alpha1.History) (v1alpha1.Evidence, bool) {
	for _, f := range facts.CreateFailures(h) {
		if strings.Contains(f.Message, loudText) || facts.Has(f.Message, crioTexts...) {
			return f.Evidence, true
		}
	}
	return v1alpha1.Evidence{}, false
}

func mismatch(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	kubelet, kubeletEvidence, known := kubeletDriver(h)
	outside := outsideOf(o)
	loud, isLoud := loudly(h)
	var wrong []v1alpha1.RuntimeHandler
	defaultWrong := false
	if known {
		wrong, defaultWrong = differing(o, kubelet)
	}
	script, hasScript := scripted(o)
	f := &v1alpha1.Finding{Certainty: v1alpha1.Certain}
	switch {
	case known && crioDiffers(o, kubelet):
		f.Cause = "driver-mismatch"
		f.Summary = fmt.Sprintf("the kubelet names cgroups for %s, CRI-O wants them for %s: no new pod can be created", kubelet, o.Runtime.CgroupDriver)
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceRuntimeConfig, "CRI-O says its cgroup driver is "+o.Runtime.CgroupDriver))
	case defaultWrong && kubelet == "cgroupfs":
		f.Cause = "driver-mismatch"
		f.Summary = "the kubelet names cgroups for cgroupfs, the runtime wants them for systemd: no new container can be created"
	case defaultWrong:
		f.Cause = "silent-mismatch"
		f.Summary = "the kubelet uses systemd's cgroups, the runtime cgroupfs: pods run, but outside their pod cgroup, so without its limits"
	case len(wrong) > 0:
		f.Cause = "handler-mismatch"
		f.Summary = fmt.Sprintf("runtime handler %s uses cgroup driver %s, the kubelet %s; it serves %s", wrong[0].Name, driver(wrong[0]), kubelet, strings.Join(users(o, wrong[0].Name), ", "))
	case len(outside) > 0:
		f.Cause = "silent-mismatch"
		f.Summary = runs(len(outside)) + " outside the kubelet's cgroups"
		if known {
			f.Summary += ", though kubelet and runtime name the same driver"
		}
	case isLoud && hasScript:
		f.Cause = "driver-mismatch"
		f.Summary = fmt.Sprintf("the kubelet names cgroups for %s, as the runtime is configured, but its program %s is a script that runs with the other driver: no new container can be created", cmp.Or(kubelet, "one driver"), script.Path)
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceFiles, fmt.Sprintf("%s: a script for %s, %d bytes", script.Path, cmp.Or(script.Script, "a shell"), script.SizeBytes)))
	case isLoud:
		f.Cause, f.Certainty = "driver-mismatch", v1alpha1.Likely
		f.Summary = "the runtime refuses the kubelet's names of cgroups"
		f.ToConfirm = "the kubelet's configz (cgroupDriver) and the runtime's running options (crictl info: SystemdCgroup)"
		if facts.Runtime(o).Name == facts.CRIO {
			f.ToConfirm = "the kubelet's configz (cgroupDriver) and CRI-O's running options (crio status config: cgroup_manager)"
		}
	default:
		return nil
	}
	if known {
		f.Evidence = append(f.Evidence, kubeletEvidence)
	}
	f.Evidence = append(f.Evidence, seenHandlers(o, wrong)...)
	if isLoud {
		f.Evidence = append(f.Evidence, loud)
	}
	f.Evidence = append(f.Evidence, seenOutside(o, outside)...)
	if !isLoud && len(outside) == 0 {
		hasScript = false // a script that does as it is told
	}
	f.Remedy, f.ManualAction = agree(h, kubelet, wrong, outside, script, hasScript)
	return f
}

// seenHandlers is what the runtime says of each handler's driver.
func seenHandlers(o *v1alpha1.Observation, handlers []v1alpha1.RuntimeHandler) (seen []v1alpha1.Evidence) {
	for _, r := range handlers {
		seen = append(seen, facts.Seen(o, v1alpha1.SourceStatus, fmt.Sprintf("handler %s runs with %s, so %s", r.Name, option(r), driver(r))))
	}
	return seen
}

// seenOutside is where the first two of the misplaced containers are.
func seenOutside(o *v1alpha1.Observation, outside []v1alpha1.ContainerUsage) (seen []v1alpha1.Evidence) {
	for _, c := range outside[:min(2, len(outside))] {
		seen = append(seen, facts.Seen(o, v1alpha1.SourceCgroups, fmt.Sprintf("container %s of pod %s/%s (pid %d) is in %s", c.Name, c.Namespace, c.Pod, c.PID, c.CgroupPath)))
	}
	return seen
}

// perQOS tells whether the kubelet puts pods into cgroups of its own at all.
func perQOS(o *v1alpha1.Observation) bool {
	if v, ok := facts.FlagValue(o, "cgroups-per-qos"); ok {
		return v != "false"
	}
	c, _ := facts.Config(o)
	return c.CgroupsPerQOS == nil || *c.CgroupsPerQOS
}

func runs(n int) string {
	if n == 1 {
		return "1 container runs"
	}
	return fmt.Sprintf("%d containers run", n)
}

func option(r v1alpha1.RuntimeHandler) string {
	if r.SystemdCgroup == nil {
		return "no SystemdCgroup option"
	}
	return fmt.Sprintf("SystemdCgroup=%v", *r.SystemdCgroup)
}

// agree makes all handlers use systemd, restarts containerd and then the kubelet, and has misplaced pods made again.
func agree(h v1alpha1.History, kubelet string, wrong []v1alpha1.RuntimeHandler, outside []v1alpha1.ContainerUsage, script v1alpha1.File, hasScript bool) (*v1alpha1.Remedy, string) {
	o := h.Last()
	rt := facts.Runtime(o)
	switch rt.Name {
	case facts.CRIO:
		return agreeCRIO(o, kubelet, outside, script, hasScript)
	case "", facts.Containerd:
	default:
		return nil, "set " + rt.Name + "'s cgroup manager (Docker: native.cgroupdriver in daemon.json) and the kubelet's cgroupDriver to systemd, restart both, and evict this node's pods"
	}
	if rt.Unit != "" && rt.Unit != "containerd" {
		return nil, rt.Unit + " writes containerd's configuration anew at every start: set SystemdCgroup in its template (config.toml.tmpl, or the options of " + rt.Unit + "), restart it, and evict this node's pods"
	}
	file := cmp.Or(o.Runtime.ConfigFile.Path, "/etc/containerd/config.toml")
	files := o.Runtime.ConfigFiles
	if len(files) == 0 {
		files = []string{file}
	}
	var steps []v1alpha1.Step
	names := toChange(o, wrong)
	for _, n := range names {
		steps = append(steps, setSystemdCgroup(o.Node, files, n))
	}
	if hasScript {
		steps = append(steps, unwrap(o, file, script)...)
	}
	mends := len(wrong) > 0 || len(names) > 0 || hasScript
	if kubelet == "cgroupfs" && !tellsDriver(o) {
		steps = append(steps, facts.SetKubeletConfig(o, "this containerd names no driver, so the kubelet goes by its configuration", "cgroupDriver", `"systemd"`))
	}
	if mends {
		steps = append(steps, restarts(o, kubelet)...)
	}
	steps = append(steps, remade(o, outside, mends)...)
	if len(steps) == 0 {
		return nil, "what starts containers outside is not seen: look at the runtime's binary, its base spec, and cgroupRoot of the kubelet; then evict the pods above"
	}
	return facts.Place(o).NewRemedy("agree-on-systemd", steps...), ""
}

// restarts have the kubelet ask the runtime again.
func restarts(o *v1alpha1.Observation, kubelet string) []v1alpha1.Step {
	restart := facts.RestartKubelet(o, "the kubelet asks the runtime for its driver once, at start")
	if kubelet != "systemd" { // or not known
		restart.Why += "; with another driver it makes all sandboxes of this node again"
		restart = detectors.Disrupts(restart)
	}
	return []v1alpha1.Step{facts.RestartRuntime(o, "the runtime first, so that the kubelet is told the right driver"), restart, detectors.WaitReady(o.Node)}
}

// toChange are the names of the handlers whose setting in the runtime's configuration has to become systemd.
func toChange(o *v1alpha1.Observation, wrong []v1alpha1.RuntimeHandler) (names []string) {
	inFile := o.Runtime.ConfigFile.Handlers
	for _, r := range append(slices.Clone(wrong), handlersOf(o)...) {
		i := slices.IndexFunc(inFile, func(f v1alpha1.RuntimeHandler) bool { return f.Name == r.Name })
		if i >= 0 && driver(inFile[i]) != "systemd" || i < 0 && len(inFile) == 0 && driver(r) != "systemd" {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// remade are the steps that have pods made again which run outside; mends tells that what starts them there is cured.
func remade(o *v1alpha1.Observation, outside []v1alpha1.ContainerUsage, mends bool) (steps []v1alpha1.Step) {
	seen := map[string]bool{}
	for _, c := range outside {
		key := c.Namespace + "/" + c.Pod
		// What started it outside would do so again, unless it was another process of the runtime.
		if u, _ := facts.RuntimeUnit(o); seen[key] || !mends && !slices.ContainsFunc(o.Runtime.Containers, func(r v1alpha1.Container) bool { return r.ID == c.ID && r.CreatedAt.Before(u.ActiveSince) }) {
			continue
		}
		seen[key] = true
		p := facts.Pod(o, c.Namespace, c.Pod)
		if kind, _, _ := owner(p); p != nil && kind != "Pod" && kind != "Node" {
			steps = append(steps, detectors.EvictPod(c.Namespace, c.Pod, "it runs outside its pod's cgroup: its owner makes it again, in the right one"))
			continue
		}
		for _, s := range o.Runtime.Sandboxes {
			if s.Namespace == c.Namespace && s.Name == c.Pod && s.Ready {
				steps = append(steps, facts.EndSandbox(o, s.ID, "the pod has no owner: end its sandbox, and the kubelet makes sandbox and containers again, in the right cgroup"))
			}
		}
	}
	return steps
}

func handlersOf(o *v1alpha1.Observation) []v1alpha1.RuntimeHandler {
	var out []v1alpha1.RuntimeHandler
	for _, r := range o.Runtime.Handlers {
		if r.Name == defaultHandler(o) {
			out = append(out, r)
		}
	}
	return out
}

// smallest is far below any OCI runtime's program (crun has 1.3 MB), for records that do not tell scripts.
const smallest = 512 << 10

// scripted is the OCI runtime program of the default handler where a script stands in its place: whatever the options say,
// the script decides what runc is told.
func scripted(o *v1alpha1.Observation) (v1alpha1.File, bool) {
	for _, r := range handlersOf(o) {
		for _, f := range o.Files {
			if r.RuntimePath != "" && f.Path == r.RuntimePath && (f.Script != "" || f.SizeBytes > 0 && f.SizeBytes < smallest) {
				return f, true
			}
		}
	}
	return v1alpha1.File{}, false
}

// unwrap brings the real program back: where the runtime's configuration names the script, that setting goes; where the script
// has runc's own place, runc comes back.
func unwrap(o *v1alpha1.Observation, file string, script v1alpha1.File) []v1alpha1.Step {
	for _, r := range handlersOf(o) {
		if r.BinaryName != "" {
			return []v1alpha1.Step{dropBinaryName(o.Node, file, r.BinaryName)}
		}
	}
	return []v1alpha1.Step{detectors.RestoreStep(o.Node, script.Path, fmt.Sprintf("a script of %d bytes stands in its place and passes another driver than configured", script.SizeBytes))}
}

// dropBinaryName takes a script out of the options of all handlers, and moves it aside where nothing names it any more. It fails
// where the file does not name it.
func dropBinaryName(node, file, script string) v1alpha1.Step {
	return detectors.EditFile(v1alpha1.Safe, node, "the runtime runs runc itself again: BinaryName names a script, which passes another driver than configured", []string{file, script}, `new=$(script="$2" awk '
BEGIN { q = "[\"\047]" }
$0 ~ "^[ \t]*BinaryName[ \t]*=[ \t]*" q {
  v = $0; sub("^[^=]*=[ \t]*" q, "", v)
  if (index(v, ENVIRON["script"]) == 1) { v = substr(v, length(ENVIRON["script"]) + 1); if (v ~ "^" q "[ \t]*(#.*)?$") { done = 1; next } }
}
{ print } END { exit !done }' "$1") || { echo "$1 does not name $2 as BinaryName: see its imports" >&2; exit 1; }
printf '%s' "$new${new:+
}" > "$1"
grep -qF -- "$2" "$1" || mv -fT -- "$2" "$2`+v1alpha1.Aside+`"`)
}

// setSystemdCgroup edits the options of one handler in the last of the runtime's merged files that has them: in place where the key is there, else a line
// below the table's head, else a table of its own at the end. It changes nothing, and fails, where the handler is in none of them
// or has its options in one line.
func setSystemdCgroup(node string, files []string, handler string) v1alpha1.Step {
	return detectors.EditFile(v1alpha1.Safe, node, "handler "+handler+" uses systemd's cgroups from the runtime's next start on", files, `f=$1 h=$(printf '%s\n' "$handler" | sed 's/[][\.*^$+?(){}|]/\\&/g')
for c; do if [ -f "$c" ] && grep -Eq '\.runtimes\.["'\'']?'"$h"'["'\'']?(\.options)?\]' "$c"; then f=$c; fi; done
new=$(h="$h" awk '
BEGIN { h = ENVIRON["h"]; head = "\\.runtimes\\.[\"\047]?" h "[\"\047]?\\.options\\]"; own = "\\.runtimes\\.[\"\047]?" h "[\"\047]?\\]" }
function close_table() { if (inside && !set) { print "    SystemdCgroup = true"; set = 1 } }
/^[ \t]*\[/ { if (inside) close_table(); inside = ($0 ~ head); if (inside) found = 1; mine = ($0 ~ own); if (mine) base = $0 }
mine && /^[ \t]*options[ \t]*[.=]/ { oneline = 1 }
inside && /^[ \t]*SystemdCgroup[ \t]*=/ { sub(/=.*/, "= true"); set = 1 }
{ print }
END {
  close_table()
  if (!found && base != "" && !oneline) { sub(/\].*$/, ".options]", base); print base; print "    SystemdCgroup = true"; set = 1 }
  exit !set
}' "$f") || { echo "$f has no table of handler $handler to set SystemdCgroup in: see its imports, and set it by hand" >&2; exit 1; }
printf '%s\n' "$new" > "$f"`, detectors.V("handler", handler))
}

func owner(p *corev1.Pod) (kind, apiVersion, name string) {
	if p == nil {
		return "Pod", "v1", ""
	}
	if facts.Static(p) {
		return "Node", "v1", p.Spec.NodeName
	}
	return facts.Owner(p)
}
