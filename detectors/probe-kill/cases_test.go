package probekill_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	_ "github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestCases(t *testing.T) { detectorstest.Run(t, "probe-kill", sick, silent) }

var sick = []detectorstest.Case{
	{Name: "packets of the probe are dropped", Want: []string{"probe-kill/probe-too-aggressive"}, Likely: true, Remedy: "-", Says: "gets no connection", Ill: func(o *v1alpha1.Observation) {
		detectorstest.ProbeKills(o, `Get "http://10.244.1.9:8080/healthz": dial tcp 10.244.1.9:8080: i/o timeout (Client.Timeout exceeded while awaiting headers)`, detectorstest.Liveness(8080, "/healthz"), detectorstest.Deployment("shop"))
	}},
	{Name: "probe's timeout too short", Want: []string{"probe-kill/probe-too-aggressive"}, Remedy: "startupProbe", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Impatient(o)
	}},
	// Commands and headers are not in an observation: a startup probe made of what is there would ask something else.
	{Name: "a probe with a header is impatient", Want: []string{"probe-kill/probe-too-aggressive"}, Remedy: `"initialDelaySeconds":300`, Never: []string{"startupProbe"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.Impatient(o, detectorstest.With(func(c *corev1.Container) {
			c.LivenessProbe.HTTPGet.HTTPHeaders = []corev1.HTTPHeader{{Name: "X-Token", Value: "a"}}
		}))
	}},
	{Name: "a probe's command is impatient", Want: []string{"probe-kill/probe-too-aggressive"}, Remedy: `"initialDelaySeconds":300`, Never: []string{"startupProbe"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.ProbeKills(o, `command "/check" timed out`, detectorstest.Deployment("shop"), detectorstest.Liveness(8080, "/", func(p *corev1.Probe) {
			p.ProbeHandler = corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/check", "--all"}}}
		}))
	}},
	// https://github.com/GoogleCloudPlatform/microservices-demo/issues/62
	{Name: "grpc_health_probe is impatient", Want: []string{"probe-kill/probe-too-aggressive"}, Remedy: `"initialDelaySeconds":300`, Ill: func(o *v1alpha1.Observation) {
		detectorstest.ProbeKills(o, "config:\n> addr=:8080 conn_timeout=1s rpc_timeout=1s\n> tls=false\nestablishing connection\nhealth check rpc failed: rpc error: code = DeadlineExceeded desc = Deadline Exceeded", detectorstest.Deployment("shop"), detectorstest.Liveness(8080, "/", func(p *corev1.Probe) {
			p.ProbeHandler = corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/bin/grpc_health_probe", "-addr=:8080"}}}
		}))
	}},
	{Name: "probe does not wait for the start", Want: []string{"probe-kill/probe-too-aggressive"}, Remedy: "kubectl replace --force", Ill: func(o *v1alpha1.Observation) {
		detectorstest.ProbeKills(o, `Get "http://10.244.1.9:8080/healthz": dial tcp 10.244.1.9:8080: connect: connection refused`, detectorstest.Liveness(8080, "/healthz"))
	}},
	{Name: "probe's path is wrong", Want: []string{"probe-kill/probe-wrong-endpoint"}, Remedy: "tcpSocket", Ill: func(o *v1alpha1.Observation) {
		detectorstest.ProbeKills(o, "HTTP probe failed with statuscode: 404", detectorstest.Liveness(8080, "/nope"))
	}},
	{Name: "probe's port is wrong", Want: []string{"probe-kill/probe-wrong-endpoint"}, Remedy: "8080", Ill: func(o *v1alpha1.Observation) {
		detectorstest.ProbeKills(o, `Get "http://10.244.1.9:9999/healthz": dial tcp 10.244.1.9:9999: connect: connection refused`, detectorstest.Liveness(9999, "/healthz"))
	}},
	{Name: "probe's timeout too short, with the owner's startup probe of half an hour", Want: []string{"probe-kill/probe-too-aggressive"}, Never: []string{`"failureThreshold":60`}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.ProbeKills(o, "context deadline exceeded", detectorstest.Deployment("shop"), detectorstest.Liveness(8080, "/healthz", func(p *corev1.Probe) { p.TimeoutSeconds, p.PeriodSeconds, p.FailureThreshold = 1, 10, 3 }),
			detectorstest.With(func(c *corev1.Container) {
				c.StartupProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt(8080)}}, PeriodSeconds: 10, FailureThreshold: 180, TimeoutSeconds: 1}
			}))
	}},
	// Under containers the patch would add one without an image, which the API refuses.
	{Name: "a native sidecar's probe is impatient", Want: []string{"probe-kill/probe-too-aggressive"}, Remedy: `"initContainers":[`, Never: []string{`"containers":[`}, Ill: func(o *v1alpha1.Observation) {
		always := corev1.ContainerRestartPolicyAlways
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "shop", detectorstest.Deployment("shop"), detectorstest.Crashing("Error", 137, 4, 3*time.Second)))
		side := p.Spec.Containers[0].DeepCopy()
		side.Name, side.RestartPolicy = "proxy", &always
		side.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt(8080)}}, TimeoutSeconds: 1, PeriodSeconds: 2, FailureThreshold: 1}
		p.Spec.InitContainers = []corev1.Container{*side}
		st := p.Status.ContainerStatuses[0]
		st.Name = "proxy"
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{st}
		p.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
		p.Status.ContainerStatuses[0].LastTerminationState = corev1.ContainerState{}
		detectorstest.Event(o, "default", "shop", "Unhealthy", "Liveness probe failed: context deadline exceeded", 21*time.Second, 5)
		detectorstest.Event(o, "default", "shop", "Killing", "Container proxy failed liveness probe, will be restarted", 20*time.Second, 5)
		for i := range o.API.Events {
			o.API.Events[i].InvolvedObject.FieldPath = "spec.initContainers{proxy}"
		}
	}},
	{Name: "the owner's startup probe of ten minutes is too short", Want: []string{"probe-kill/probe-too-aggressive"}, Likely: true, Remedy: `"failureThreshold":240`, Ill: func(o *v1alpha1.Observation) {
		startup := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt(8080)}}, PeriodSeconds: 10, FailureThreshold: 60, TimeoutSeconds: 10}
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "shop", detectorstest.Deployment("shop"), detectorstest.Liveness(8080, "/healthz"), detectorstest.Crashing("Error", 137, 4, 10*time.Minute)))
		p.Spec.Containers[0].StartupProbe = startup
		detectorstest.Event(o, "default", "shop", "Unhealthy", `Startup probe failed: dial tcp 10.244.1.9:8080: connect: connection refused`, 21*time.Second, 5)
		detectorstest.Event(o, "default", "shop", "Killing", "Container c failed startup probe, will be restarted", 20*time.Second, 5)
	}},
	{Name: "probe's path is wrong, and the owner's startup probe passes elsewhere", Want: []string{"probe-kill/probe-wrong-endpoint"}, Remedy: `"livenessProbe"`, Never: []string{"startupProbe"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.ProbeKills(o, "HTTP probe failed with statuscode: 404", detectorstest.Deployment("shop"), detectorstest.Liveness(8080, "/nope"), detectorstest.With(func(c *corev1.Container) {
			c.StartupProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/started", Port: intstr.FromInt(8080)}}}
		}))
	}},
	{Name: "the table of connections is full, and probes do not get through", Want: []string{"probe-kill/probe-too-aggressive"}, Likely: true, Remedy: "-", Says: "table of connections is full", Ill: func(o *v1alpha1.Observation) {
		o.Limits = append(o.Limits, v1alpha1.Limit{Name: "conntrack", Of: "node", Used: 65536, Max: 65536})
		detectorstest.Impatient(o)
	}},
}

var silent = []detectorstest.Case{
	{Name: "an application that was well for long and hangs now, under a generous probe", Ill: func(o *v1alpha1.Observation) {
		detectorstest.ProbeKills(o, "context deadline exceeded", detectorstest.Liveness(8080, "/healthz", func(p *corev1.Probe) { p.TimeoutSeconds, p.PeriodSeconds, p.FailureThreshold = 10, 10, 3 }))
		o.API.Pods[len(o.API.Pods)-1].Status.ContainerStatuses[0].LastTerminationState.Terminated.StartedAt = detectorstest.MetaAgo(5 * time.Hour)
	}},
	{Name: "a readiness probe fails", Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "shop"))
		p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{}
		p.Status.ContainerStatuses[0].Ready = false
		detectorstest.Event(o, "default", "shop", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 404", 4*time.Second, 90)
	}},
	{Name: "a liveness probe failed once and killed once", Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "shop", detectorstest.Liveness(8080, "/healthz")))
		p.Status.ContainerStatuses[0].RestartCount = 1
		detectorstest.Event(o, "default", "shop", "Unhealthy", "Liveness probe failed: context deadline exceeded", 5*time.Minute, 1)
		detectorstest.Event(o, "default", "shop", "Killing", "Container c failed liveness probe, will be restarted", 5*time.Minute, 1)
	}},
	{Name: "an application that says it is ill after a while", Ill: func(o *v1alpha1.Observation) {
		detectorstest.ProbeKills(o, "HTTP probe failed with statuscode: 500", detectorstest.Liveness(8080, "/healthz", func(p *corev1.Probe) { p.PeriodSeconds, p.FailureThreshold = 10, 3 }))
		p := &o.API.Pods[len(o.API.Pods)-1]
		p.Status.ContainerStatuses[0].LastTerminationState.Terminated.StartedAt = detectorstest.MetaAgo(20 * time.Minute)
	}},
	// https://github.com/kubernetes/kubernetes/issues/82987: a probe that could not be asked is no failed one, and kills nothing.
	{Name: "a probe by exec that the runtime does not finish", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "shop", detectorstest.Liveness(8080, "/", func(p *corev1.Probe) {
			p.ProbeHandler = corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"curl", "-XGET", "http://10.8.0.1:9101/"}}}
			p.InitialDelaySeconds, p.PeriodSeconds, p.TimeoutSeconds, p.FailureThreshold = 10, 30, 2, 2
		})))
		detectorstest.Event(o, "default", "shop", "Unhealthy", "Liveness probe errored: rpc error: code = DeadlineExceeded desc = context deadline exceeded", 5*time.Second, 9)
	}},
	{Name: "an application that exits", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "broken", detectorstest.Crashing("Error", 1, 9, time.Second)))
		detectorstest.Event(o, "default", "broken", "BackOff", "Back-off restarting failed container c", 10*time.Second, 40)
	}},
	{Name: "a gRPC service that says that it is not serving", Ill: func(o *v1alpha1.Observation) {
		detectorstest.ProbeKills(o, `service unhealthy (responded with "NOT_SERVING")`, detectorstest.Deployment("shop"), detectorstest.With(func(c *corev1.Container) {
			c.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 8080}}, InitialDelaySeconds: 60, PeriodSeconds: 10, TimeoutSeconds: 5, FailureThreshold: 3}
		}))
	}},
}
