package facts

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/words"
)

// Pods are the pods of this node that are meant to run: neither finished nor being deleted.
func Pods(o *v1alpha1.Observation) []*corev1.Pod {
	if o.API == nil {
		return nil
	}
	var out []*corev1.Pod
	for i := range o.API.Pods {
		p := &o.API.Pods[i]
		if p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			out = append(out, p)
		}
	}
	return out
}

// Pod finds a pod of this node by name, whatever its phase.
func Pod(o *v1alpha1.Observation, namespace, name string) *corev1.Pod {
	if o.API == nil {
		return nil
	}
	for i := range o.API.Pods {
		if p := &o.API.Pods[i]; p.Name == name && p.Namespace == namespace {
			return p
		}
	}
	return nil
}

// ContainerOf is one container of a pod with its status, init containers included.
type ContainerOf struct {
	Pod    *corev1.Pod
	Spec   *corev1.Container
	Status *corev1.ContainerStatus
	Init   bool
}

// Containers are the containers of a pod that have a status.
func Containers(p *corev1.Pod) []ContainerOf {
	var out []ContainerOf
	add := func(specs []corev1.Container, statuses []corev1.ContainerStatus, init bool) {
		for i := range statuses {
			for j := range specs {
				if specs[j].Name == statuses[i].Name {
					out = append(out, ContainerOf{p, &specs[j], &statuses[i], init})
				}
			}
		}
	}
	add(p.Spec.InitContainers, p.Status.InitContainerStatuses, true)
	add(p.Spec.Containers, p.Status.ContainerStatuses, false)
	return out
}

// Waiting are the containers of this node that wait for one of the reasons now.
func Waiting(o *v1alpha1.Observation, reasons ...string) []ContainerOf {
	var out []ContainerOf
	for _, p := range Pods(o) {
		for _, c := range Containers(p) {
			if w := c.Status.State.Waiting; w != nil && slices.Contains(reasons, w.Reason) {
				out = append(out, c)
			}
		}
	}
	return out
}

// PodRef names a pod.
func PodRef(p *corev1.Pod) *v1alpha1.ObjectRef {
	return &v1alpha1.ObjectRef{Kind: "Pod", Namespace: p.Namespace, Name: p.Name}
}

// Where names a container for a person.
func (c ContainerOf) Where() string {
	return fmt.Sprintf("container %s of pod %s/%s", c.Spec.Name, c.Pod.Namespace, c.Pod.Name)
}

// CreateFailure is a sandbox or container that could not be made, and that still does not run.
type CreateFailure struct {
	Namespace, Pod string
	Message        string
	At             time.Time
	Evidence       v1alpha1.Evidence
	Container      bool // the sandbox runs, a container of it could not be started
}

var podInLine = regexp.MustCompile(`pod="([^"/]+)/([^"]+)"`)

// The kubelet retries a sandbox about every 10s to 15s, and says so in its log: within 90s a fault that still holds has spoken again.
const createFresh = 90 * time.Second

// After the first 25 the kubelet may send an event of a pod once in five minutes only (client-go's tools/record/events_cache.go): while
// the pod still waits, one as old as that still holds.
const createRationed = 10 * time.Minute

// CreateFailures are the sandboxes and containers that could not be made lately and still do not run, newest first, one per pod.
func CreateFailures(h v1alpha1.History) []CreateFailure {
	o := h.Last()
	var all []CreateFailure
	for _, e := range Events(o, "Pod", "", "", createRationed, "FailedCreatePodSandBox", "FailedCreatePodContainer", "Failed", "FailedCreatePodSandbox") {
		if message := strings.TrimPrefix(e.Message, combined); e.Reason == "Failed" && !strings.HasPrefix(message, "Error:") && !strings.HasPrefix(message, words.MakingPodDataDirectories) ||
			APINow(o).Sub(EventTime(&e)) > createFresh && (EventCount(&e) < 2 || !stillWaits(o, &e)) {
			continue
		}
		all = append(all, CreateFailure{e.InvolvedObject.Namespace, e.InvolvedObject.Name, e.Message, EventTime(&e),
			v1alpha1.Evidence{Source: "api.events", At: EventTime(&e), Text: e.Reason + ": " + e.Message}, e.Reason == "Failed" && !strings.Contains(e.Message, words.MakingPodDataDirectories)})
	}
	for _, c := range Waiting(o, "CreateContainerError", "RunContainerError", "CreateContainerConfigError", "StartError") {
		all = append(all, CreateFailure{c.Pod.Namespace, c.Pod.Name, c.Status.State.Waiting.Message, o.At,
			v1alpha1.Evidence{Source: "api.pods", At: o.At, Text: c.Where() + " " + c.Status.State.Waiting.Reason + ": " + c.Status.State.Waiting.Message}, true})
	}
	ofSandbox := func(text string) bool {
		return Has(text, words.CreatePodSandboxForPodFailed, words.FailedToCreateSandboxForPod, words.FailedToCreatePodSandbox, "error determining status", words.UnableToMakePodDataDirectories)
	}
	ofContainer := func(text string) bool {
		return Has(text, "StartContainer\" for", "RunContainerError", "CreateContainerError")
	}
	for _, l := range linesThat(h, "kubelet", createFresh, func(text string) bool {
		return strings.Contains(text, `pod="`) && (ofSandbox(text) || ofContainer(text))
	}) {
		m := podInLine.FindStringSubmatch(l.Text)
		if m == nil {
			continue
		}
		all = append(all, CreateFailure{m[1], m[2], l.Text, l.At, v1alpha1.Evidence{Source: "journal/" + l.Source, At: l.At, Text: l.Text}, !ofSandbox(l.Text)})
	}
	slices.SortStableFunc(all, func(a, b CreateFailure) int { return b.At.Compare(a.At) })
	var out []CreateFailure
	for _, f := range all {
		if slices.ContainsFunc(out, func(g CreateFailure) bool { return g.Namespace == f.Namespace && g.Pod == f.Pod }) || over(o, f) {
			continue
		}
		f.Evidence.Text = Short(f.Evidence.Text) // of those that are told alone
		out = append(out, f)
	}
	return out
}

// statusLag is how long a pod's status may not tell yet what an event has told: the kubelet writes it when it starts the pod the next
// time, 10 to 15 seconds after the failed pull (kubelet pkg/kubelet/pod_workers.go, completeWork), later on a busy node.
const statusLag = 90 * time.Second

// Unpulled are the containers that wait for an image that could not be pulled.
func Unpulled(o *v1alpha1.Observation) []ContainerOf {
	return append(Waiting(o, "ErrImagePull", "ImagePullBackOff"), justFailed(o)...)
}

// justFailed are the containers of which an event tells that the pull has failed and the status does not yet, each with what it will tell.
func justFailed(o *v1alpha1.Observation) []ContainerOf {
	var out []ContainerOf
	for _, w := range Waiting(o, "ContainerCreating", "PodInitializing") {
		for _, e := range Events(o, "Pod", w.Pod.Namespace, w.Pod.Name, statusLag, "Failed", "Pulled") {
			if !ofContainer(&e, w) {
				continue
			}
			if strings.HasPrefix(e.Message, words.FailedToPullImage) {
				status := *w.Status
				status.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: e.Message}
				w.Status = &status
				out = append(out, w)
			}
			break
		}
	}
	return out
}

// ofContainer tells whether an event of a pod is about this container of it.
func ofContainer(e *corev1.Event, w ContainerOf) bool {
	return (e.InvolvedObject.UID == "" || e.InvolvedObject.UID == w.Pod.UID) &&
		(e.InvolvedObject.FieldPath == "" || strings.Contains(e.InvolvedObject.FieldPath, "{"+w.Spec.Name+"}"))
}

// PullFailures are the images that pods wait for, as what the runtime said of their pulls, one a container.
func PullFailures(o *v1alpha1.Observation) []CreateFailure {
	var out []CreateFailure
	for _, c := range Unpulled(o) {
		w := c.Status.State.Waiting
		f := CreateFailure{c.Pod.Namespace, c.Pod.Name, w.Message, o.At, Seen(o, "api.pods", c.Where()+" "+w.Reason+": "+w.Message), true}
		for _, e := range Events(o, "Pod", f.Namespace, f.Pod, createRationed, "Failed") {
			if strings.HasPrefix(strings.TrimPrefix(e.Message, combined), words.FailedToPullImage) && strings.Contains(e.Message, c.Spec.Image) {
				f.Message, f.At, f.Evidence = e.Message, EventTime(&e), FromEvent(&e)
				break
			}
		}
		out = append(out, f)
	}
	return out
}

// combined begins the message of an event that client-go made of ten alike.
const combined = "(combined from similar events): "

// stillWaits tells that the pod of an event has not got what the event says failed.
func stillWaits(o *v1alpha1.Observation, e *corev1.Event) bool {
	p := Pod(o, e.InvolvedObject.Namespace, e.InvolvedObject.Name)
	return p != nil && (e.InvolvedObject.UID == "" || e.InvolvedObject.UID == p.UID) && slices.ContainsFunc(Containers(p), func(c ContainerOf) bool { return c.Status.State.Waiting != nil }) &&
		len(Events(o, "Pod", p.Namespace, p.Name, APINow(o).Sub(EventTime(e)), "Started", "Created", "Pulled")) == 0
}

// over tells that what could not be made has been made since, or is not wanted any more.
func over(o *v1alpha1.Observation, f CreateFailure) bool {
	if p := Pod(o, f.Namespace, f.Pod); p != nil {
		if p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			return true
		}
		waiting, known := false, false
		for _, c := range Containers(p) {
			known = true
			waiting = waiting || c.Status.State.Waiting != nil || restarts(p, c.Status.State.Terminated)
		}
		if known && !waiting {
			return true
		}
	} else if o.API != nil {
		return true // deleted
	}
	if _, unread := o.Unreadable(v1alpha1.SourceSandboxes); unread || f.Container {
		return false
	}
	return slices.ContainsFunc(o.Runtime.Sandboxes, func(s v1alpha1.Sandbox) bool {
		return s.Namespace == f.Namespace && s.Name == f.Pod && s.Ready && s.CreatedAt.After(f.At)
	})
}

// restarts tells that a container has ended and the kubelet has to start it again: it cannot while the sandbox cannot be made.
func restarts(p *corev1.Pod, ended *corev1.ContainerStateTerminated) bool {
	return ended != nil && (p.Spec.RestartPolicy == corev1.RestartPolicyAlways || p.Spec.RestartPolicy == "" ||
		p.Spec.RestartPolicy == corev1.RestartPolicyOnFailure && ended.ExitCode != 0)
}

// Owner is what a pod's template belongs to: the object to patch for a lasting change. Kind Pod means that it has no owner.
func Owner(p *corev1.Pod) (kind, apiVersion, name string) {
	ref := metav1.GetControllerOf(p)
	if ref == nil {
		return "Pod", "v1", p.Name
	}
	if ref.Kind == "ReplicaSet" {
		if hash := p.Labels["pod-template-hash"]; hash != "" && strings.HasSuffix(ref.Name, "-"+hash) {
			return "Deployment", "apps/v1", strings.TrimSuffix(ref.Name, "-"+hash)
		}
	}
	return ref.Kind, ref.APIVersion, ref.Name
}

// GroupKey tells pods of one template from others: a finding about a template is one finding, however many replicas it has.
func GroupKey(p *corev1.Pod) string {
	kind, _, name := Owner(p)
	return p.Namespace + "/" + kind + "/" + name
}

// Static tells that the pod comes from a manifest file on the node: its API object is a mirror and cannot be changed.
func Static(p *corev1.Pod) bool {
	_, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]
	return mirror
}

// MountersOf are the pods of DaemonSets on this node that mount a host path at or below dir: the agents of a plugin directory.
func MountersOf(o *v1alpha1.Observation, dir string) []*corev1.Pod {
	var out []*corev1.Pod
	for _, p := range Mounters(o, dir) {
		if kind, _, _ := Owner(p); kind == "DaemonSet" {
			out = append(out, p)
		}
	}
	return out
}

// Mounters are all pods on this node that mount a host path at or below dir.
func Mounters(o *v1alpha1.Observation, dir string) []*corev1.Pod {
	var out []*corev1.Pod
	for _, p := range Pods(o) {
		for _, v := range p.Spec.Volumes {
			if v.HostPath == nil {
				continue
			}
			path := strings.TrimRight(v.HostPath.Path, "/")
			if path == dir || strings.HasPrefix(path, dir+"/") {
				out = append(out, p)
				break
			}
		}
	}
	return out
}

// CrashLooping tells that a container exits again and again: it waits in back-off, or it has just ended with restarts before.
func CrashLooping(c ContainerOf) bool {
	if w := c.Status.State.Waiting; w != nil && w.Reason == "CrashLoopBackOff" {
		return true
	}
	return c.Status.State.Terminated != nil && c.Status.State.Terminated.ExitCode != 0 && c.Status.RestartCount > 0
}

// LastEnd is how a container ended last: its present end, or the one before its present life.
func LastEnd(c ContainerOf) *corev1.ContainerStateTerminated {
	if t := c.Status.State.Terminated; t != nil {
		return t
	}
	return c.Status.LastTerminationState.Terminated
}

// EndSandbox ends a pod's sandbox: the kubelet makes it again, and its containers. It may have ended meanwhile.
func EndSandbox(o *v1alpha1.Observation, id, why string) v1alpha1.Step {
	if r := Runtime(o); r.Name != "" && r.Name != Containerd || strings.Contains(r.Socket, "/k3s/") {
		return detectors.NodeStep(v1alpha1.Disruptive, o.Node, why, append(slices.Clone(r.CLI), "stopp", id)...)
	}
	const script = `ctr -n k8s.io tasks kill --signal SIGKILL "$id" || ! ctr -n k8s.io tasks ls | awk -v id="$id" '$1 == id && /RUNNING/ { there = 1 } END { exit !there }' # it may have ended meanwhile`
	if s := Runtime(o).Socket; s != "" && s != "/run/containerd/containerd.sock" {
		return detectors.ShellStep(v1alpha1.Disruptive, o.Node, why, `export CONTAINERD_ADDRESS="$address"
command -v ctr >/dev/null || ctr() { k0s ctr "$@"; }
ctr -n k8s.io tasks ls >/dev/null || exit 1
`+script, detectors.V("address", s), detectors.V("id", id))
	}
	return detectors.ShellStep(v1alpha1.Disruptive, o.Node, why, script, detectors.V("id", id))
}
