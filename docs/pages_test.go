package docs

import (
	"strings"
	"testing"
)

// Every signal of the guide's section 4, up to its stable part, the words of its section 5 and a log line as it is pasted lead to
// their failure, or to several of which it is one.
func TestSignalsLeadToTheirFailure(t *testing.T) {
	for failure, texts := range map[string][]string{
		"image-pull": {
			`Failed to pull image "shop/app:1.1": rpc error: code = Unknown desc = pull access denied`, "pull access denied", "ErrImagePull",
			"ImagePullBackOff", "imagePullSecret", "이미지 풀", "레지스트리 인증", "x509: certificate signed by unknown authority", "trying next host",
			"no basic auth credentials",
		},
		"sandbox-create": {"failed to create shim task", "failed to create containerd task", "failed to create prepare snapshot dir", "inode 고갈", "overlayfs"},
		"cgroup-driver": {
			"cgroup: cannot allocate resource", "failed to set cgroup", "cgroupDriver", "SystemdCgroup", "kubelet is configured to not run on a host using cgroup v1",
			`OCI runtime create failed: expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/kubepods/x\" instead`,
		},
		"pleg": {
			"PLEG is not healthy", "PLEG is not healthy: pleg was last seen active", "container runtime is down", "런타임 과부하",
			`E1125 18:36:11.123456 812 kubelet.go:2470] "Skipping pod synchronization" err="PLEG is not healthy: pleg was last seen active 3m12.4s ago; threshold is 3m0s"`,
		},
		"csi-mount": {
			`MountVolume.MountDevice failed for volume "pvc-1" : rpc error: code = Internal desc = mount failed`, "MountVolume.MountDevice failed", "rpc error: code = Internal",
			"not found in the list of registered CSI drivers", "볼륨 마운트 실패", "multipath",
		},
		"node-notready": {
			"Node not registered", "failed to get node info", "Unable to register node with API server", "Kubelet stopped posting node status", "kubelet 등록 실패",
			"failed to run Kubelet: unable to load bootstrap kubeconfig", "Failed to update lease",
		},
		"probe-kill": {
			"Liveness probe failed", "Back-off restarting failed container", "Liveness probe failed: HTTP probe failed with statuscode: 500", "startupProbe", "프로브 과격",
			"Container shop failed liveness probe, will be restarted",
		},
		"oom-throttle": {"State: OOMKilled", "cpu throttling high", "Memory cgroup out of memory: Killed process 4711", "리밋 과소"},
		"cni": {
			`Failed to create pod sandbox: rpc error: code = Unknown desc = failed to set up sandbox container "4f1" network for pod "shop": plugin returned error`,
			"failed to set up sandbox container", "plugin returned error", "cni plugin not initialized", "no IP addresses available in range set", "br_netfilter", "네트워크 플러그인",
			`failed to find plugin "ptp" in path [/opt/cni/bin]`,
		},
		"disk-pressure":   {"NodeHasDiskPressure", "overlayfs: no space left on device", "no space left on device", "The node was low on resource: ephemeral-storage", "디스크 압력", "Evicted"},
		"security-denial": {"permission denied", "Operation not permitted", "audit: avc: denied", "apparmor=\"DENIED\"", "cannot load seccomp profile", "SELinux", "보안 프로파일"},
		"clock-cert":      {"certificate has expired or is not yet valid", "인증서 만료", "시간 스큐", "NTP", "The currently active client certificate has expired and the server is responsive, exiting."},
		"swap": {
			"runtime error: swap is enabled", "swap is enabled", "failSwapOn", "swap 활성화",
			`E1125 run.go:72] "command failed" err="failed to run Kubelet: running with swap on is not supported, please disable swap or set --fail-swap-on flag to false"`,
		},
		"device-plugin":   {"Failed to allocate device", "device plugin unhealthy", "UnexpectedAdmissionError", "Insufficient nvidia.com/gpu", "GPU", "ListAndWatch ended unexpectedly"},
		"sandbox-changed": {"pod sandbox has changed: it will be killed and re-created", "Pod sandbox changed, it will be killed and re-created.", "SandboxChanged", "샌드박스 파손"},
	} {
		for _, text := range texts {
			hits := Search(text)
			found := false
			for _, h := range hits {
				found = found || h.Failure == failure && h.Length > 0 && h.Length == hits[0].Length
			}
			if !found {
				t.Errorf("%q leads to %+v, not to %s", text, hits, failure)
			}
		}
	}
}

// A cause's own words lead to the cause; words that nobody says, or hardly any, lead nowhere.
func TestSignalsLeadToTheirCause(t *testing.T) {
	for text, cause := range map[string]string{
		"failed to create prepare snapshot dir":                         "snapshotter-unwritable",
		"no IP addresses available in range set":                        "ipam-exhausted",
		`failed to find plugin "ptp" in path [/opt/cni/bin]`:            "plugin-binary-missing",
		"not found in the list of registered CSI drivers":               "driver-not-registered",
		"Failed to pull image: 401 … no basic auth credentials":         "registry-auth",
		"dial tcp 10.0.0.1:443: connect: connection refused while pull": "registry-unreachable",
	} {
		if hits := Search(text); len(hits) == 0 || hits[0].Cause != cause {
			t.Errorf("%q leads to %+v, not to %s", text, hits, cause)
		}
	}
	for _, text := range []string{"plegg", "", "a", "…", "the quick brown fox"} {
		if hits := Search(text); len(hits) > 0 {
			t.Errorf("%q leads to %+v", text, hits)
		}
	}
}

// A symptom is found by its heading, whole or in part.
func TestSymptoms(t *testing.T) {
	for _, s := range []string{"ContainerCreating", "CrashLoopBackOff", "ImagePullBackOff", "Node NotReady", "NotReady", "OOMKilled", "DiskPressure", "PLEG unhealthy", "pleg"} {
		if _, text, ok := Symptom(s); !ok || text == "" {
			t.Errorf("%s has no section", s)
		}
	}
	if _, _, ok := Symptom("PLEG is not healthy"); ok {
		t.Error("a log line is no symptom of the matrix")
	}
}

func TestChapters(t *testing.T) {
	for _, name := range []string{"symptoms", "Playbook", "checklist"} {
		if text, ok := Chapter(name); !ok || !strings.Contains(text, "```") {
			t.Errorf("%s: %q", name, text)
		}
	}
	if _, ok := Chapter(""); ok {
		t.Error("a chapter without a name")
	}
}
