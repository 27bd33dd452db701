package suites

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/retry"
)

// clear proves that the node is well again: no detector speaks for a while and several looks, the node is Ready without
// taints, the workload runs, a fresh pod runs on it, and no container restarts any more.
func (r *run) clear(ctx context.Context, st step) error {
	c := &clearing{run: r, st: st, began: time.Now(), restarts: -1, told: map[string]bool{}, imagesBack: r.control.current == v1alpha1.ControlNoRemedy}
	defer r.disturbed()
	c.restoreImages(ctx)
	// A fresh history: what was said before the remedy must not speak now, and what still holds will be said again.
	r.look.Restart()
	r.proofPods++
	var why []string
	err := r.look.Until(ctx, func(o *v1alpha1.Observation) (bool, error) {
		why = c.notYet(ctx, o)
		r.detail("%s", strings.Join(why, "; "))
		// A blind restart gets all of the bound while the node looks better, and no more than the others while it does not.
		if r.control.current == v1alpha1.ControlBlindRestart && c.speaks && time.Since(c.began) >= r.t.Control {
			return false, fault.Failf("not cleared %s after it: %s", r.t.Control, strings.Join(why, "; "))
		}
		return len(why) == 0, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.Failf("not cleared within %s: %s", r.bound(v1alpha1.StepClear), strings.Join(why, "; "))
	}
	if err != nil {
		return err
	}
	// The bystanders have to have been silent all the while: their journals continue at detect's cursors.
	d, err := r.lookAround(ctx)
	if err != nil {
		return err
	}
	if len(d.Findings) > 0 {
		return fault.Failf("cleared on %s, but now detectors say %s", r.victim, strings.Join(summaries(d.Findings), "; "))
	}
	r.res.Clocks.Cleared = r.since()
	st.saw("no detector spoke for %s, node Ready, restart counts still", r.t.Quiet)
	return nil
}

// clearing is what the looks of one clear have shown. Each predicate says why it does not hold yet, "" when it does.
type clearing struct {
	*run
	st    step
	began time.Time

	speaks      bool // a detector, in the last look
	silentSince time.Time
	silentLooks int
	told        map[string]bool // findings that are in the timeline already

	restarts      int // below zero: not counted yet
	restartsSince time.Time

	proofPod   string
	proofReady bool

	imagesBack  bool
	imagesTried time.Time
}

// notYet asks all predicates. While the node is not Ready, what runs on it says nothing.
func (c *clearing) notYet(ctx context.Context, o *v1alpha1.Observation) []string {
	why := []string{c.silent(o)}
	if ready := c.ready(o); ready != "" {
		return compact(append(why, ready))
	}
	if time.Since(c.imagesTried) > c.t.ImagesAgain {
		c.restoreImages(ctx)
	}
	return compact(append(why, c.restartsStill(o), c.workloadRuns(ctx), c.freshPodRuns(ctx)))
}

func compact(why []string) []string {
	return slices.DeleteFunc(why, func(w string) bool { return w == "" })
}

func (c *clearing) silent(o *v1alpha1.Observation) string {
	d := c.judge(c.victim)
	c.speaks = len(d.Findings) > 0
	for _, f := range d.Findings {
		if n := findingName(f); !c.told[n] {
			c.told[n] = true
			c.rec.add(v1alpha1.TimelineEntry{Kind: v1alpha1.EntryFinding, Node: f.Node, Level: "warning", Text: "after the remedy still: " + n + ": " + f.Summary})
		}
	}
	unread := c.newlyUnread(o)
	if c.speaks || len(unread) > 0 {
		c.silentLooks, c.silentSince = 0, time.Time{}
	}
	switch {
	case c.speaks:
		c.look.Restart()
		return "detectors still say " + strings.Join(summaries(d.Findings), "; ")
	case len(unread) > 0:
		return "cannot be seen: " + strings.Join(unread, "; ")
	}
	c.silentLooks++
	if c.silentSince.IsZero() {
		c.silentSince = time.Now()
	}
	if c.silentLooks < c.t.QuietLooks || time.Since(c.silentSince) < c.t.Quiet {
		return fmt.Sprintf("silent for %s of %s", time.Since(c.silentSince).Round(time.Second), c.t.Quiet)
	}
	return ""
}

func (c *clearing) ready(o *v1alpha1.Observation) string {
	why := "the API server does not show it"
	if o.API != nil && o.API.Node != nil {
		why = fault.NotReady(o.API.Node)
	}
	if why != "" {
		return "node " + c.victim + " is not well: " + why
	}
	return ""
}

func (c *clearing) restartsStill(o *v1alpha1.Observation) string {
	n, moved := countRestarts(o.API)
	if n != c.restarts {
		if c.restarts >= 0 {
			c.rec.note(c.victim, "restart counts moved: %s", moved)
		}
		c.restarts, c.restartsSince = n, time.Now()
	}
	if still := time.Since(c.restartsSince); still < c.t.Quiet {
		return fmt.Sprintf("restart counts hold still for %s of %s", still.Round(time.Second), c.t.Quiet)
	}
	return ""
}

func (c *clearing) workloadRuns(ctx context.Context) string {
	if c.sc.Spec.Workload == "" {
		return ""
	}
	why, err := retry.Within(ctx, c.t.Call, func(ctx context.Context) (string, error) { return c.fault.WorkloadReady(ctx, true) })
	if err != nil {
		why = err.Error()
	}
	if why != "" {
		return "the workload does not run: " + why
	}
	return ""
}

// freshPodRuns holds once the pod was Ready: what happens to it later shows in the restart counts.
func (c *clearing) freshPodRuns(ctx context.Context) string {
	if c.proofReady {
		return ""
	}
	if c.proofPod == "" {
		name, err := c.startProof(ctx)
		if err != nil {
			return "the proof pod could not be created: " + err.Error()
		}
		c.proofPod = name
	}
	text, ok := c.podReady(ctx, c.proofPod)
	if !ok {
		return "proof pod: " + text
	}
	c.proofReady = true
	c.st.saw("a fresh pod runs on %s: %s", c.victim, text)
	c.rec.note(c.victim, "proof pod %s is Ready", c.proofPod)
	return ""
}

// restoreImages puts back what the kubelet deleted, if it did; the node may not be well enough for it yet.
func (c *clearing) restoreImages(ctx context.Context) {
	if c.imagesBack {
		return
	}
	first := c.imagesTried.IsZero()
	c.imagesTried = time.Now()
	err := c.s.testbed.RestoreImages(ctx, c.victim)
	c.imagesBack = err == nil
	if first && err != nil && ctx.Err() == nil {
		c.rec.note(c.victim, "preloaded images could not be put back yet: %v", err)
	}
}

// countRestarts sums the restarts of all containers on the node; the text names those that restarted at all.
func countRestarts(api *v1alpha1.API) (int, string) {
	n := 0
	var named []string
	if api != nil {
		for i := range api.Pods {
			p := &api.Pods[i]
			for _, c := range p.Status.ContainerStatuses {
				n += int(c.RestartCount)
				if c.RestartCount > 0 {
					named = append(named, fmt.Sprintf("%s/%s %s=%d", p.Namespace, p.Name, c.Name, c.RestartCount))
				}
			}
		}
	}
	return n, strings.Join(named, ", ")
}

// proofName is a new one for each clear: events about the pod of a control must not speak about a later one.
func (r *run) proofName() string {
	if r.proofPods == 1 {
		return "proof"
	}
	return fmt.Sprintf("proof-%d", r.proofPods)
}

// startProof creates a pod that has to be scheduled, pulled, given a network and probed on the victim.
func (r *run) startProof(ctx context.Context) (string, error) {
	no := false
	zero := int64(0)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: r.proofName(), Namespace: r.fault.Namespace(), Labels: map[string]string{fault.LabelRun: r.id, "sickbay.dev/role": "proof"}},
		Spec: corev1.PodSpec{
			// Through the scheduler, not by nodeName: a cordon or taint that a remedy forgot must show.
			NodeSelector:                  map[string]string{corev1.LabelHostname: r.victim},
			AutomountServiceAccountToken:  &no,
			TerminationGracePeriodSeconds: &zero,
			Containers: []corev1.Container{{
				Name: "proof", Image: r.s.testbed.Image(), ImagePullPolicy: corev1.PullIfNotPresent,
				Args:           []string{"netexec", "--http-port=8080", "--udp-port=-1"},
				ReadinessProbe: proofProbe(),
			}},
		},
	}
	err := retry.Accepted(ctx, r.t.Poll, r.t.Call, func(ctx context.Context) error {
		_, err := r.s.testbed.Kube().CoreV1().Pods(r.fault.Namespace()).Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
	if apierrors.IsAlreadyExists(err) {
		err = nil
	}
	return pod.Name, err
}

// podReady tells whether a pod is Ready, and in words why not.
func (r *run) podReady(ctx context.Context, name string) (string, bool) {
	p, err := retry.Within(ctx, r.t.Call, func(ctx context.Context) (*corev1.Pod, error) {
		return r.s.testbed.Kube().CoreV1().Pods(r.fault.Namespace()).Get(ctx, name, metav1.GetOptions{})
	})
	if err != nil {
		return err.Error(), false
	}
	return fault.DescribePod(p), fault.PodReady(p)
}

// proofProbe asks the pod over its network, every second: a pod without a working network never becomes Ready. Not /healthz:
// netexec answers 412 there for as long as it serves no UDP.
func proofProbe() *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/hostname", Port: intstr.FromInt32(8080)}},
		PeriodSeconds: 1, TimeoutSeconds: 2, FailureThreshold: 3,
	}
}
