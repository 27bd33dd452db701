// Package securitydenial tells that a security profile keeps a container from running.
//
// Denials in the kernel log are common and harmless, and the log is shared by all nodes of one kernel: a container of this
// node must fail now, be confined by the profile, and the denial be its own.
package securitydenial

import (
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
	detectors.Register(detectors.Detector{Failure: "security-denial", Needs: []string{v1alpha1.SourceAPI}, Judge: judge})
}

// fresh: a container in back-off speaks again within five minutes.
const fresh = 7 * time.Minute

// judge looks at each container that does not run.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	found := facts.EachContainer(h, missing, seccomp, apparmor, selinux)
	if len(found) == 0 {
		found = unloaded(h)
	}
	return slices.Concat(found, noParser(h), turnedAway(h.Last()))
}

// unloaded: the kernel does not have the runtime's own AppArmor profile any more. That is the node's.
func unloaded(h v1alpha1.History) []v1alpha1.Finding {
	for _, f := range facts.CreateFailures(h) {
		if !strings.Contains(f.Message, words.AppArmorNotApplied) {
			continue
		}
		return []v1alpha1.Finding{{
			Cause: "apparmor-denied", Certainty: v1alpha1.Certain, Object: &v1alpha1.ObjectRef{Kind: "Pod", Namespace: f.Namespace, Name: f.Pod}, Evidence: []v1alpha1.Evidence{f.Evidence},
			Summary:      "the kernel of this node does not have the AppArmor profile that the runtime confines containers by, and no such container can be started",
			ManualAction: "see `aa-status` on the node: somebody unloaded the profiles (aa-teardown, a restart of apparmor.service); a restart of the runtime loads its own again",
		}}
	}
	return nil
}

// turnedAway are the pods that the kubelet rejected lately for a profile that this node cannot give them.
func turnedAway(o *v1alpha1.Observation) (out []v1alpha1.Finding) {
	if o.API == nil {
		return nil
	}
	seen := map[string]bool{}
	for i := range o.API.Pods {
		p := &o.API.Pods[i]
		if p.Status.Phase != corev1.PodFailed || p.DeletionTimestamp != nil || !strings.Contains(p.Status.Message, words.CannotEnforceAppArmor) || seen[facts.GroupKey(p)] || facts.APINow(o).Sub(p.CreationTimestamp.Time) > 10*time.Minute {
			continue
		}
		seen[facts.GroupKey(p)] = true
		out = append(out, v1alpha1.Finding{
			Cause: "apparmor-denied", Certainty: v1alpha1.Certain, Object: facts.PodRef(p), Evidence: []v1alpha1.Evidence{facts.Seen(o, "api.pods", p.Status.Reason+": "+p.Status.Message)},
			Summary:      fmt.Sprintf("pod %s/%s asks for an AppArmor profile that cannot be applied on this node: %s", p.Namespace, p.Name, facts.Short(p.Status.Message)),
			ManualAction: "load the profile on the node (apparmor_parser -r), or keep the pod on nodes that have it; where AppArmor is off, it is turned on by the kernel's command line (apparmor=1, and apparmor in lsm=); the rejected pod stays Failed",
		})
	}
	return out
}

// noParser: the kernel has AppArmor on, and the runtime cannot load its own profile for want of the program that does. That is the node's,
// so it is one finding for all of its pods.
func noParser(h v1alpha1.History) []v1alpha1.Finding {
	for _, f := range facts.CreateFailures(h) {
		if !strings.Contains(f.Message, words.AppArmorParser) || !facts.Has(f.Message, words.ExecutableFileNotFound, words.NoSuchFileOrDirectory, "permission denied", "exit status") {
			continue
		}
		return []v1alpha1.Finding{{
			Cause: "apparmor-denied", Certainty: v1alpha1.Certain, Object: &v1alpha1.ObjectRef{Kind: "Pod", Namespace: f.Namespace, Name: f.Pod}, Evidence: []v1alpha1.Evidence{f.Evidence},
			Summary:      "the runtime cannot load its AppArmor profile: " + words.AppArmorParser + " is not there or does not run, and no container with a profile can be created",
			ManualAction: "install the package that has " + words.AppArmorParser + " (apparmor) where the runtime's PATH leads, or turn AppArmor off (apparmor=0 for the kernel), then restart the runtime: it looks once",
		}}
	}
	return nil
}

// seccompOf is the seccomp profile of a container, its pod's where it has none of its own.
func seccompOf(c facts.ContainerOf) *corev1.SeccompProfile {
	if sc := c.Spec.SecurityContext; sc != nil && sc.SeccompProfile != nil {
		return sc.SeccompProfile
	}
	if sc := c.Pod.Spec.SecurityContext; sc != nil {
		return sc.SeccompProfile
	}
	return nil
}

// profile is the Localhost seccomp profile of a container.
func profile(c facts.ContainerOf) (string, bool) {
	s := seccompOf(c)
	if s == nil || s.Type != corev1.SeccompProfileTypeLocalhost || s.LocalhostProfile == nil {
		return "", false
	}
	return *s.LocalhostProfile, true
}

// byDefault tells that the runtime's own profile confines the container: asked for, or seccompDefault's.
func byDefault(o *v1alpha1.Observation, c facts.ContainerOf) bool {
	if sc := c.Spec.SecurityContext; sc != nil && sc.Privileged != nil && *sc.Privileged {
		return false
	}
	if s := seccompOf(c); s != nil {
		return s.Type == corev1.SeccompProfileTypeRuntimeDefault
	}
	return o.Kubelet.Config.SeccompDefault != nil && *o.Kubelet.Config.SeccompDefault
}

// confine is a patch that gives a container, or its pod where it has no profile of its own, another profile.
func confine(c facts.ContainerOf, own bool, value map[string]any) map[string]any {
	switch patch := map[string]any{"name": c.Spec.Name, "securityContext": value}; {
	case !own:
		return map[string]any{"securityContext": value}
	case c.Init:
		return map[string]any{"initContainers": []any{patch}}
	default:
		return map[string]any{"containers": []any{patch}}
	}
}

// runtimeDefault moves a container from its own profile to the runtime's.
func runtimeDefault(o *v1alpha1.Observation, c facts.ContainerOf, name string) (*v1alpha1.Remedy, string) {
	why := "the runtime's default profile instead: it denies less than the one in the way, and still what no application needs; whoever wrote the profile should correct it"
	own := c.Spec.SecurityContext != nil && c.Spec.SecurityContext.SeccompProfile != nil
	// In a patch the profile's name has to go with its type: the API refuses one without the other.
	value := map[string]any{"seccompProfile": map[string]any{"type": "RuntimeDefault", "localhostProfile": nil}}
	patch := confine(c, own, value)
	steps, reason, ok := facts.ChangePod(c.Pod, why, patch)
	if !ok {
		return nil, reason
	}
	return facts.Place(o).NewRemedy(name, steps...), ""
}

// saysMissing is what the waiting container, or an event of its pod, says of a profile that cannot be had.
func saysMissing(o *v1alpha1.Observation, c facts.ContainerOf) (said v1alpha1.Evidence, yes bool) {
	w := c.Status.State.Waiting
	if w == nil {
		return said, false
	}
	if facts.Has(w.Message, words.CannotLoadSeccomp, words.FailedToGenerateSeccompSpecOpts, "seccomp") && facts.Has(w.Message, "no such file", "cannot load", "not found") {
		return facts.Seen(o, "api.pods", c.Where()+" "+w.Reason+": "+w.Message), true
	}
	for _, e := range facts.Events(o, "Pod", c.Pod.Namespace, c.Pod.Name, fresh, "Failed", "FailedCreatePodSandBox") {
		if strings.Contains(e.Message, "seccomp") {
			return facts.FromEvent(&e), true
		}
	}
	return said, false
}

// missing: the profile the pod names is not on the node.
func missing(h v1alpha1.History, c facts.ContainerOf) *v1alpha1.Finding {
	o := h.Last()
	name, ok := profile(c)
	if !ok || c.Status.State.Running != nil {
		return nil
	}
	_, unread := o.Unreadable(v1alpha1.SourceSecurity)
	there := slices.ContainsFunc(o.Security.SeccompProfiles, func(p string) bool {
		return strings.TrimPrefix(p, "/var/lib/kubelet/seccomp/") == strings.TrimPrefix(name, "/")
	})
	said, saying := saysMissing(o, c)
	w := c.Status.State.Waiting
	unfit := facts.Has(said.Text, words.InitSeccomp)
	there = there || unfit
	if there && !strings.Contains(said.Text, "cannot load") && !unfit || strings.Contains(said.Text, "errno 524") ||
		!saying && (unread || w == nil || !slices.Contains([]string{"CreateContainerError", "CreateContainerConfigError", "RunContainerError"}, w.Reason)) {
		return nil
	}
	f := &v1alpha1.Finding{Cause: "seccomp-profile-missing", Certainty: v1alpha1.Certain,
		Summary: fmt.Sprintf("%s names the seccomp profile %s, which is not on this node", c.Where(), name)}
	if there {
		f.Summary = fmt.Sprintf("%s names the seccomp profile %s, which the runtime cannot load", c.Where(), name)
	}
	if unfit {
		f.Summary = fmt.Sprintf("%s names the seccomp profile %s, of which the runtime cannot make a filter", c.Where(), name)
	}
	if saying {
		f.Evidence = append(f.Evidence, said)
	}
	if !unread {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceSecurity, "profiles below /var/lib/kubelet/seccomp: "+list(o.Security.SeccompProfiles)))
	}
	f.Remedy, f.ManualAction = runtimeDefault(o, c, "use-default-profile")
	return f
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

const sigsys = 128 + 31

var auditPID = regexp.MustCompile(`\bpid=(\d+)`)
var auditCall = regexp.MustCompile(`\bsyscall=(\d+)`)

// errnos are errors of calls that a filter let through.
var errnos = []string{"permission denied", words.NoSuchFileOrDirectory, words.ConnectionRefused, "no route to host", "no such host", "i/o timeout", "connection timed out", "address already in use", words.NoSpaceLeftOnDevice, "read-only file system"}

// seccomp: the container dies of a denied call, or fails under a profile of its own.
func seccomp(h v1alpha1.History, c facts.ContainerOf) *v1alpha1.Finding {
	o := h.Last()
	name, ok := profile(c)
	if !failing(c, o) {
		return nil
	}
	if !ok {
		return deniedByDefault(h, c)
	}
	t := facts.LastEnd(c)
	if t == nil {
		// It may not even start: the profile denies what runc itself needs.
		if w := c.Status.State.Waiting; w != nil && facts.Has(w.Message, words.OperationNotPermitted, "seccomp", "bad system call") {
			f := denied(c, name)
			f.Evidence = append(f.Evidence, facts.Seen(o, "api.pods", c.Where()+" "+w.Reason+": "+w.Message))
			f.Remedy, f.ManualAction = runtimeDefault(o, c, "use-default-profile")
			return f
		}
		return nil
	}
	f := denied(c, name)
	end := facts.Seen(o, "api.pods", fmt.Sprintf("%s ended with exit code %d (%s) %s; %d restarts", c.Where(), t.ExitCode, t.Reason, facts.Short(t.Message), c.Status.RestartCount))
	audit, logged := auditLine(h, c)
	switch {
	case t.ExitCode == sigsys || t.Signal == 31:
		end.Text += " (159 = 128 + SIGSYS: a system call was denied)"
	case logged:
	// A filter answers EPERM or ENOSYS unless its profile says otherwise; EACCES ("permission denied") is a matter of files.
	case facts.Has(strings.ToLower(t.Message), words.OperationNotPermitted, "eperm", "function not implemented", "bad system call"):
	case facts.Has(strings.ToLower(waitMessage(c)), words.OperationNotPermitted):
	case facts.Has(t.Message, errnos...): // what it ended with is another error of a call, and no filter's
		return nil
	case t.Reason == "StartError": // the runtime says what it was, and it is no call of the application's
		return nil
	case t.ExitCode == 0 || t.Reason == "OOMKilled" || t.ExitCode == 137 || t.ExitCode == 143:
		return nil
	default:
		f.Certainty = v1alpha1.Likely
		f.ToConfirm = "run the same container with seccompProfile RuntimeDefault: if it runs, the profile is the cause; its log (`kubectl logs --previous`) says which call failed"
	}
	f.Evidence = append(f.Evidence, end)
	if logged {
		f.Evidence = append(f.Evidence, facts.FromLine(audit))
		if m := auditCall.FindStringSubmatch(audit.Text); m != nil {
			f.Summary += " (system call " + m[1] + ")"
		}
	}
	f.Remedy, f.ManualAction = runtimeDefault(o, c, "use-default-profile")
	return f
}

// deniedByDefault: the runtime's default profile answers with an error where it denies, so a SIGSYS, or a record of one, may be of a filter
// that the application has set itself.
func deniedByDefault(h v1alpha1.History, c facts.ContainerOf) *v1alpha1.Finding {
	o := h.Last()
	t := facts.LastEnd(c)
	audit, logged := auditLine(h, c)
	if t == nil || !byDefault(o, c) || t.ExitCode != sigsys && t.Signal != 31 && !logged {
		return nil
	}
	f := &v1alpha1.Finding{Cause: "seccomp-denied", Certainty: v1alpha1.Likely,
		Summary:   fmt.Sprintf("the runtime's default seccomp profile denies %s a system call it needs", c.Where()),
		ToConfirm: "whether the filter is the runtime's or one that the application sets itself: its log (`kubectl logs --previous`)",
		Evidence:  []v1alpha1.Evidence{facts.Seen(o, "api.pods", fmt.Sprintf("%s ended with exit code %d; %d restarts", c.Where(), t.ExitCode, c.Status.RestartCount))},
		ManualAction: "have the application do without the call, or give it a Localhost profile that allows that one as well; " +
			"Unconfined is for its owner to answer for"}
	if logged {
		f.Evidence = append(f.Evidence, facts.FromLine(audit))
	}
	return f
}

func denied(c facts.ContainerOf, name string) *v1alpha1.Finding {
	return &v1alpha1.Finding{Cause: "seccomp-denied", Certainty: v1alpha1.Certain,
		Summary: fmt.Sprintf("the seccomp profile %s denies %s a system call it needs", name, c.Where())}
}

func waitMessage(c facts.ContainerOf) string {
	if w := c.Status.State.Waiting; w != nil {
		return w.Message
	}
	return ""
}

// failing: it ends with an error again and again, or cannot be started.
func failing(c facts.ContainerOf, o *v1alpha1.Observation) bool {
	if facts.CrashLooping(c) {
		return true
	}
	if w := c.Status.State.Waiting; w != nil && slices.Contains([]string{"RunContainerError", "CreateContainerError", "StartError"}, w.Reason) {
		return true
	}
	t := c.Status.LastTerminationState.Terminated
	r := c.Status.State.Running
	// It runs for a moment between two ends.
	return t != nil && t.ExitCode != 0 && c.Status.RestartCount >= 2 && r != nil && facts.APINow(o).Sub(r.StartedAt.Time) < 30*time.Second && facts.APINow(o).Sub(t.FinishedAt.Time) < fresh
}

// pidsOf are the processes of the container that any look saw.
func pidsOf(h v1alpha1.History, c facts.ContainerOf) map[string]bool {
	pids := map[string]bool{}
	for i := range h {
		for _, u := range h[i].Containers {
			if u.Namespace == c.Pod.Namespace && u.Pod == c.Pod.Name && u.Name == c.Spec.Name && u.PID > 0 {
				pids[fmt.Sprint(u.PID)] = true
			}
		}
	}
	return pids
}

// auditLine is the kernel's record of a denied call by this container: its process id was seen, or the time is that of its end.
func auditLine(h v1alpha1.History, c facts.ContainerOf) (v1alpha1.LogLine, bool) {
	pids := pidsOf(h, c)
	id := c.Status.ContainerID[strings.LastIndex(c.Status.ContainerID, "/")+1:]
	for _, l := range slices.Backward(facts.Lines(h, "kernel", fresh)) {
		// The kernel's log gives a record's number, auditd and journald its name.
		if !facts.Has(l.Text, "type=1326", "type=SECCOMP", "SECCOMP auid=") {
			continue
		}
		m := auditPID.FindStringSubmatch(l.Text)
		t := facts.LastEnd(c)
		if m != nil && pids[m[1]] || t != nil && t.ExitCode == sigsys && recorded(l).Sub(t.FinishedAt.Time).Abs() < 2*time.Second || id != "" && strings.Contains(l.Text, id) {
			return l, true
		}
	}
	return v1alpha1.LogLine{}, false
}

var auditStamp = regexp.MustCompile(`audit\((\d{9,})\.(\d{3}):\d+\)`)

// recorded is when an audit record was made, by its own stamp: it is of the system's clock, the kernel log's drifts.
func recorded(l v1alpha1.LogLine) time.Time {
	if m := auditStamp.FindStringSubmatch(l.Text); m != nil {
		if ms, err := strconv.ParseInt(m[1]+m[2], 10, 64); err == nil {
			return time.UnixMilli(ms)
		}
	}
	return l.At
}

// label is what confines the container, as the kernel names it.
func label(h v1alpha1.History, c facts.ContainerOf) string {
	for i := len(h) - 1; i >= 0; i-- {
		for _, u := range h[i].Containers {
			if u.Namespace == c.Pod.Namespace && u.Pod == c.Pod.Name && u.Name == c.Spec.Name && u.LSMLabel != "" {
				l, _, _ := strings.Cut(u.LSMLabel, " (")
				return l
			}
		}
	}
	return ""
}

// apparmorProfile is the Localhost AppArmor profile of the container.
func apparmorProfile(c facts.ContainerOf) string {
	var a *corev1.AppArmorProfile
	if sc := c.Pod.Spec.SecurityContext; sc != nil {
		a = sc.AppArmorProfile
	}
	if sc := c.Spec.SecurityContext; sc != nil && sc.AppArmorProfile != nil {
		a = sc.AppArmorProfile
	}
	if a == nil { // before 1.30 it was an annotation
		name, _ := strings.CutPrefix(c.Pod.Annotations[corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix+c.Spec.Name], corev1.DeprecatedAppArmorBetaProfileNamePrefix)
		return name
	}
	if a.Type != corev1.AppArmorProfileTypeLocalhost || a.LocalhostProfile == nil {
		return ""
	}
	return *a.LocalhostProfile
}

// itsOwn tells that an audit record is of a process of the container that was seen, or of the moment of its end.
func itsOwn(h v1alpha1.History, c facts.ContainerOf, l v1alpha1.LogLine) bool {
	m := auditPID.FindStringSubmatch(l.Text)
	t := facts.LastEnd(c)
	return m != nil && pidsOf(h, c)[m[1]] || t != nil && recorded(l).Sub(t.FinishedAt.Time).Abs() < 2*time.Second
}

// deniedBy is the kernel's last record of a denial by the profile. The runtime's own confines nearly every container: there only a record
// of this one's process, or of its end, is its own.
func deniedBy(h v1alpha1.History, c facts.ContainerOf, profile string) (v1alpha1.LogLine, bool) {
	for _, l := range slices.Backward(facts.Lines(h, "kernel", fresh)) {
		if strings.Contains(l.Text, `apparmor="DENIED"`) && strings.Contains(l.Text, `profile="`+profile+`"`) && (apparmorProfile(c) != "" || itsOwn(h, c, l)) {
			return l, true
		}
	}
	return v1alpha1.LogLine{}, false
}

func apparmor(h v1alpha1.History, c facts.ContainerOf) *v1alpha1.Finding {
	o := h.Last()
	name := apparmorProfile(c)
	if !o.Security.AppArmor || name == "" && label(h, c) == "" {
		return nil
	}
	said := waitMessage(c)
	if t := facts.LastEnd(c); t != nil && (said == "" || facts.CrashLooping(c)) {
		said = t.Message
	}
	unable := facts.Has(said, words.AppArmorNotFound, words.AppArmorNotApplied, "not loaded", "write /proc/self/attr/apparmor/exec")
	if !failing(c, o) && !unable {
		return nil
	}
	if name == "" {
		name = label(h, c)
	}
	line, found := deniedBy(h, c, name)
	if !found && !unable {
		return nil
	}
	f := &v1alpha1.Finding{Cause: "apparmor-denied", Certainty: v1alpha1.Certain,
		Summary: fmt.Sprintf("the AppArmor profile %s denies %s an access it needs", name, c.Where())}
	if unable {
		f.Summary = fmt.Sprintf("the AppArmor profile %s of %s cannot be applied on this node", name, c.Where())
		f.Evidence = append(f.Evidence, facts.Seen(o, "api.pods", said))
	}
	if found {
		f.Evidence = append(f.Evidence, facts.FromLine(line))
	}
	if t := facts.LastEnd(c); t != nil {
		f.Evidence = append(f.Evidence, facts.Seen(o, "api.pods", fmt.Sprintf("%s ended with exit code %d; %d restarts", c.Where(), t.ExitCode, c.Status.RestartCount)))
	}
	if apparmorProfile(c) == "" {
		f.ManualAction = "the profile is the runtime's own: have the application do without the access, or give it a profile that allows it"
		return f
	}
	if _, annotated := c.Pod.Annotations[corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix+c.Spec.Name]; annotated {
		f.ManualAction = "the pod names the profile by an annotation: correct the profile, or the annotation in the pod's template"
		return f
	}
	value := map[string]any{"appArmorProfile": map[string]any{"type": "RuntimeDefault", "localhostProfile": nil}}
	patch := confine(c, c.Spec.SecurityContext != nil && c.Spec.SecurityContext.AppArmorProfile != nil, value)
	steps, reason, ok := facts.ChangePod(c.Pod, "the runtime's default profile instead; whoever wrote the profile should correct it", patch)
	if !ok {
		f.ManualAction = reason
		return f
	}
	f.Remedy = facts.Place(o).NewRemedy("use-default-profile", steps...)
	return f
}

var avcContext = regexp.MustCompile(`scontext=(\S+)`)
var avcPath = regexp.MustCompile(`\bpath="([^"]+)"`)

// volumeDirs are where a container-aware policy labels files for containers.
var volumeDirs = []string{"/var/lib/kubelet/pods/", "/var/local-path-provisioner/", "/opt/local-path-provisioner/"}

// onNode is the node's path of a file that the kernel names as the container sees it, "" where it is no volume of the pod or
// lies where the policy has no label for containers.
func onNode(c facts.ContainerOf, inside string) string {
	if strings.Contains(inside, "..") {
		return ""
	}
	host := ""
	best := 0
	for _, m := range c.Spec.VolumeMounts {
		rest, ok := strings.CutPrefix(inside, strings.TrimRight(m.MountPath, "/"))
		if !ok || rest != "" && rest[0] != '/' || len(m.MountPath) < best {
			continue
		}
		for _, v := range c.Pod.Spec.Volumes {
			if v.Name == m.Name && v.HostPath != nil && !strings.Contains(v.HostPath.Path+m.SubPath, "..") {
				host, best = path.Join(v.HostPath.Path, m.SubPath, rest), len(m.MountPath)
			}
		}
	}
	if host == "" {
		host = path.Clean(inside) // the kernel may name it as the node does
	}
	if slices.ContainsFunc(volumeDirs, func(d string) bool { return strings.HasPrefix(host, d) }) {
		return host
	}
	return ""
}

func selinux(h v1alpha1.History, c facts.ContainerOf) *v1alpha1.Finding {
	o := h.Last()
	if o.Security.SELinux != "enforcing" || !failing(c, o) {
		return nil
	}
	own := label(h, c)
	for _, l := range slices.Backward(facts.Lines(h, "kernel", fresh)) {
		if !strings.Contains(l.Text, "avc:") || !strings.Contains(l.Text, "denied") {
			continue
		}
		m := avcContext.FindStringSubmatch(l.Text)
		if m == nil || own != "" && m[1] != own || own == "" && !strings.Contains(m[1], ":container_t:") {
			continue
		}
		f := &v1alpha1.Finding{Cause: "selinux-denied", Certainty: v1alpha1.Certain, Evidence: []v1alpha1.Evidence{facts.FromLine(l)},
			Summary: fmt.Sprintf("the SELinux policy denies %s an access it needs", c.Where())}
		if own == "" {
			f.Certainty, f.ToConfirm = v1alpha1.Likely, "whether the denial is this container's: `ausearch -m avc -ts recent` and the container's label"
		}
		f.ManualAction = "label what it needs (restorecon, chcon -t container_file_t, or seLinuxOptions of the pod): which, is for the policy's owner to say"
		if p := avcPath.FindStringSubmatch(l.Text); p != nil {
			// Only what belongs to volumes has a label of the policy's that containers may read; nobody relabels the rest of a node.
			if host := onNode(c, p[1]); host != "" {
				f.Evidence = append(f.Evidence, facts.Seen(o, "api.pods", fmt.Sprintf("%s in the container is %s on the node", p[1], host)))
				f.Remedy = facts.Place(o).NewRemedy("restore-labels", detectors.Destructive(detectors.NodeStep(v1alpha1.Destructive, o.Node, "give the volume the label that the policy has for it", "restorecon", "-R", host), "the labels that the volume has now are not kept"))
			}
		}
		return f
	}
	return nil
}
