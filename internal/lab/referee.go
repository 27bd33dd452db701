package lab

import (
	"context"
	"crypto/rand"
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
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

const proofLabel = "sickbay.dev/role"

// Timings are the referee's waits.
type Timings struct {
	// Poll is the pause between two rounds of questions.
	Poll time.Duration
	// Settle is how long goals may take to hold after a restart: the longest of the kubelet's own timers is the retry of a
	// mount, two minutes.
	Settle time.Duration
	// Quiet is how long everything has to hold without a container that restarts.
	Quiet time.Duration
	// Restart bounds the restart of one unit.
	Restart time.Duration
}

// DefaultTimings are stretched by how slow this machine is, but for what has to pass.
func DefaultTimings() Timings {
	return Timings{Poll: 2 * time.Second, Settle: timeoutscale.Bound(3 * time.Minute), Quiet: 15 * time.Second, Restart: timeoutscale.Bound(2 * time.Minute)}
}

// GoalState is a goal and whether it is met. Why says what was seen and not what to do.
type GoalState struct {
	Says v1alpha1.Text `json:"says"`
	Met  bool          `json:"met"`
	Why  string        `json:"why,omitempty"`
}

// Verdict is what the referee says.
type Verdict struct {
	Goals   []GoalState `json:"goals"`
	Refused []Refused   `json:"refused,omitempty"`
	// Solved is only said after the restarts.
	Solved bool `json:"solved"`
}

// For tells whether a lab was refused for a reason.
func (v Verdict) For(r v1alpha1.Refusal) bool {
	return slices.ContainsFunc(v.Refused, func(x Refused) bool { return x.Reason == r })
}

// Well: all goals are met, and nothing was worked around.
func (v Verdict) Well() bool {
	return len(v.Refused) == 0 && !slices.ContainsFunc(v.Goals, func(g GoalState) bool { return !g.Met })
}

func (v *Verdict) goal(en, ko, why string) {
	v.Goals = append(v.Goals, GoalState{Says: v1alpha1.Text{En: en, Ko: ko}, Met: why == "", Why: why})
}

// Judged writes down what the referee said.
func (s *State) Judged(now time.Time, v Verdict) {
	for _, r := range v.Refused {
		if !slices.Contains(s.Refused, string(r.Reason)) {
			s.Refused = append(s.Refused, string(r.Reason))
		}
	}
	if v.Solved && s.SolvedAt.IsZero() {
		s.Phase, s.SolvedAt = Solved, now.UTC()
	}
	s.Tell(now, "check", "%s", map[bool]string{true: "solved", false: "not solved"}[v.Solved])
}

// Referee judges one lab.
type Referee struct {
	*World
	Before  Snapshot
	Timings Timings
	// Detail says what is being waited for.
	Detail func(text string)

	proof string // the pod that proves that new ones run
}

func (r *Referee) detail(format string, args ...any) {
	if r.Detail != nil {
		r.Detail(fmt.Sprintf(format, args...))
	}
}

// Look asks everything that can be asked at once: the lab's goals, the node, the workload, and what was worked around.
func (r *Referee) Look(ctx context.Context) (Verdict, error) {
	var v Verdict
	for _, g := range r.Course.Of.Spec.Goals {
		yes, err := r.Holds(ctx, g.Holds)
		s := GoalState{Says: g.Says, Met: yes}
		if err != nil {
			s.Why = "it could not be asked: " + err.Error()
		}
		v.Goals = append(v.Goals, s)
	}
	now, err := r.Snapshot(ctx)
	if err != nil {
		return v, err
	}
	v.Refused = slices.DeleteFunc(Workarounds(r.Before, now), func(x Refused) bool {
		return slices.Contains(r.Course.Of.Spec.Allows, string(x.Reason))
	})
	undone, err := r.undone(ctx)
	if err != nil {
		return v, err
	}
	if undone {
		v.Refused = append(v.Refused, refuse(v1alpha1.RefusedRecovered, "what was injected was taken back from the node's journal"))
	}
	n, err := r.Kube().CoreV1().Nodes().Get(ctx, r.ill(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		v.goal("The node is Ready.", "노드가 Ready이다.", "there is no node "+r.ill())
	case err != nil:
		return v, fmt.Errorf("look at node %s: %w", r.ill(), err)
	default:
		v.goal("The node is Ready.", "노드가 Ready이다.", fault.NotReady(n))
	}
	why, err := r.Session.WorkloadReady(ctx, true)
	if err != nil {
		return v, fmt.Errorf("look at the workload: %w", err)
	}
	v.goal("What ran there runs.", "그 노드에서 실행되던 것이 다시 실행된다.", why)
	if slices.ContainsFunc(v.Goals, func(g GoalState) bool { return !g.Met }) {
		v.Refused = append(v.Refused, refuse(v1alpha1.RefusedStillIll, "not every goal is met"))
	}
	return v, nil
}

// Judge says whether the lab is solved. What a first look refuses is refused; what it does not has to last.
func (r *Referee) Judge(ctx context.Context) (Verdict, error) {
	v, err := r.Look(ctx)
	if err != nil || !v.Well() {
		return v, err
	}
	defer r.removeProof(context.WithoutCancel(ctx))
	if v, err = r.lasts(ctx, r.Timings.Settle); err != nil || !v.Well() {
		return v, err
	}
	if err := r.restart(ctx); err != nil {
		return v, err
	}
	if v, err = r.lasts(ctx, r.Timings.Settle); err != nil {
		return v, err
	}
	v.Solved = v.Well()
	if !v.Solved {
		v.Refused = append(v.Refused, refuse(v1alpha1.RefusedNotLasting, "it held, and did not after %s were restarted", strings.Join(r.units(), " and ")))
	}
	return v, nil
}

func (r *Referee) units() []string {
	if u := r.Course.Of.Spec.Restarts; len(u) > 0 {
		return u
	}
	return []string{"containerd", "kubelet"}
}

func (r *Referee) restart(ctx context.Context) error {
	for _, u := range r.units() {
		r.detail("restarting %s", u)
		call, cancel := context.WithTimeout(ctx, r.Timings.Restart)
		_, _, err := r.script(call, r.ill(), "systemctl restart "+u)
		cancel()
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("restart %s on node %s: %w", u, r.ill(), err)
		}
	}
	return ctx.Err()
}

// lasts waits until everything holds, with a fresh pod, silent detectors and restart counts that stand still for a while. A workaround is
// refused at once; anything else when the bound is over.
func (r *Referee) lasts(ctx context.Context, bound time.Duration) (Verdict, error) {
	if err := r.startProof(ctx); err != nil {
		return Verdict{}, err
	}
	var v Verdict
	counted, since := -1, time.Time{}
	err := retry.Until(ctx, r.Timings.Poll, bound, func(ctx context.Context) (bool, error) {
		var err error
		if v, err = r.Look(ctx); err != nil {
			return false, err
		}
		if slices.ContainsFunc(v.Refused, func(x Refused) bool { return x.Reason != v1alpha1.RefusedStillIll }) {
			return true, nil
		}
		n, err := r.restarts(ctx)
		if err != nil {
			return false, err
		}
		if n != counted || !v.Well() {
			counted, since = n, time.Now()
		}
		why, err := r.proofReady(ctx)
		if err != nil {
			return false, err
		}
		v.goal("A new pod runs there.", "새 파드가 그 노드에서 실행된다.", why)
		still := ""
		if time.Since(since) < r.Timings.Quiet {
			still = fmt.Sprintf("not yet for %s", r.Timings.Quiet)
		}
		v.goal("No container restarts.", "재시작하는 컨테이너가 없다.", still)
		r.detail("waiting until everything holds for %s", r.Timings.Quiet)
		return v.Well(), nil
	})
	if err != nil && (!errors.Is(err, retry.ErrBound) || len(v.Goals) == 0) {
		return v, err
	}
	if v.Well() {
		d, err := r.Diagnose(ctx)
		if err != nil {
			return v, err
		}
		why := ""
		if i := slices.IndexFunc(d.Findings, func(f v1alpha1.Finding) bool { return f.Node == r.ill() }); i >= 0 {
			why = "a detector still sees an illness of the node" // which one would be the answer
		}
		v.goal("No detector speaks.", "어떤 탐지기도 이상을 보고하지 않는다.", why)
	}
	if !v.Well() && !v.For(v1alpha1.RefusedStillIll) {
		v.Refused = append(v.Refused, refuse(v1alpha1.RefusedStillIll, "not every goal is met"))
	}
	return v, nil
}

// restarts sums the restarts of all containers on the node.
func (r *Referee) restarts(ctx context.Context) (int, error) {
	list, err := r.Kube().CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + r.ill()})
	if err != nil {
		return 0, fmt.Errorf("count restarts: %w", err)
	}
	n := 0
	for _, p := range list.Items {
		for _, c := range p.Status.ContainerStatuses {
			n += int(c.RestartCount)
		}
	}
	return n, nil
}

// startProof makes a pod that has to be scheduled, given a network and probed on the node.
func (r *Referee) startProof(ctx context.Context) error {
	r.removeProof(ctx)
	no, zero := false, int64(0)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "proof-" + strings.ToLower(rand.Text()[:5]), Namespace: r.Session.Namespace(), Labels: map[string]string{proofLabel: "proof", fault.LabelRun: r.Session.Run}},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{corev1.LabelHostname: r.ill()}, AutomountServiceAccountToken: &no, TerminationGracePeriodSeconds: &zero,
			Containers: []corev1.Container{{
				Name: "proof", Image: r.Image(), ImagePullPolicy: corev1.PullIfNotPresent, Args: []string{"netexec", "--http-port=8080", "--udp-port=-1"},
				ReadinessProbe: &corev1.Probe{
					ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/hostname", Port: intstr.FromInt32(8080)}},
					PeriodSeconds: 1, TimeoutSeconds: 2, FailureThreshold: 3,
				},
			}},
		},
	}
	if _, err := r.Kube().CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create a pod that proves that new ones run: %w", err)
	}
	r.proof = pod.Name
	return nil
}

func (r *Referee) proofReady(ctx context.Context) (string, error) {
	p, err := r.Kube().CoreV1().Pods(r.Session.Namespace()).Get(ctx, r.proof, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("look at pod %s: %w", r.proof, err)
	}
	if fault.PodReady(p) {
		return "", nil
	}
	return fault.DescribePod(p), nil
}

func (r *Referee) removeProof(ctx context.Context) {
	if r.proof == "" {
		return
	}
	zero := int64(0)
	// One that stays goes with the lab's namespace.
	_ = r.Kube().CoreV1().Pods(r.Session.Namespace()).Delete(ctx, r.proof, metav1.DeleteOptions{GracePeriodSeconds: &zero})
	r.proof = ""
}
