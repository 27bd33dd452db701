package deviceplugin_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	_ "github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestCases(t *testing.T) { detectorstest.Run(t, "device-plugin", sick, silent) }

var sick = []detectorstest.Case{
	{Name: "device plugin gone", Want: []string{"device-plugin/plugin-down"}, Remedy: "/api/v1/namespaces/kube-system/pods/lamp-plugin-4x/eviction", Ill: detectorstest.PluginGone},
	{Name: "devices unhealthy", Want: []string{"device-plugin/device-unhealthy"}, Remedy: "/api/v1/namespaces/kube-system/pods/lamp-plugin-4x/eviction", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Devices(o, "2", "0")
		detectorstest.LampSocket(o, "ok")
		detectorstest.Log(o, "kubelet", `"Device plugin connected" resourceName="example.com/lamp"`, 5*time.Minute)
		detectorstest.Log(o, "kubelet", `"Processed device updates for resource" resourceName="example.com/lamp" totalCount=2 healthyCount=0`, time.Minute)
	}},
	{Name: "plugin refuses to allocate", Want: []string{"device-plugin/allocate-failed"}, Remedy: "lamp-plugin-4x", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Devices(o, "2", "2")
		detectorstest.LampSocket(o, "ok")
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "lamp-user", detectorstest.Waiting("ContainerCreating", "")))
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{detectorstest.Device: resource.MustParse("1")}
		p.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "UnexpectedAdmissionError", Message: "Pod was rejected: Allocate failed due to rpc error: code = Unknown desc = the lamp is broken, which is unexpected"}
		p.CreationTimestamp = detectorstest.MetaAgo(time.Minute)
	}},
	{Name: "device plugin forgotten by a kubelet that was restarted, and nobody remembers it", Want: []string{"device-plugin/plugin-down"}, Remedy: "/api/v1/namespaces/kube-system/pods/lamp-plugin-4x/eviction", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Devices(o, "0", "0")
		wantsLamp(o)
	}},
	{Name: "one of three device plugins gone", Want: []string{"device-plugin/plugin-down"}, Remedy: "lamp-plugin-4x", Never: []string{"nvidia-device-plugin-daemonset-q1", "virt-handler-z9"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.Devices(o, "2", "0")
		detectorstest.LampSocket(o, "refused")
		detectorstest.AddPod(o, detectorstest.Pod("gpu-operator", "nvidia-device-plugin-daemonset-q1", detectorstest.DaemonSet("nvidia-device-plugin-daemonset"), detectorstest.HostPath("/var/lib/kubelet/device-plugins")))
		detectorstest.AddPod(o, detectorstest.Pod("kubevirt", "virt-handler-z9", detectorstest.DaemonSet("virt-handler"), detectorstest.HostPath("/var/lib/kubelet/device-plugins")))
	}},
}

var silent = []detectorstest.Case{
	{Name: "all devices in use", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Devices(o, "2", "2")
		detectorstest.LampSocket(o, "ok")
		p := detectorstest.Pod("default", "wants-lamp")
		p.Spec.NodeName, p.Status = "", corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/2 nodes are available: 2 Insufficient example.com/lamp."}}}
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{detectorstest.Device: resource.MustParse("1")}
		o.API.Pending = []corev1.Pod{*p}
	}},
	{Name: "a pod pending for want of CPU", Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.Pod("default", "big")
		p.Spec.NodeName, p.Status = "", corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/2 nodes are available: 2 Insufficient cpu."}}}
		o.API.Pending = []corev1.Pod{*p}
	}},
	{Name: "a device plugin that was taken off this node, while others look for one", Ill: func(o *v1alpha1.Observation) {
		o.API.Node.Status.Capacity[detectorstest.Device], o.API.Node.Status.Allocatable[detectorstest.Device] = resource.MustParse("0"), resource.MustParse("0")
		wantsLamp(o)
	}},
	{Name: "a device plugin without devices that nobody wants", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Devices(o, "0", "0")
		detectorstest.LampSocket(o, "ok")
	}},
}

// wantsLamp adds a pod that no node has a device for.
func wantsLamp(o *v1alpha1.Observation) {
	p := detectorstest.Pod("default", "lamp-user")
	p.Spec.NodeName = ""
	p.Spec.Containers = []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{detectorstest.Device: resource.MustParse("1")}}}}
	p.Status = corev1.PodStatus{Phase: corev1.PodPending}
	o.API.Pending = append(o.API.Pending, *p)
}
