package cgroupdriver_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestCases(t *testing.T) { detectorstest.Run(t, "cgroup-driver", sick, silent) }

var sick = []detectorstest.Case{
	// https://github.com/kubernetes/kubernetes/issues/43805
	{Name: "kubelet on systemd, Docker on cgroupfs", Want: []string{"cgroup-driver/driver-mismatch"}, Remedy: "-", Manual: "native.cgroupdriver", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, `failed to run Kubelet: misconfiguration: kubelet cgroup driver: \"systemd\" is different from docker cgroup driver: \"cgroupfs\"`)
	}},
	{Name: "kubelet cgroupfs, runtime systemd", Want: []string{"cgroup-driver/driver-mismatch"}, Remedy: "systemctl restart kubelet.service", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Config.CgroupDriver = "cgroupfs"
		detectorstest.SandboxFails(o, `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/kubepods/x" instead`)
	}},
	{Name: "kubelet and runtime on cgroupfs, and a wrapper that names systemd", Want: []string{"cgroup-driver/driver-mismatch"}, Remedy: "mv -fT -- /usr/local/sbin/runc-wrapper", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Config.CgroupDriver = "cgroupfs"
		r := &o.Runtime.Handlers[0]
		r.SystemdCgroup, r.BinaryName, r.RuntimePath = detectorstest.Ptr(false), "/usr/local/sbin/runc-wrapper", "/usr/local/sbin/runc-wrapper"
		o.Files = append(o.Files, v1alpha1.File{Path: r.RuntimePath, Exists: true, Mode: "-rwxr-xr-x", SizeBytes: 42, Script: "/bin/sh"})
		detectorstest.SandboxFails(o, `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/kubepods/x" instead`)
	}},
	{Name: "CRI-O on cgroupfs, and a wrapper that names systemd", Want: []string{"cgroup-driver/driver-mismatch"}, Remedy: "/etc/crio/crio.conf.d/10-crio.conf", Never: []string{"containerd"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		o.Kubelet.Config.CgroupDriver = "cgroupfs"
		o.Runtime.Handlers[0] = v1alpha1.RuntimeHandler{Name: "crun", SystemdCgroup: detectorstest.Ptr(false), BinaryName: "/usr/local/sbin/runc-wrapper", RuntimePath: "/usr/local/sbin/runc-wrapper"}
		o.Runtime.ConfigFile.Handlers = o.Runtime.Handlers
		o.Files = append(o.Files, v1alpha1.File{Path: "/usr/local/sbin/runc-wrapper", Exists: true, Mode: "-rwxr-xr-x", SizeBytes: 42, Script: "/bin/sh"})
		detectorstest.SandboxFails(o, `container create failed: runc create failed: expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/kubepods/besteffort/pod1/crio-1" instead`)
	}},
	{Name: "CRI-O was moved to cgroupfs, and the kubelet was not restarted", Want: []string{"cgroup-driver/driver-mismatch"}, Remedy: "/etc/crio/crio.conf.d/10-crio.conf", Says: "CRI-O wants them for cgroupfs", Never: []string{"containerd"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		o.Runtime.CgroupDriver = "cgroupfs"
		o.Runtime.Handlers[0].SystemdCgroup = detectorstest.Ptr(false)
		o.Runtime.ConfigFile.Handlers = o.Runtime.Handlers
		detectorstest.SandboxFails(o, `cri-o configured with cgroupfs cgroup manager, but received systemd slice as parent: kubelet-kubepods-besteffort-pod1.slice`)
	}},
	{Name: "kubelet systemd, runtime cgroupfs", Want: []string{"cgroup-driver/silent-mismatch"}, Remedy: "SystemdCgroup = true", Ill: func(o *v1alpha1.Observation) {
		for i := range o.Runtime.Handlers {
			o.Runtime.Handlers[i].SystemdCgroup, o.Runtime.ConfigFile.Handlers[i].SystemdCgroup = detectorstest.Ptr(false), detectorstest.Ptr(false)
		}
		o.Containers[2].UnderKubepods, o.Containers[2].CgroupPath = false, "/system.slice/containerd.service/kubelet-kubepods-pod1.slice:cri-containerd:abc"
	}},
	{Name: "Kubernetes 1.34 on a runtime that says cgroupfs, and a wrapper that names systemd", Want: []string{"cgroup-driver/driver-mismatch"}, Remedy: "mv -fT -- /usr/local/sbin/runc-wrapper", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Version, o.Kubelet.Config.CgroupDriver, o.Runtime.CgroupDriver = "v1.34.4", "systemd", "cgroupfs"
		r := &o.Runtime.Handlers[0]
		r.SystemdCgroup, r.BinaryName, r.RuntimePath = detectorstest.Ptr(false), "/usr/local/sbin/runc-wrapper", "/usr/local/sbin/runc-wrapper"
		o.Files = append(o.Files, v1alpha1.File{Path: r.RuntimePath, Exists: true, Mode: "-rwxr-xr-x", SizeBytes: 42, Script: "/bin/sh"})
		detectorstest.SandboxFails(o, `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/kubepods/x" instead`)
	}},
	{Name: "Kubernetes 1.34 that took systemd from a runtime of that time", Want: []string{"cgroup-driver/silent-mismatch"}, Remedy: "SystemdCgroup = true", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Version, o.Kubelet.Config.CgroupDriver = "v1.34.4", "cgroupfs"
		detectorstest.Log(o, "kubelet", `"Using cgroup driver setting received from the CRI runtime" cgroupDriver="systemd"`, 0)
		o.Runtime.Handlers[0].SystemdCgroup, o.Runtime.ConfigFile.Handlers[0].SystemdCgroup = detectorstest.Ptr(false), detectorstest.Ptr(false)
		o.Containers[2].UnderKubepods, o.Containers[2].CgroupPath = false, "/system.slice/containerd.service/kubelet-kubepods-pod1.slice:cri-containerd:abc"
	}},
	{Name: "Kubernetes 1.30, which asks no runtime by default: its configz counts", Want: []string{"cgroup-driver/driver-mismatch"}, Class: v1alpha1.Disruptive, Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Version, o.Kubelet.Config.CgroupDriver = "v1.30.4", "cgroupfs"
	}},
	{Name: "default handler without options", Want: []string{"cgroup-driver/silent-mismatch"}, Remedy: "SystemdCgroup = true", Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Handlers[0].SystemdCgroup, o.Runtime.ConfigFile.Handlers[0].SystemdCgroup = nil, nil
	}},
	{Name: "a RuntimeClass' handler differs", Want: []string{"cgroup-driver/handler-mismatch"}, Remedy: "test-handler", Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Handlers[1].SystemdCgroup, o.Runtime.ConfigFile.Handlers[1].SystemdCgroup = detectorstest.Ptr(false), detectorstest.Ptr(false)
		detectorstest.RuntimeClass(o, "test", "test-handler")
		detectorstest.AddPod(o, detectorstest.Pod("default", "special", func(p *corev1.Pod) { p.Spec.RuntimeClassName = detectorstest.Ptr("test") }))
	}},
	{Name: "runc replaced by a script that drops the option", Want: []string{"cgroup-driver/silent-mismatch"}, Remedy: ":/usr/local/sbin/runc", Ill: func(o *v1alpha1.Observation) {
		o.Containers[2].UnderKubepods, o.Containers[2].CgroupPath = false, "/system.slice/containerd.service/kubelet-kubepods-pod1.slice:cri-containerd:abc"
		o.Files = []v1alpha1.File{{Path: "/usr/local/sbin/runc", Exists: true, Mode: "-rwxr-xr-x", SizeBytes: 5120}}
	}},
	{Name: "k3s writes its containerd's configuration itself", Want: []string{"cgroup-driver/silent-mismatch"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Unit = "k3s-agent"
		o.Runtime.Handlers[0].SystemdCgroup = nil
	}},
	{Name: "a container outside, and nothing seen that starts it there", Want: []string{"cgroup-driver/silent-mismatch"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Containers[2].UnderKubepods, o.Containers[2].CgroupPath = false, "/system.slice/abc"
	}},
	{Name: "kubelet refuses cgroup v1 by a drop-in of its configuration", Want: []string{"cgroup-driver/cgroup-v1-refused"}, Remedy: "/etc/kubernetes/kubelet.conf.d/20-hardening.conf", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.ConfigFiles = append(o.Kubelet.ConfigFiles, "/etc/kubernetes/kubelet.conf.d/20-hardening.conf")
		o.Kubelet.File.FailCgroupV1 = detectorstest.Ptr(true)
		detectorstest.KubeletLoops(o, "failed to validate kubelet configuration, error: kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is unsupported and will be removed in a future release, path: &TypeMeta{}")
	}},
	{Name: "kubelet refuses cgroup v1", Want: []string{"cgroup-driver/cgroup-v1-refused"}, Remedy: "failCgroupV1", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.File.FailCgroupV1 = nil
		detectorstest.KubeletLoops(o, "failed to validate kubelet configuration, error: kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is unsupported and will be removed in a future release, path: &TypeMeta{}")
	}},
	{Name: "containerd 1.7 with cgroupfs, the kubelet's file says systemd, no API", Want: []string{"cgroup-driver/silent-mismatch"}, Ill: func(o *v1alpha1.Observation) {
		older(o)
		o.Runtime.Handlers[0].SystemdCgroup = detectorstest.Ptr(false)
	}},
	{Name: "containerd 1.7 with systemd, the kubelet's file says cgroupfs", Want: []string{"cgroup-driver/driver-mismatch"}, Remedy: "cgroupDriver", Ill: func(o *v1alpha1.Observation) {
		api := o.API
		older(o)
		o.API, o.Kubelet.File.CgroupDriver = api, "cgroupfs"
	}},
}

var silent = []detectorstest.Case{
	{Name: "a wrapper around runc that does as it is told", Ill: func(o *v1alpha1.Observation) {
		r := &o.Runtime.Handlers[0]
		r.BinaryName, r.RuntimePath = "/usr/local/sbin/runc-wrapper", "/usr/local/sbin/runc-wrapper"
		o.Files = append(o.Files, v1alpha1.File{Path: r.RuntimePath, Exists: true, Mode: "-rwxr-xr-x", SizeBytes: 42, Script: "/bin/sh"})
	}},
	{Name: "an unused handler without a shim and with another driver", Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Handlers[1].ShimPath, o.Runtime.Handlers[1].SystemdCgroup, o.Runtime.Handlers[1].RuntimePath = "", nil, ""
		detectorstest.RuntimeClass(o, "test", "test-handler")
	}},
	{Name: "cgroupDriver in the kubelet's file, without effect", Ill: func(o *v1alpha1.Observation) { o.Kubelet.File.CgroupDriver = "cgroupfs" }},
	{Name: "SystemdCgroup changed in the file, runtime not restarted", Ill: func(o *v1alpha1.Observation) {
		o.Runtime.ConfigFile.Handlers[0].SystemdCgroup = detectorstest.Ptr(false)
	}},
	{Name: "a kubelet without cgroups for its pods", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Config.CgroupsPerQOS, o.Kubelet.File.CgroupsPerQOS = detectorstest.Ptr(false), detectorstest.Ptr(false)
		for i := range o.Containers {
			o.Containers[i].UnderKubepods, o.Containers[i].CgroupPath = false, "/system.slice/abc"
		}
	}},
	// CRI-O puts conmon below system.slice by default (monitor_cgroup), and an agent took it for the container.
	{Name: "CRI-O, with conmon below system.slice", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		for i := range o.Containers {
			o.Containers[i].UnderKubepods, o.Containers[i].CgroupPath = false, fmt.Sprintf("/system.slice/crio-conmon-%064x.scope", i)
		}
	}},
	{Name: "containerd 1.7 and the kubelet's file agree, no API", Ill: older},
	{Name: "Kubernetes 1.34, whose configz is of before the runtime's answer", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Version, o.Kubelet.Config.CgroupDriver, o.Kubelet.File.CgroupDriver = "v1.34.4", "cgroupfs", ""
	}},
}

// older is a node of before CRI could name the driver, seen without the API.
func older(o *v1alpha1.Observation) {
	o.API, o.Runtime.Version, o.Runtime.CgroupDriver = nil, "v1.7.27", ""
	o.Kubelet.File.CgroupDriver, o.Kubelet.Config = "systemd", v1alpha1.KubeletConfig{}
	o.Kubelet.ConfigSource = ""
}

// A kubelet of 1.34 whose log is gone may have taken either driver: with another one it makes all sandboxes anew when it is restarted.
func TestRestartWithAnUnknownDriver(t *testing.T) {
	o := detectorstest.Healthy()
	o.Kubelet.Version = "v1.34.4"
	r := &o.Runtime.Handlers[0]
	r.BinaryName, r.RuntimePath = "/usr/local/sbin/runc-wrapper", "/usr/local/sbin/runc-wrapper"
	o.Files = append(o.Files, v1alpha1.File{Path: r.RuntimePath, Exists: true, Mode: "-rwxr-xr-x", SizeBytes: 42, Script: "/bin/sh"})
	detectorstest.SandboxFails(o, `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/kubepods/x" instead`)
	found := all.Judge(v1alpha1.History{*o})
	if len(found) != 1 || found[0].Remedy == nil {
		t.Fatalf("%+v", found)
	}
	restarts := 0
	for _, s := range found[0].Remedy.Steps {
		if strings.Contains(s.Run, "restart kubelet.service") {
			restarts++
			if s.Class != v1alpha1.Disruptive {
				t.Errorf("a restart that may make all sandboxes anew is %s", s.Class)
			}
		}
	}
	if restarts != 1 {
		t.Errorf("%d restarts of the kubelet in %+v", restarts, found[0].Remedy.Steps)
	}
}
