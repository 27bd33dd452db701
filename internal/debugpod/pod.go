package debugpod

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/sickbay-dev/sickbay/internal/apiserver"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/retry"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// DefaultImage is pulled where a node has no image that is known to have a shell.
const DefaultImage = "busybox:stable"

// shells are images that have a shell, by the last part of their names, the best first.
var shells = []string{"busybox", "agnhost", "alpine", "debian", "ubuntu", "toolbox", "local-path-helper"}

// ImageFor is the image of a node's pod, and whether the node has it.
func ImageFor(n *corev1.Node) (image string, has bool) {
	for _, want := range shells {
		for _, i := range n.Status.Images {
			for _, name := range i.Names {
				repository, _, digest := strings.Cut(name, "@")
				if base, _, _ := strings.Cut(path.Base(repository), ":"); !digest && base == want {
					return name, true
				}
			}
		}
	}
	return DefaultImage, false
}

// otherWays of reaching a node on which no pod starts.
const otherWays = "other ways: `sickbay diagnose --ssh NODE=user@host`, or on the node itself `sudo sickbay diagnose --local`"

// manifest is the pod of a node.
func (s *Session) manifest(on, image string, critical bool) *corev1.Pod {
	yes, root, deadline, grace := true, int64(0), int64(Lifetime.Seconds()), int64(0)
	propagation := corev1.MountPropagationHostToContainer
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: podName(on), Namespace: s.o.Namespace, Labels: map[string]string{apiserver.LabelDebug: "node"},
			Annotations: map[string]string{
				ownerAnnotation:   s.owner,
				"sickbay.dev/why": "sickbay reads the node through this pod and deletes it then; it ends by itself an hour after its start. It may be deleted at any time.",
			},
		},
		Spec: corev1.PodSpec{
			NodeName: on, HostPID: true, HostNetwork: true, HostIPC: true,
			RestartPolicy: corev1.RestartPolicyNever, ActiveDeadlineSeconds: &deadline, TerminationGracePeriodSeconds: &grace,
			Tolerations:                  []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			AutomountServiceAccountToken: new(bool), EnableServiceLinks: new(bool),
			Volumes: []corev1.Volume{{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}},
			Containers: []corev1.Container{{
				Name: container, Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
				Command:         []string{"sh", "-c", enter, "sh", "main", "sleep", strconv.Itoa(int(deadline))},
				SecurityContext: &corev1.SecurityContext{Privileged: &yes, RunAsUser: &root},
				VolumeMounts:    []corev1.VolumeMount{{Name: "host", MountPath: "/host", MountPropagation: &propagation}},
			}},
		},
	}
	if critical {
		p.Spec.PriorityClassName = "system-node-critical"
	}
	return p
}

// pressureError is a node that takes no pod because of pressure.
type pressureError struct{ error }

func (e *pressureError) Unwrap() error { return e.error }

func (s *Session) get(ctx context.Context, name string) (*corev1.Pod, error) {
	return s.o.Kube.CoreV1().Pods(s.o.Namespace).Get(ctx, name, metav1.GetOptions{})
}

// start makes a node's pod and waits until it runs. One that does not is deleted.
func (s *Session) start(ctx context.Context, on string, critical bool) (_ *corev1.Pod, err error) {
	// Nothing of this ends half-way: a pod that is made although nobody waits for it would be forgotten.
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeoutscale.Bound(askBound))
	defer cancel()
	no := func(reason, said string) error {
		return &node.UnreachedError{Node: on, Reason: reason + ": " + said, Way: otherWays}
	}
	n, err := s.o.Kube.CoreV1().Nodes().Get(asking, on, metav1.GetOptions{})
	if err != nil {
		return nil, no("its Node could not be read", err.Error())
	}
	if os := n.Status.NodeInfo.OperatingSystem; os != "" && os != "linux" {
		return nil, &node.UnreachedError{Node: on, Reason: "it runs " + os + ", which sickbay does not read"}
	}
	image := s.o.Image
	if image == "" {
		image, _ = ImageFor(n)
	}
	want := s.manifest(on, image, critical)
	s.mu.Lock()
	s.made[want.Name] = true // before it is: the answer may be lost
	ended := s.ctx.Err()
	s.mu.Unlock()
	if ended != nil {
		return nil, ended
	}
	defer func() {
		if err != nil {
			_ = s.remove(context.WithoutCancel(ctx), want.Name)
		}
	}()
	if _, err := s.o.Kube.CoreV1().Pods(s.o.Namespace).Create(asking, want, metav1.CreateOptions{FieldManager: "sickbay"}); err != nil {
		said := err.Error()
		if strings.Contains(said, "PodSecurity") {
			said += fmt.Sprintf("; `kubectl config set-context %s --namespace NAME` names a namespace that takes privileged pods, such as kube-system", s.o.Context)
		}
		return nil, no("no pod could be made on it", said)
	}
	bound := timeoutscale.Bound(startBound)
	if silent(n) {
		bound = timeoutscale.Bound(deadBound)
	}
	bound = time.Duration(float64(bound) * s.patience)
	waiting, done := context.WithTimeout(ctx, bound)
	defer done()
	p := want
	for waiting.Err() == nil {
		if now, err := s.get(waiting, want.Name); err == nil {
			p = now
		}
		switch {
		case isRunning(p):
			return p, nil
		case p.Status.Phase == corev1.PodFailed && underPressure(p) && !critical:
			return nil, &pressureError{no("its kubelet takes no pod", state(p))}
		case p.Status.Phase == corev1.PodFailed, p.Status.Phase == corev1.PodSucceeded:
			return nil, no("the pod on it ended at once", state(p))
		}
		_ = retry.Sleep(waiting, poll)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, no(fmt.Sprintf("no pod started on it within %s", bound), s.why(ctx, n, p, image))
}

// silent tells that the kubelet has not been heard of.
func silent(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionUnknown
	})
}

func isRunning(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Running != nil
}

// underPressure tells that the kubelet refused or evicted a pod for the node's sake.
func underPressure(p *corev1.Pod) bool {
	return p.Status.Reason == "Evicted" || strings.Contains(p.Status.Message, "Pressure")
}

// state is what the API server tells of a pod that does not run.
func state(p *corev1.Pod) string {
	said := []string{string(p.Status.Phase)}
	for _, w := range []string{p.Status.Reason, p.Status.Message} {
		if w != "" {
			said = append(said, w)
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		switch {
		case c.State.Waiting != nil:
			said = append(said, c.State.Waiting.Reason, c.State.Waiting.Message)
		case c.State.Terminated != nil:
			said = append(said, c.State.Terminated.Reason, fmt.Sprintf("exit code %d", c.State.Terminated.ExitCode), c.State.Terminated.Message)
		}
	}
	return strings.Join(slices.DeleteFunc(said, func(s string) bool { return s == "" }), ": ")
}

// why tells why a pod does not start: by its own state, its last event, and the kubelet's silence.
func (s *Session) why(ctx context.Context, n *corev1.Node, p *corev1.Pod, image string) string {
	said := state(p)
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(askBound))
	defer cancel()
	list, err := s.o.Kube.CoreV1().Events(s.o.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.Set{"involvedObject.name": p.Name, "type": corev1.EventTypeWarning}.String(),
	})
	if err == nil && len(list.Items) > 0 {
		last := slices.MaxFunc(list.Items, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
		said += "; " + last.Reason + ": " + last.Message
	}
	if strings.Contains(said, "ErrImage") || strings.Contains(said, "ImagePull") {
		said += fmt.Sprintf("; --debug-image names another image than %s", image)
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionUnknown {
			said += fmt.Sprintf("; its kubelet is silent since %s: %s", c.LastHeartbeatTime.Format(time.TimeOnly), c.Message)
		}
	}
	return said
}
