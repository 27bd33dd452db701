// Package probekill tells why a liveness probe kills a container again and again: it is too impatient, or it asks where
// nobody answers.
//
// An application that answers "I am ill", or that exits by itself, is judged by nobody here; nor is a failing readiness probe,
// which kills nothing.
package probekill

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/words"
)

func init() {
	detectors.Register(detectors.Detector{Failure: "probe-kill", Needs: []string{v1alpha1.SourceAPI}, Judge: judge})
}

// fresh: the longest crash-loop back-off is five minutes, a probe window seldom more than one.
const fresh = 7 * time.Minute

// judge looks at each container with a liveness or startup probe that was killed more than once.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	return facts.EachContainer(h, judgeContainer)
}

var containerIn = regexp.MustCompile(`\{([^}]+)\}`)

// killings are the events in which the kubelet says that a probe kills this container, and those in which the probe fails.
func killings(o *v1alpha1.Observation, c facts.ContainerOf) (kill, fail *corev1.Event, probe string) {
	own := func(e *corev1.Event) bool {
		m := containerIn.FindStringSubmatch(e.InvolvedObject.FieldPath)
		return m == nil || m[1] == c.Spec.Name
	}
	for _, e := range facts.Events(o, "Pod", c.Pod.Namespace, c.Pod.Name, fresh, "Killing", "Unhealthy") {
		if !own(&e) {
			continue
		}
		switch {
		case e.Reason == "Killing" && kill == nil && facts.Has(e.Message, words.FailedLivenessProbe, words.FailedStartupProbe):
			kill, probe = &e, "liveness"
			if strings.Contains(e.Message, words.FailedStartupProbe) {
				probe = "startup"
			}
		case e.Reason == "Unhealthy" && fail == nil && facts.Has(e.Message, words.LivenessProbeFailed, words.StartupProbeFailed):
			fail = &e
		}
	}
	return kill, fail, probe
}

func judgeContainer(h v1alpha1.History, c facts.ContainerOf) *v1alpha1.Finding {
	o := h.Last()
	kill, fail, kind := killings(o, c)
	if kill == nil || c.Status.RestartCount < 1 || facts.EventCount(kill) < 2 && c.Status.RestartCount < 2 && !facts.CrashLooping(c) {
		return nil
	}
	probe := c.Spec.LivenessProbe
	if kind == "startup" {
		probe = c.Spec.StartupProbe
	}
	if probe == nil {
		return nil // the probe has been taken away since
	}
	window := window(probe)
	// It has run longer than the probe needs to kill it twice: the killing is over.
	if r := c.Status.State.Running; r != nil && facts.APINow(o).Sub(r.StartedAt.Time) > 2*window+30*time.Second && facts.APINow(o).Sub(facts.EventTime(kill)) > window+30*time.Second {
		return nil
	}
	message := ""
	if fail != nil {
		message = fail.Message
	}
	cause, certainty, why := classify(c, probe, message)
	if cause == "" {
		return nil
	}
	f := &v1alpha1.Finding{Cause: cause, Certainty: certainty}
	if fail != nil {
		f.Evidence = append(f.Evidence, facts.FromEvent(fail))
	}
	f.Evidence = append(f.Evidence, facts.Seen(o, "api.pods", fmt.Sprintf("%s: %s probe %s; kills %s after start at the earliest; %d restarts", c.Where(), kind, describe(probe), window, c.Status.RestartCount)),
		facts.FromEvent(kill))
	f.Consequences = []string{fmt.Sprintf("%s restarted %d times", c.Where(), c.Status.RestartCount)}
	var patch map[string]any
	if unconnected(h, c, kind, message, f) {
		return f
	}
	if cause == "probe-too-aggressive" {
		f.Summary = fmt.Sprintf("the %s probe of %s is too impatient: %s", kind, c.Where(), why)
		patch = relax(c, probe, kind)
	} else {
		f.Summary = fmt.Sprintf("the %s probe of %s asks where nobody answers: %s", kind, c.Where(), why)
		patch = redirect(c, probe, kind)
	}
	if certainty == v1alpha1.Likely {
		f.ToConfirm = "ask the application by hand while it runs: `kubectl port-forward` and the probe's own request, and how long it takes to answer after its start"
	}
	if patch == nil {
		f.ManualAction = "which command or endpoint tells the application's health is for its owner to say"
		return f
	}
	patch["name"] = c.Spec.Name
	key := "containers"
	if c.Init {
		key = "initContainers" // a native sidecar
	}
	steps, reason, ok := facts.ChangePod(c.Pod, "give the probe what the application needs; its owner should confirm the values", map[string]any{key: []any{patch}})
	if !ok {
		f.ManualAction = reason
		return f
	}
	f.Remedy = facts.Place(o).NewRemedy("correct-probe", steps...)
	return f
}

// unconnected: the probe gets no connection, for what the node shows or for what is not seen here.
func unconnected(h v1alpha1.History, c facts.ContainerOf, kind, message string, f *v1alpha1.Finding) bool {
	what, todo, ev := facts.NoConnections(h, message)
	switch {
	case what != "":
		f.ToConfirm = "whether the probe passes when there is room again"
		f.Summary = fmt.Sprintf("the %s probe of %s does not get through: %s", kind, c.Where(), what)
		f.Evidence, f.ManualAction = append(f.Evidence, ev...), todo
	case undialled.MatchString(message):
		f.ToConfirm = "whether the node reaches the pod at all: `curl -m 3` of the probe's address on the node while the container runs, and the same of another pod"
		f.Summary = fmt.Sprintf("the %s probe of %s gets no connection: it is the kernel that takes connections, so what the node sends is dropped on its way, or the application's queue is full", kind, c.Where())
		f.ManualAction = "look at what stands between node and pod (a NetworkPolicy or host policy of the network, a firewall of the node), before the probe is made more patient"
	default:
		return false
	}
	f.Certainty = v1alpha1.Likely
	return true
}

// undialled is a connection that was not made in time: no patience with an application's answer helps.
var undialled = regexp.MustCompile(`dial tcp \S+: (?:connect: )?i/o timeout|dial tcp \S+: connect: connection timed out`)

// window is how soon after a start the probe can kill.
func window(p *corev1.Probe) time.Duration {
	n, period := max(p.FailureThreshold, 1), max(p.PeriodSeconds, 1)
	return time.Duration(p.InitialDelaySeconds+(n-1)*period+max(p.TimeoutSeconds, 1)) * time.Second
}

func describe(p *corev1.Probe) string {
	what := "exec"
	switch {
	case p.HTTPGet != nil:
		what = fmt.Sprintf("http %s%s", p.HTTPGet.Port.String(), p.HTTPGet.Path)
	case p.TCPSocket != nil:
		what = "tcp " + p.TCPSocket.Port.String()
	case p.GRPC != nil:
		what = fmt.Sprintf("grpc %d", p.GRPC.Port)
	case p.Exec != nil:
		what = "exec " + strings.Join(p.Exec.Command, " ")
	}
	return fmt.Sprintf("%s, delay %ds, timeout %ds, period %ds, threshold %d", what, p.InitialDelaySeconds, max(p.TimeoutSeconds, 1), max(p.PeriodSeconds, 1), max(p.FailureThreshold, 1))
}

const eager, elsewhere = "probe-too-aggressive", "probe-wrong-endpoint"

// classify tells the two causes apart, and from an application that is ill; cause is empty then.
func classify(c facts.ContainerOf, p *corev1.Probe, message string) (cause string, certainty v1alpha1.Certainty, why string) {
	lower := strings.ToLower(message)
	// It lived about as long as the probe lets it: it never passed. An application that was well for a while is ill now.
	never := livedOnlyWindow(c, p)
	switch {
	case facts.Has(lower, "deadline exceeded", "client.timeout", "timeout", "timed out"):
		// One that never answered in time, with little time given, is slow. One that did for a while and then hangs may be ill itself;
		// with a generous timeout it surely is.
		timeout := max(p.TimeoutSeconds, 1)
		why := fmt.Sprintf("the application answers later than its timeout of %ds", timeout)
		switch {
		case never && timeout <= 5:
			return eager, v1alpha1.Certain, why
		case never || timeout <= 2:
			return eager, v1alpha1.Likely, why
		}
		return "", "", ""
	case facts.Has(lower, "statuscode: 404", "statuscode: 405", "statuscode: 401", "statuscode: 403", "statuscode: 400", "statuscode: 410", "http response to https", "malformed http", "first record does not look like a tls", "unimplemented", "unknown service"):
		return elsewhere, v1alpha1.Certain, "the application answers, but not for this path or protocol"
	case facts.Has(lower, words.ConnectionRefused, "connect: ", words.NoRouteToHost, "connection reset"):
		return notListening(c, p, never)
	case facts.Has(lower, words.NoSuchFileOrDirectory, words.ExecutableFileNotFound, "not found") && p.Exec != nil:
		if !never {
			return "", "", ""
		}
		return elsewhere, v1alpha1.Likely, "its command does not find what it looks for"
	case never && window(p) <= 20*time.Second:
		return eager, v1alpha1.Likely, fmt.Sprintf("the application is not well yet when it is killed, %s after its start", window(p))
	}
	return "", "", ""
}

// notListening classifies a probe whose port takes no connection; never tells that it never passed.
func notListening(c facts.ContainerOf, p *corev1.Probe, never bool) (cause string, certainty v1alpha1.Certainty, why string) {
	port, hasPort := probePort(c.Spec, p)
	named := hasPort && hasContainerPort(c.Spec, port)
	soon := window(p) <= 30*time.Second
	switch {
	case hasPort && len(c.Spec.Ports) > 0 && !named && !answers(c, port):
		return elsewhere, v1alpha1.Certain, fmt.Sprintf("port %d is none of the container's ports", port)
	case passesElsewhere(c, port):
		return elsewhere, v1alpha1.Certain, fmt.Sprintf("nothing listens on port %d, while the readiness probe on another port passes", port)
	case !never:
		return "", "", ""
	case named && soon:
		return eager, v1alpha1.Certain, fmt.Sprintf("the application does not listen yet when it is killed, %s after its start", window(p))
	case named:
		return eager, v1alpha1.Likely, fmt.Sprintf("the application does not listen even %s after its start, when it is killed", window(p))
	case soon:
		return eager, v1alpha1.Likely, fmt.Sprintf("nothing listens on port %d yet when it is killed, %s after its start", port, window(p))
	}
	return elsewhere, v1alpha1.Likely, fmt.Sprintf("nothing listens on port %d even %s after the start", port, window(p))
}

// probePort is the number of the port the probe asks.
func probePort(c *corev1.Container, p *corev1.Probe) (int, bool) {
	var v intstr.IntOrString
	switch {
	case p.HTTPGet != nil:
		v = p.HTTPGet.Port
	case p.TCPSocket != nil:
		v = p.TCPSocket.Port
	case p.GRPC != nil:
		return int(p.GRPC.Port), true
	default:
		return 0, false
	}
	if v.Type == intstr.Int {
		return v.IntValue(), true
	}
	for _, cp := range c.Ports {
		if cp.Name == v.StrVal {
			return int(cp.ContainerPort), true
		}
	}
	return 0, false
}

func hasContainerPort(c *corev1.Container, port int) bool {
	for _, p := range c.Ports {
		if int(p.ContainerPort) == port {
			return true
		}
	}
	return false
}

// answers: the readiness probe asks the same port and passes, so it is served.
func answers(c facts.ContainerOf, port int) bool {
	if c.Spec.ReadinessProbe == nil || !c.Status.Ready {
		return false
	}
	p, ok := probePort(c.Spec, c.Spec.ReadinessProbe)
	return ok && p == port
}

func passesElsewhere(c facts.ContainerOf, port int) bool {
	if c.Spec.ReadinessProbe == nil || !c.Status.Ready {
		return false
	}
	p, ok := probePort(c.Spec, c.Spec.ReadinessProbe)
	return ok && p != port
}

// livedOnlyWindow: its last life ended about when an always failing probe ends it, the grace period for its end included.
func livedOnlyWindow(c facts.ContainerOf, p *corev1.Probe) bool {
	t := facts.LastEnd(c)
	if t == nil || t.StartedAt.IsZero() || t.FinishedAt.IsZero() {
		return false // nothing is known of it
	}
	grace := int64(30)
	if c.Pod.Spec.TerminationGracePeriodSeconds != nil {
		grace = *c.Pod.Spec.TerminationGracePeriodSeconds
	}
	if p.TerminationGracePeriodSeconds != nil {
		grace = *p.TerminationGracePeriodSeconds
	}
	n := max(p.FailureThreshold, 1)
	most := time.Duration(p.InitialDelaySeconds+n*(max(p.PeriodSeconds, 1)+max(p.TimeoutSeconds, 1)))*time.Second + time.Duration(grace)*time.Second + 5*time.Second
	return t.FinishedAt.Sub(t.StartedAt.Time) <= most
}

// relax gives the application time to answer, and to start where no startup probe of its owner's does: one that passed is left as it is.
func relax(c facts.ContainerOf, p *corev1.Probe, kind string) map[string]any {
	timeout := min(max(p.TimeoutSeconds*5, 10), 60)
	patch := map[string]any{}
	if kind == "liveness" {
		patch["livenessProbe"] = map[string]any{"timeoutSeconds": timeout, "periodSeconds": max(p.PeriodSeconds, 10), "failureThreshold": max(p.FailureThreshold, 3)}
		if c.Spec.StartupProbe != nil {
			return patch
		}
	}
	if kind == "startup" { // what it asks stays; never less than it has
		patch["startupProbe"] = map[string]any{"initialDelaySeconds": 0, "timeoutSeconds": timeout, "periodSeconds": 5,
			"failureThreshold": max(60, 2*int32(window(p)/(5*time.Second)))}
		return patch
	}
	if withheld(p.ProbeHandler) {
		patch["livenessProbe"].(map[string]any)["initialDelaySeconds"] = max(p.InitialDelaySeconds, 300)
		return patch
	}
	start := p.DeepCopy()
	start.InitialDelaySeconds, start.TimeoutSeconds, start.PeriodSeconds, start.FailureThreshold, start.SuccessThreshold = 0, timeout, 5, 60, 1
	patch["startupProbe"] = start
	return patch
}

// withheld tells that an observation has only a part of what a probe asks: of commands and headers the values are taken out, and a
// copy of it would ask something else.
func withheld(h corev1.ProbeHandler) bool {
	return h.Exec != nil || h.HTTPGet != nil && len(h.HTTPGet.HTTPHeaders) > 0
}

// redirect has the probe ask where the application is known to answer: as its passing readiness probe does, else whether the
// one port it declares is open. Nothing more can be known from the node.
func redirect(c facts.ContainerOf, p *corev1.Probe, kind string) map[string]any {
	var handler corev1.ProbeHandler
	port, ok := probePort(c.Spec, p)
	switch {
	case c.Spec.ReadinessProbe != nil && c.Status.Ready && !withheld(c.Spec.ReadinessProbe.ProbeHandler):
		handler = c.Spec.ReadinessProbe.ProbeHandler
	case ok && hasContainerPort(c.Spec, port):
		handler.TCPSocket = &corev1.TCPSocketAction{Port: intstr.FromInt(port)} // the path is wrong, the port is not
	case len(c.Spec.Ports) == 1:
		handler.TCPSocket = &corev1.TCPSocketAction{Port: intstr.FromInt32(c.Spec.Ports[0].ContainerPort)}
	case ok && p.HTTPGet != nil && len(c.Spec.Ports) == 0:
		handler.TCPSocket = &corev1.TCPSocketAction{Port: intstr.FromInt(port)}
	default:
		return nil
	}
	// In a patch, the old handler has to be taken away by name.
	h := map[string]any{"exec": nil, "httpGet": nil, "tcpSocket": nil, "grpc": nil}
	switch {
	case handler.HTTPGet != nil:
		h["httpGet"] = handler.HTTPGet
	case handler.TCPSocket != nil:
		h["tcpSocket"] = handler.TCPSocket
	case handler.GRPC != nil:
		h["grpc"] = handler.GRPC
	}
	// The other probe goes along where it asks the same; one that asks elsewhere is its owner's, and has not failed.
	patch := map[string]any{}
	if l := c.Spec.LivenessProbe; l != nil && (kind == "liveness" || reflect.DeepEqual(l.ProbeHandler, p.ProbeHandler)) {
		patch["livenessProbe"] = h
	}
	if s := c.Spec.StartupProbe; s != nil && (kind == "startup" || reflect.DeepEqual(s.ProbeHandler, p.ProbeHandler)) {
		patch["startupProbe"] = h
	}
	return patch
}
