package oomthrottle_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestCases(t *testing.T) { detectorstest.Run(t, "oom-throttle", sick, silent) }

var sick = []detectorstest.Case{
	{Name: "memory limit", Want: []string{"oom-throttle/memory-limit"}, Remedy: "--subresource resize", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "hog", limits("", "32Mi"), detectorstest.Crashing("OOMKilled", 137, 3, 5*time.Second)))
	}},
	{Name: "memory limit, the reason was lost", Want: []string{"oom-throttle/memory-limit"}, Remedy: "128Mi", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "hog", limits("", "32Mi"), detectorstest.Crashing("Error", 137, 3, 5*time.Second), detectorstest.Deployment("hog")))
		detectorstest.Kmsg(o, "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=cri-containerd-old-hog.scope,mems_allowed=0,oom_memcg=/docker/x/kubelet.slice/cri-containerd-old-hog.scope,task_memcg=/x,task=agnhost,pid=9,uid=0", 20*time.Second)
	}},
	{Name: "CPU limit", Want: []string{"oom-throttle/cpu-throttled"}, Remedy: `"cpu":"500m"`, Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "busy", limits("50m", "")))
		throttled(o)
	}},
	{Name: "CPU limit, and the pod's cgroup runs out first", Want: []string{"oom-throttle/cpu-throttled"}, Remedy: `"cpu":"200m"`, Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "busy", limits("20m", "")))
		c := &o.Containers[len(o.Containers)-1] // seen in an emulator, where such a container does not even get up
		c.CPU = v1alpha1.CPUUsage{QuotaMilli: 20, NrPeriods: 645, NrThrottled: 369, ThrottledUsec: 35_268_871}
		c.PodCPU = v1alpha1.CPUUsage{QuotaMilli: 20, NrPeriods: 1605, NrThrottled: 1600, ThrottledUsec: 253_048_123}
	}},
	{Name: "memory limit, and the probe notices first", Want: []string{"oom-throttle/memory-limit"}, Remedy: "128Mi", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Impatient(o, limits("", "32Mi"))
		detectorstest.Kmsg(o, "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/docker/x/kubelet.slice/cri-containerd-old-shop.scope,task=shop,pid=9,uid=0", 20*time.Second)
	}},
	{Name: "CPU limit, and the probe notices", Want: []string{"oom-throttle/cpu-throttled"}, Remedy: `"cpu":"500m"`, Ill: func(o *v1alpha1.Observation) {
		detectorstest.Impatient(o, limits("50m", ""))
		throttled(o)
	}},
	{Name: "CPU limit, and another pod's impatient probe", Want: []string{"oom-throttle/cpu-throttled", "probe-kill/probe-too-aggressive"}, Remedy: `"cpu":"500m"`, Ill: func(o *v1alpha1.Observation) {
		detectorstest.Impatient(o)
		detectorstest.AddPod(o, detectorstest.Pod("default", "busy", limits("50m", "")))
		throttled(o)
	}},
	{Name: "a Job's pods are killed for memory one after the other", Want: []string{"oom-throttle/memory-limit"}, Ill: func(o *v1alpha1.Observation) {
		for i := range 3 {
			p := detectorstest.AddPod(o, detectorstest.Pod("default", fmt.Sprintf("train-%d", i), limits("", "64Mi"), detectorstest.Crashing("OOMKilled", 137, 0, 20*time.Second)))
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "train", Controller: detectorstest.Ptr(true)}}
			p.Spec.RestartPolicy, p.Status.Phase = corev1.RestartPolicyNever, corev1.PodFailed
			s := &p.Status.ContainerStatuses[0]
			s.State, s.LastTerminationState = corev1.ContainerState{Terminated: s.LastTerminationState.Terminated}, corev1.ContainerState{}
			s.State.Terminated.FinishedAt = detectorstest.MetaAgo(time.Duration(1+i) * 90 * time.Second)
		}
	}},
	{Name: "memory limit of the whole pod", Want: []string{"oom-throttle/memory-limit"}, Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "hog", detectorstest.Crashing("OOMKilled", 137, 3, 5*time.Second), detectorstest.Deployment("hog")))
		p.Spec.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}}
	}},
	// The API refuses a resize that changes the pod's class.
	{Name: "memory limit of a bare pod of class Guaranteed", Want: []string{"oom-throttle/memory-limit"}, Remedy: `"requests":{`, Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "hog", limits("100m", "64Mi"), detectorstest.Crashing("OOMKilled", 137, 3, 5*time.Second)))
		p.Spec.Containers[0].Resources.Requests, p.Status.QOSClass = p.Spec.Containers[0].Resources.Limits, corev1.PodQOSGuaranteed
	}},
	// The kernel stamps its log by a clock that NTP does not discipline: 20 ppm are 75 seconds in forty days.
	{Name: "memory limit, the kernel's stamps ahead after a long uptime", Want: []string{"oom-throttle/memory-limit"}, Ill: func(o *v1alpha1.Observation) {
		o.Host.UptimeSeconds = 40 * 86400
		detectorstest.AddPod(o, detectorstest.Pod("default", "hog", limits("", "64Mi"), detectorstest.Crashing("Error", 137, 6, time.Second)))
		for _, ahead := range []time.Duration{70 * time.Second, 75 * time.Second} {
			detectorstest.Kmsg(o, "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/kubepods.slice/kubepods-poduid_hog.slice/cri-containerd-old-hog.scope,task=app,pid=4242,uid=0", -ahead)
		}
	}},
	{Name: "memory limit below what runc needs to start", Want: []string{"oom-throttle/memory-limit"}, Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "tiny", limits("", "4Mi"), detectorstest.Crashing("StartError", 128, 3, time.Second), detectorstest.Deployment("tiny")))
		p.Status.ContainerStatuses[0].LastTerminationState.Terminated.Message = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: container init was OOM-killed (memory limit too low?)"
	}},
	{Name: "memory limit below what the pod's sandbox needs to start", Want: []string{"oom-throttle/memory-limit"}, Remedy: `"limits":{"memory":"64Mi"}`, Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "tiny", limits("", "2Mi"), detectorstest.Deployment("tiny")))
		p.Status.Phase = corev1.PodPending
		p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}
		detectorstest.Event(o, "default", "tiny", "FailedCreatePodSandBox", `Failed to create pod sandbox: rpc error: code = Unknown desc = failed to start sandbox "a9aa": failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: container init was OOM-killed (memory limit too low?)`, 4*time.Second, 2)
	}},
	{Name: "memory limit of a pod of several containers, and the kernel names the pod", Want: []string{"oom-throttle/memory-limit"}, Remedy: `"spec":{"resources":{"limits":{"memory":"512Mi"}}}`, Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "hog", limits("", "96Mi"), detectorstest.Crashing("OOMKilled", 137, 3, 5*time.Second), detectorstest.Deployment("hog")))
		p.Spec.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")}}
		detectorstest.Kmsg(o, "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/kubepods.slice/kubepods-pod1234_ab.slice,task_memcg=/kubepods.slice/kubepods-pod1234_ab.slice/cri-containerd-old-hog.scope,task=hog,pid=9,uid=0", 20*time.Second)
	}},
	{Name: "memory limit of an init container", Want: []string{"oom-throttle/memory-limit"}, Remedy: `"initContainers":[{"name":"c"`, Ill: func(o *v1alpha1.Observation) {
		initial(detectorstest.AddPod(o, detectorstest.Pod("default", "hog", limits("", "32Mi"), detectorstest.Crashing("OOMKilled", 137, 3, 5*time.Second), detectorstest.Deployment("hog"))))
	}},
	{Name: "memory limit of a Deployment of class Guaranteed", Want: []string{"oom-throttle/memory-limit"}, Remedy: `"requests":{"memory":"256Mi"}`, Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "hog", limits("100m", "64Mi"), detectorstest.Crashing("OOMKilled", 137, 3, 5*time.Second), detectorstest.Deployment("hog")))
		p.Status.QOSClass = corev1.PodQOSGuaranteed
	}},
	{Name: "memory limit of a bare pod, where there is no resize", Want: []string{"oom-throttle/memory-limit"}, Remedy: "kubectl replace --force", Never: []string{"resize"}, Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Version = "v1.32.9"
		detectorstest.AddPod(o, detectorstest.Pod("default", "hog", limits("", "32Mi"), detectorstest.Crashing("OOMKilled", 137, 3, 5*time.Second)))
	}},
	{Name: "CPU limit of the whole pod", Want: []string{"oom-throttle/cpu-throttled"}, Remedy: `"cpu":"500m"`, Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "busy", detectorstest.Deployment("busy")))
		p.Spec.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m")}}
		o.Containers[len(o.Containers)-1].PodCPU = v1alpha1.CPUUsage{QuotaMilli: 50, NrPeriods: 900, NrThrottled: 895, ThrottledUsec: 85_000_000}
	}},
	{Name: "CPU limit, counted over periods of 10 ms", Want: []string{"oom-throttle/cpu-throttled"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "busy", limits("50m", "")))
		o.Containers[len(o.Containers)-1].CPU = v1alpha1.CPUUsage{QuotaMilli: 50, PeriodUsec: 10_000, NrPeriods: 9000, NrThrottled: 8950, ThrottledUsec: 85_000_000}
	}},
	{Name: "CPU limit of half a CPU for many threads, and the probe notices", Want: []string{"oom-throttle/cpu-throttled"}, Likely: true, Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "busy", limits("500m", "")))
		o.Containers[len(o.Containers)-1].CPU = v1alpha1.CPUUsage{QuotaMilli: 500, NrPeriods: 900, NrThrottled: 895, ThrottledUsec: 900 * 350_000}
		detectorstest.Event(o, "default", "busy", "Unhealthy", "Readiness probe failed: context deadline exceeded", 5*time.Second, 9)
	}},
	{Name: "the JVM of a Guaranteed pod is killed by its limit, and the node has swap that nobody minds", Want: []string{"oom-throttle/memory-limit"}, Ill: func(o *v1alpha1.Observation) {
		o.Swaps = []v1alpha1.Swap{{Path: "/dev/zram0", Type: "partition", SizeBytes: 1 << 30}}
		o.Kubelet.Config.FailSwapOn, o.Kubelet.File.FailSwapOn = detectorstest.Ptr(false), detectorstest.Ptr(false)
		detectorstest.AddPod(o, detectorstest.Pod("default", "jvm", detectorstest.Deployment("jvm"), detectorstest.With(func(c *corev1.Container) {
			c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")}
		}), detectorstest.Crashing("OOMKilled", 137, 5, time.Minute)))
	}},
}

// initial makes the pod's only container an init container.
func initial(p *corev1.Pod) {
	p.Spec.InitContainers, p.Status.InitContainerStatuses = p.Spec.Containers, p.Status.ContainerStatuses
	p.Spec.Containers, p.Status.ContainerStatuses = []corev1.Container{{Name: "app"}}, nil
}

var silent = []detectorstest.Case{
	{Name: "a batch job of sixteen threads at its limit of two CPUs", Ill: func(o *v1alpha1.Observation) {
		o.Host.CPUs = 16
		detectorstest.AddPod(o, detectorstest.Pod("default", "batch", limits("2", "")))
		o.Containers[len(o.Containers)-1].CPU = v1alpha1.CPUUsage{QuotaMilli: 2000, NrPeriods: 900, NrThrottled: 898, ThrottledUsec: 900 * 1_400_000, UsageUsec: 900 * 200_000}
	}},
	{Name: "one pod of a Job was killed for memory", Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "train-0", limits("", "64Mi"), detectorstest.Crashing("OOMKilled", 137, 0, 20*time.Second)))
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "train", Controller: detectorstest.Ptr(true)}}
		p.Status.Phase = corev1.PodFailed
		p.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: p.Status.ContainerStatuses[0].LastTerminationState.Terminated}
	}},
	{Name: "killed without a limit, by a node out of memory", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "victim", detectorstest.Crashing("OOMKilled", 137, 4, time.Minute)))
	}},
	{Name: "killed below its limit, by a node out of memory", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "victim", limits("", "8Gi"), detectorstest.Crashing("OOMKilled", 137, 4, time.Minute)))
		detectorstest.Kmsg(o, "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=cri-containerd-old-victim.scope,mems_allowed=0,global_oom,task_memcg=/kubelet.slice/cri-containerd-old-victim.scope,task=java,pid=77,uid=0", 21*time.Second)
	}},
	{Name: "killed below its limit, for all pods together had no memory left", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "victim", limits("", "8Gi"), detectorstest.Crashing("OOMKilled", 137, 4, time.Minute)))
		detectorstest.Kmsg(o, "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=cri-containerd-old-victim.scope,mems_allowed=0,oom_memcg=/kubepods.slice,task_memcg=/kubepods.slice/kubepods-poduid_victim.slice/cri-containerd-old-victim.scope,task=java,pid=77,uid=0", 21*time.Second)
	}},
	{Name: "an application killed by itself with 137", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "broken", limits("", "64Mi"), detectorstest.Crashing("Error", 137, 9, time.Second)))
	}},
	{Name: "killed for memory once", Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "hog", limits("", "64Mi")))
		s := &p.Status.ContainerStatuses[0]
		s.RestartCount = 1
		s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137, FinishedAt: detectorstest.MetaAgo(3 * time.Minute)}
	}},
	{Name: "another node's memory kill in the shared kernel log", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Kmsg(o, "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/docker/other/kubelet/kubepods/pod1234/abcdef", 5*time.Second)
	}},
	{Name: "a container throttled a little", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "busy", limits("500m", "")))
		o.Containers[len(o.Containers)-1].CPU = v1alpha1.CPUUsage{QuotaMilli: 500, NrPeriods: 900, NrThrottled: 200, ThrottledUsec: 4_000_000}
	}},
	{Name: "a container throttled a little, in a pod whose other one is at its limit", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "busy", limits("500m", "")))
		c := &o.Containers[len(o.Containers)-1]
		c.CPU = v1alpha1.CPUUsage{QuotaMilli: 500, NrPeriods: 900, NrThrottled: 200, ThrottledUsec: 4_000_000}
		c.PodCPU = v1alpha1.CPUUsage{QuotaMilli: 520, NrPeriods: 900, NrThrottled: 890, ThrottledUsec: 85_000_000}
	}},
	{Name: "a batch job at its limit", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "batch", limits("500m", "")))
		o.Containers[len(o.Containers)-1].CPU = v1alpha1.CPUUsage{QuotaMilli: 500, NrPeriods: 900, NrThrottled: 895, ThrottledUsec: 45_000_000}
	}},
	// throttled_usec is the sum over the CPUs: half of each period on each of eight, as the one-thread job above.
	{Name: "a batch job of eight threads at its limit", Ill: func(o *v1alpha1.Observation) {
		o.Host.CPUs = 16
		detectorstest.AddPod(o, detectorstest.Pod("default", "batch", limits("4", "")))
		o.Containers[len(o.Containers)-1].CPU = v1alpha1.CPUUsage{QuotaMilli: 4000, NrPeriods: 900, NrThrottled: 895, ThrottledUsec: 900 * 8 * 50_000, UsageUsec: 900 * 400_000}
	}},
	{Name: "throttled while it starts", Once: true, Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "java", limits("500m", "")))
		p.Status.ContainerStatuses[0].State.Running.StartedAt = detectorstest.MetaAgo(9 * time.Second)
		o.Containers[len(o.Containers)-1].CPU = v1alpha1.CPUUsage{QuotaMilli: 500, NrPeriods: 85, NrThrottled: 81, ThrottledUsec: 85 * 75_000}
	}},
}

func limits(cpu, memory string) detectorstest.PodOption {
	return detectorstest.With(func(c *corev1.Container) {
		c.Resources.Limits = corev1.ResourceList{}
		if cpu != "" {
			c.Resources.Limits[corev1.ResourceCPU] = resource.MustParse(cpu)
		}
		if memory != "" {
			c.Resources.Limits[corev1.ResourceMemory] = resource.MustParse(memory)
		}
	})
}

// throttled has the last container stand still for its CPU limit.
func throttled(o *v1alpha1.Observation) {
	o.Containers[len(o.Containers)-1].CPU = v1alpha1.CPUUsage{QuotaMilli: 50, NrPeriods: 900, NrThrottled: 895, ThrottledUsec: 85_000_000}
}

// A pod's counters are compared with those of an earlier look at the same pod, whichever container it had then. A pod of its name that
// was deleted since had others.
func TestThrottlingIsOfOnePod(t *testing.T) {
	look := func(uid, id string, periods, throttled int64) v1alpha1.Observation {
		o := detectorstest.Healthy()
		detectorstest.AddPod(o, detectorstest.Pod("default", "busy", limits("100m", "")))
		u := &o.Containers[len(o.Containers)-1]
		u.ID, u.CgroupPath = id, "/kubelet-kubepods.slice/kubelet-kubepods-pod"+uid+".slice/cri-containerd-"+id+".scope"
		u.CPU = v1alpha1.CPUUsage{QuotaMilli: 100, NrPeriods: 20}
		u.PodCPU = v1alpha1.CPUUsage{QuotaMilli: 100, NrPeriods: periods, NrThrottled: throttled, ThrottledUsec: throttled * 90_000}
		return *o
	}
	// Half of the later pod's periods were throttled, but nearly all of what came on top of the earlier numbers.
	for uid, want := range map[string][]string{"1": {"oom-throttle/cpu-throttled"}, "2": nil} {
		h := v1alpha1.History{look("1", "a", 500, 50), look(uid, "b", 1000, 500)}
		h[0].At = detectorstest.Ago(time.Minute)
		if got := detectorstest.Names(all.Judge(h)); !slices.Equal(got, want) {
			t.Errorf("pod of uid %s after one of uid 1: found %v, want %v", uid, got, want)
		}
	}
}
