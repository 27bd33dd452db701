package npd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/retry"
	"github.com/sickbay-dev/sickbay/internal/version"
)

// heartbeat is how often conditions are written that did not change: NPD's own period.
const heartbeat = 5 * time.Minute

// StandbyOptions say how to stand by a node.
type StandbyOptions struct {
	CheckOptions // Failure is not used
	// Listen is where metrics are served.
	Listen string
	// Kube has the conditions written; nil for metrics alone.
	Kube kubernetes.Interface
	// Said hears what could not be done; the next round tries again.
	Said func(error)
}

// Standby checks a node for all failures, again and again until ctx ends, and publishes the answers as metrics and as the conditions that
// NPD would set.
func Standby(ctx context.Context, on diagnose.Target, o StandbyOptions) error {
	if o.Every <= 0 {
		o.Every = DefaultEvery
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("serve metrics: %w", err)
	}
	m := newMetrics()
	server := &http.Server{Handler: m.handler(), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer server.Close()
	c := conditions{kube: o.Kube, node: on.Nodes[0].Name, set: map[string]corev1.NodeCondition{}}
	for {
		began := time.Now()
		r, err := checkAll(ctx, on, o.CheckOptions)
		if ctx.Err() != nil {
			return nil
		}
		m.show(r, time.Since(began))
		if err := errors.Join(err, c.write(ctx, r)); err != nil && o.Said != nil {
			o.Said(err)
		}
		select {
		case err := <-served:
			return fmt.Errorf("serve metrics: %w", err)
		default:
		}
		if retry.Sleep(ctx, o.Every-time.Since(began)) != nil {
			return nil
		}
	}
}

// metrics are what Prometheus reads.
type metrics struct {
	registry               *prometheus.Registry
	problem, unknown, info *prometheus.GaugeVec
	last, took             prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	vec := func(name, help string, labels ...string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(v)
		return v
	}
	m.problem = vec("sickbay_problem", "1 while the node has this failure, 0 while it has not; neither while that is unknown.", "failure")
	m.unknown = vec("sickbay_unknown", "1 while it is unknown whether the node has this failure.", "failure")
	m.info = vec("sickbay_problem_info", "1 for the cause of each failure that the node has.", "failure", "cause", "certainty")
	m.last = vec("sickbay_last_look_timestamp_seconds", "When the node was last looked at.").WithLabelValues()
	m.took = vec("sickbay_last_look_duration_seconds", "How long that took.").WithLabelValues()
	vec("sickbay_build_info", "Always 1.", "version").WithLabelValues(version.String()).Set(1)
	return m
}

func (m *metrics) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {}) // the loop has bounds of its own
	return mux
}

func (m *metrics) show(r round, took time.Duration) {
	m.info.Reset()
	for _, f := range failures.All() {
		a := r.Answers[f.Name]
		m.unknown.WithLabelValues(f.Name).Set(0)
		switch a.Status {
		case OK:
			m.problem.WithLabelValues(f.Name).Set(0)
		case NonOK:
			m.problem.WithLabelValues(f.Name).Set(1)
			m.info.WithLabelValues(f.Name, a.Cause, string(a.Certainty)).Set(1)
		case Unknown:
			m.problem.DeleteLabelValues(f.Name)
			m.unknown.WithLabelValues(f.Name).Set(1)
		}
	}
	m.last.Set(float64(r.At.UnixMilli()) / 1000)
	m.took.Set(took.Seconds())
}

// conditions are those of the node, as they were written.
type conditions struct {
	kube kubernetes.Interface
	node string
	set  map[string]corev1.NodeCondition
	at   time.Time
}

// write writes the conditions where one has changed, and now and then.
func (c *conditions) write(ctx context.Context, r round) error {
	if c.kube == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	if c.at.IsZero() { // a process before this one has written when they began
		n, err := c.kube.CoreV1().Nodes().Get(ctx, c.node, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("read the conditions of node %s: %w", c.node, err)
		}
		for _, was := range n.Status.Conditions {
			c.set[string(was.Type)] = was
		}
	}
	now := metav1.NewTime(r.At)
	changed := false
	var list []corev1.NodeCondition
	for _, f := range failures.All() {
		want := condition(f.Name, r.Answers[f.Name])
		was := c.set[string(want.Type)]
		want.LastHeartbeatTime, want.LastTransitionTime = now, was.LastTransitionTime
		if was.Status != want.Status || was.LastTransitionTime.IsZero() {
			want.LastTransitionTime = now
		}
		changed = changed || was.Status != want.Status || was.Message != want.Message
		list = append(list, want)
	}
	if !changed && time.Since(c.at) < heartbeat {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": list}})
	if err != nil {
		return err
	}
	if _, err := c.kube.CoreV1().Nodes().PatchStatus(ctx, c.node, patch); err != nil {
		return fmt.Errorf("write the conditions of node %s: %w", c.node, err)
	}
	for _, s := range list {
		c.set[string(s.Type)] = s
	}
	c.at = time.Now()
	return nil
}

// condition is an answer as NPD would write it.
func condition(failure string, a Answer) corev1.NodeCondition {
	problem := ConditionType(failure)
	c := corev1.NodeCondition{Type: corev1.NodeConditionType(problem), Status: corev1.ConditionFalse, Reason: "No" + problem, Message: a.Message}
	switch a.Status {
	case NonOK:
		c.Status, c.Reason = corev1.ConditionTrue, problem
	case Unknown:
		c.Status, c.Reason = corev1.ConditionUnknown, problem+"Unknown"
	}
	return c
}
