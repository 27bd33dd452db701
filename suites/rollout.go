package suites

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/retry"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// RollOut carries out a workload action: it applies the manifest over the workload in the run's namespace. It returns what it
// has applied also when it fails.
func RollOut(ctx context.Context, lab Lab, sc *scenarios.Scenario, w *scenarios.Rollout, v scenarios.WorkloadValues) (Objects, error) {
	text, err := sc.Render(w.Manifest, v)
	if err != nil {
		return nil, err
	}
	objects, err := lab.Rollout(ctx, v.Namespace, []byte(text), Bind(v.Node))
	if err != nil {
		return objects, fmt.Errorf("roll out %s of scenario %s: %w", w.Manifest, sc.Metadata.Name, err)
	}
	return objects, nil
}

// Bind puts a pod on the node where its manifest does not say where it goes. Through the scheduler: what bypasses it says so
// with nodeName.
func Bind(node string) func(*corev1.PodSpec) {
	return func(spec *corev1.PodSpec) {
		if spec.NodeName != "" || len(spec.NodeSelector) > 0 || (spec.Affinity != nil && spec.Affinity.NodeAffinity != nil) {
			return
		}
		spec.NodeSelector = map[string]string{corev1.LabelHostname: node}
	}
}

// rollout is place for an action of the harness itself.
func (r *run) rollout(ctx context.Context, st step, w *scenarios.Rollout, n int) error {
	began := time.Now()
	objects, err := retry.Within(ctx, r.t.Call, func(ctx context.Context) (Objects, error) {
		return RollOut(ctx, r.s.lab, r.sc, w, r.values())
	})
	if n == middle(len(r.sc.Spec.Inject)) {
		r.strike(MidInject)
	}
	var names []string
	if objects != nil {
		r.made = append(r.made, objects)
		for _, o := range objects.List() {
			names = append(names, strings.ToLower(o.GetKind())+"/"+o.GetName())
		}
	}
	if err != nil {
		return err
	}
	text := fmt.Sprintf("applied %s (%s) in %s", w.Manifest, strings.Join(names, ", "), time.Since(began).Round(time.Millisecond))
	st.saw("%s", text)
	r.rec.add(v1alpha1.TimelineEntry{Kind: v1alpha1.EntryInject, Node: r.victim, Source: scenarios.MechanismWorkload, Text: text})
	return nil
}
