package securitydenial_test

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	_ "github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestCases(t *testing.T) { detectorstest.Run(t, "security-denial", sick, silent) }

var sick = []detectorstest.Case{
	{Name: "seccomp kills", Want: []string{"security-denial/seccomp-denied"}, Remedy: "RuntimeDefault", Ill: func(o *v1alpha1.Observation) {
		o.Security.SeccompProfiles = []string{"profiles/strict.json"}
		detectorstest.AddPod(o, detectorstest.Pod("default", "strict", localhostProfile("profiles/strict.json"), detectorstest.Crashing("Error", 159, 3, time.Second)))
	}},
	{Name: "seccomp denies, the application says so", Want: []string{"security-denial/seccomp-denied"}, Remedy: "RuntimeDefault", Ill: func(o *v1alpha1.Observation) {
		o.Security.SeccompProfiles = []string{"profiles/strict.json"}
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "strict", localhostProfile("profiles/strict.json"), detectorstest.Crashing("Error", 1, 3, time.Second), detectorstest.Deployment("strict")))
		p.Status.ContainerStatuses[0].LastTerminationState.Terminated.Message = "mkdir: Operation not permitted"
	}},
	{Name: "seccomp denies, perhaps", Want: []string{"security-denial/seccomp-denied"}, Likely: true, Remedy: "RuntimeDefault", Ill: func(o *v1alpha1.Observation) {
		o.Security.SeccompProfiles = []string{"profiles/strict.json"}
		detectorstest.AddPod(o, detectorstest.Pod("default", "strict", localhostProfile("profiles/strict.json"), detectorstest.Crashing("Error", 1, 3, time.Second)))
	}},
	{Name: "seccomp profile missing", Want: []string{"security-denial/seccomp-profile-missing"}, Remedy: "RuntimeDefault", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "strict", localhostProfile("profiles/gone.json"), detectorstest.Waiting("CreateContainerError", `failed to generate seccomp spec opts: cannot load seccomp profile "/var/lib/kubelet/seccomp/profiles/gone.json": open /var/lib/kubelet/seccomp/profiles/gone.json: no such file or directory`)))
	}},
	{Name: "AppArmor denies", Want: []string{"security-denial/apparmor-denied"}, Remedy: "RuntimeDefault", Ill: func(o *v1alpha1.Observation) {
		o.Security.AppArmor = true
		detectorstest.AddPod(o, detectorstest.Pod("default", "armed", detectorstest.Crashing("Error", 1, 3, time.Second), denyWrite))
		detectorstest.Kmsg(o, deniedWrite, 22*time.Second)
	}},
	{Name: "SELinux denies", Want: []string{"security-denial/selinux-denied"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Security.SELinux = "enforcing"
		detectorstest.AddPod(o, detectorstest.Pod("default", "labeled", detectorstest.Crashing("Error", 1, 3, time.Second)))
		o.Containers[len(o.Containers)-1].LSMLabel = "system_u:system_r:container_t:s0:c1,c2"
		detectorstest.Kmsg(o, deniedLabel, 22*time.Second)
	}},
	// Not -F: it would take the volume's categories, by which the running pod is kept apart from others.
	{Name: "SELinux denies a file of a volume", Want: []string{"security-denial/selinux-denied"}, Remedy: "restorecon -R /var/local-path-provisioner/shop/list", Ill: func(o *v1alpha1.Observation) {
		o.Security.SELinux = "enforcing"
		detectorstest.AddPod(o, detectorstest.Pod("default", "labeled", detectorstest.Crashing("Error", 1, 3, time.Second), func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "catalogue", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/var/local-path-provisioner/shop"}}}}
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "catalogue", MountPath: "/catalogue"}}
		}))
		o.Containers[len(o.Containers)-1].LSMLabel = "system_u:system_r:container_t:s0:c1,c2"
		detectorstest.Kmsg(o, `audit: type=1400 avc:  denied  { read } for pid=7 comm="cat" path="/catalogue/list" scontext=system_u:system_r:container_t:s0:c1,c2 tcontext=system_u:object_r:admin_home_t:s0 tclass=file`, 22*time.Second)
	}},
	{Name: "seccomp kills, and auditd has the record", Want: []string{"security-denial/seccomp-denied"}, Remedy: "RuntimeDefault", Ill: func(o *v1alpha1.Observation) {
		o.Security.SeccompProfiles = []string{"profiles/strict.json"}
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "strict", localhostProfile("profiles/strict.json"), detectorstest.Crashing("Error", 1, 3, time.Second)))
		p.Status.ContainerStatuses[0].LastTerminationState.Terminated.ExitCode = 2
		o.Containers = append(o.Containers, v1alpha1.ContainerUsage{ID: "x", Pod: "strict", Namespace: "default", Name: "c", PID: 4711, UnderKubepods: true})
		o.Kmsg = append(o.Kmsg, v1alpha1.LogLine{Source: "audit", At: detectorstest.Ago(20 * time.Second), Text: `type=SECCOMP msg=audit(1795514379.123:77): auid=4294967295 uid=0 pid=4711 comm="x" sig=0 arch=c000003e syscall=165 code=0x50000`})
	}},
	{Name: "seccomp kills an init container that has a profile of its own", Want: []string{"security-denial/seccomp-denied"}, Remedy: `"initContainers":[{"name":"c"`, Ill: func(o *v1alpha1.Observation) {
		o.Security.SeccompProfiles = []string{"profiles/strict.json"}
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "strict", detectorstest.Crashing("Error", 159, 3, time.Second), detectorstest.Deployment("strict"), detectorstest.With(func(c *corev1.Container) {
			c.SecurityContext = &corev1.SecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: detectorstest.Ptr("profiles/strict.json")}}
		})))
		p.Spec.InitContainers, p.Status.InitContainerStatuses = p.Spec.Containers, p.Status.ContainerStatuses
		p.Spec.Containers, p.Status.ContainerStatuses = []corev1.Container{{Name: "app"}}, nil
	}},
	{Name: "the runtime's default profile, perhaps", Want: []string{"security-denial/seccomp-denied"}, Likely: true, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Config.SeccompDefault = detectorstest.Ptr(true)
		detectorstest.AddPod(o, detectorstest.Pod("default", "old", detectorstest.Crashing("Error", 159, 3, time.Second)))
	}},
	{Name: "AppArmor denies, by the annotation of before 1.30", Want: []string{"security-denial/apparmor-denied"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Security.AppArmor = true
		detectorstest.AddPod(o, detectorstest.Pod("default", "armed", detectorstest.Crashing("Error", 1, 3, time.Second), func(p *corev1.Pod) {
			p.Annotations = map[string]string{corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix + "c": "localhost/deny-write"}
		}))
		o.Kmsg = append(o.Kmsg, v1alpha1.LogLine{Source: "audit", At: detectorstest.Ago(20 * time.Second), Text: `type=AVC msg=audit(1795514379.123:78): apparmor="DENIED" operation="open" profile="deny-write" name="/tmp/x" pid=77 comm="sh"`})
	}},
	{Name: "seccomp denies, and the probe notices", Want: []string{"security-denial/seccomp-denied"}, Remedy: "RuntimeDefault", Ill: func(o *v1alpha1.Observation) {
		o.Security.SeccompProfiles = []string{"profiles/strict.json"}
		deaf(o, localhostProfile("profiles/strict.json"))
	}},
	{Name: "AppArmor denies, and the probe notices", Want: []string{"security-denial/apparmor-denied"}, Remedy: "RuntimeDefault", Ill: func(o *v1alpha1.Observation) {
		o.Security.AppArmor = true
		deaf(o, denyWrite)
		detectorstest.Kmsg(o, deniedWrite, 22*time.Second)
	}},
	{Name: "SELinux denies, and the probe notices", Want: []string{"security-denial/selinux-denied"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Security.SELinux = "enforcing"
		deaf(o)
		o.Containers[len(o.Containers)-1].LSMLabel = "system_u:system_r:container_t:s0:c1,c2"
		detectorstest.Kmsg(o, deniedLabel, 22*time.Second)
	}},
	{Name: "SELinux denies, and another pod's impatient probe", Want: []string{"security-denial/selinux-denied", "probe-kill/probe-too-aggressive"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Security.SELinux = "enforcing"
		detectorstest.AddPod(o, detectorstest.Pod("default", "labeled", detectorstest.Crashing("Error", 1, 3, time.Second)))
		detectorstest.Impatient(o)
		for i := range o.Containers {
			o.Containers[i].LSMLabel = fmt.Sprintf("system_u:system_r:container_t:s0:c1,c%d", len(o.Containers)-i)
		}
		detectorstest.Kmsg(o, deniedLabel, 22*time.Second)
	}},
	{Name: "a seccomp profile that is not there, in CRI-O's words", Want: []string{"security-denial/seccomp-profile-missing"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		detectorstest.AddPod(o, detectorstest.Pod("default", "guarded", detectorstest.Deployment("guarded"), detectorstest.With(func(c *corev1.Container) {
			c.SecurityContext = &corev1.SecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: detectorstest.Ptr("audit.json")}}
		}), detectorstest.Waiting("CreateContainerError", `setup seccomp: unable to load local profile "/var/lib/kubelet/seccomp/audit.json": open /var/lib/kubelet/seccomp/audit.json: no such file or directory`)))
	}},
	// https://github.com/rancher/elemental/issues/349, https://github.com/siderolabs/talos/pull/8641
	{Name: "the program that loads AppArmor profiles is not there", Want: []string{"security-denial/apparmor-denied"}, Remedy: "-", Says: "apparmor_parser is not there", Ill: func(o *v1alpha1.Observation) {
		o.Security.AppArmor = true
		for _, name := range []string{"etcd", "api"} {
			detectorstest.AddPod(o, detectorstest.Pod("default", name, detectorstest.Waiting("CreateContainerError", `failed to create containerd container: get apparmor_parser version: exec: "apparmor_parser": executable file not found in $PATH`)))
		}
	}},
	{Name: "the program that loads AppArmor profiles is not there, while containerd loads one", Want: []string{"security-denial/apparmor-denied"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Security.AppArmor = true
		detectorstest.AddPod(o, detectorstest.Pod("default", "etcd", detectorstest.Waiting("CreateContainerError", `failed to create containerd container: load apparmor profile /tmp/cri-containerd.apparmor.d3636700873: parser error(""): exec: "apparmor_parser": executable file not found in $PATH`)))
	}},
	{Name: "no filter can be made of a seccomp profile", Want: []string{"security-denial/seccomp-profile-missing"}, Remedy: "RuntimeDefault", Says: "cannot make a filter", Ill: func(o *v1alpha1.Observation) {
		o.Security.SeccompProfiles = []string{"profiles/strict.json"}
		startFails(o, `error during container init: unable to init seccomp: error adding seccomp filter rule for syscall bdflush: requested action matches default action of filter: unknown`, localhostProfile("profiles/strict.json"))
	}},
	{Name: "the runtime's own AppArmor profile was unloaded", Want: []string{"security-denial/apparmor-denied"}, Remedy: "-", Says: "the kernel of this node does not have", Ill: func(o *v1alpha1.Observation) {
		o.Security.AppArmor = true
		startFails(o, noProfile)
	}},
	{Name: "a pod's AppArmor profile was unloaded", Want: []string{"security-denial/apparmor-denied"}, Says: "deny-write of container", Ill: func(o *v1alpha1.Observation) {
		o.Security.AppArmor = true
		startFails(o, noProfile, denyWrite)
	}},
	{Name: "the kubelet turns a pod away, for AppArmor is off", Want: []string{"security-denial/apparmor-denied"}, Remedy: "-", Says: "not enabled on the host", Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "armed", detectorstest.Waiting("ContainerCreating", ""), denyWrite))
		p.CreationTimestamp = detectorstest.MetaAgo(time.Minute)
		p.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "AppArmor", Message: "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host"}
	}},
	{Name: "an AppArmor profile that is not loaded, in containerd's words", Want: []string{"security-denial/apparmor-denied"}, Ill: func(o *v1alpha1.Observation) {
		o.Security.AppArmor = true
		detectorstest.AddPod(o, detectorstest.Pod("default", "guarded", detectorstest.Deployment("guarded"), detectorstest.With(func(c *corev1.Container) {
			c.SecurityContext = &corev1.SecurityContext{AppArmorProfile: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: detectorstest.Ptr("k8s-deny-write")}}
		}), detectorstest.Waiting("CreateContainerError", `failed to generate apparmor spec opts: apparmor profile not found k8s-deny-write`)))
	}},
}

var silent = []detectorstest.Case{
	{Name: "a seccomp profile of its own, and running", Ill: func(o *v1alpha1.Observation) {
		o.Security.SeccompProfiles = []string{"profiles/strict.json"}
		detectorstest.AddPod(o, detectorstest.Pod("default", "strict", localhostProfile("profiles/strict.json")))
		detectorstest.Kmsg(o, `audit: type=1326 audit(1.2:3): auid=0 uid=0 pid=9999 comm="x" sig=0 arch=c000003e syscall=165`, 3*time.Second)
	}},
	{Name: "AppArmor denials of a healthy container", Ill: func(o *v1alpha1.Observation) {
		o.Security.AppArmor = true
		o.Containers[2].LSMLabel = "cri-containerd.apparmor.d (enforce)"
		detectorstest.Kmsg(o, `audit: apparmor="DENIED" operation="ptrace" profile="cri-containerd.apparmor.d" pid=7`, 3*time.Second)
	}},
	{Name: "an application that sets a filter of its own", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "browser", detectorstest.Crashing("Error", 159, 3, time.Second)))
	}},
	{Name: "another container's denial by the runtime's AppArmor profile, beside one that exits", Ill: func(o *v1alpha1.Observation) {
		o.Security.AppArmor = true
		detectorstest.AddPod(o, detectorstest.Pod("default", "broken", detectorstest.Crashing("Error", 1, 9, time.Second)))
		o.Containers = append(o.Containers, v1alpha1.ContainerUsage{ID: "x", Pod: "broken", Namespace: "default", Name: "c", PID: 4711, UnderKubepods: true, LSMLabel: "cri-containerd.apparmor.d (enforce)"})
		detectorstest.Kmsg(o, `audit: type=1400 audit(1795514100.000:5): apparmor="DENIED" operation="ptrace" profile="cri-containerd.apparmor.d" pid=99`, 4*time.Minute)
	}},
	{Name: "a program that an image has not, under a seccomp profile", Ill: func(o *v1alpha1.Observation) {
		o.Security.SeccompProfiles = []string{"profiles/strict.json"}
		startFails(o, `exec: "serve": executable file not found in $PATH: unknown`, localhostProfile("profiles/strict.json"))
	}},
	// seccomp answers EPERM ("operation not permitted"), never EACCES unless its profile says so.
	{Name: "permission denied on a file, under a seccomp profile", Ill: func(o *v1alpha1.Observation) {
		o.Security.SeccompProfiles = []string{"profiles/strict.json"}
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "db", localhostProfile("profiles/strict.json"), detectorstest.Crashing("Error", 1, 6, time.Second)))
		p.Status.ContainerStatuses[0].LastTerminationState.Terminated.Message = "open /data/db.lock: permission denied"
	}},
	{Name: "Python may not read a file, under a seccomp profile", Ill: func(o *v1alpha1.Observation) {
		o.Security.SeccompProfiles = []string{"profiles/strict.json"}
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "db", localhostProfile("profiles/strict.json"), detectorstest.Crashing("Error", 1, 6, time.Second)))
		p.Status.ContainerStatuses[0].LastTerminationState.Terminated.Message = "PermissionError: [Errno 13] Permission denied: '/data/db.lock'"
	}},
	{Name: "a database that does not answer, under a seccomp profile", Ill: func(o *v1alpha1.Observation) {
		o.Security.SeccompProfiles = []string{"profiles/strict.json"}
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "db", localhostProfile("profiles/strict.json"), detectorstest.Crashing("Error", 1, 6, time.Second)))
		p.Status.ContainerStatuses[0].LastTerminationState.Terminated.Message = "dial tcp 10.96.3.4:5432: connect: connection refused"
	}},
	{Name: "a file that is not there, under a seccomp profile", Ill: func(o *v1alpha1.Observation) {
		o.Security.SeccompProfiles = []string{"profiles/strict.json"}
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "db", localhostProfile("profiles/strict.json"), detectorstest.Crashing("Error", 1, 6, time.Second)))
		p.Status.ContainerStatuses[0].LastTerminationState.Terminated.Message = "fopen(/etc/app/app.conf): No such file or directory"
	}},
}

func localhostProfile(name string) detectorstest.PodOption {
	return func(p *corev1.Pod) {
		p.Spec.SecurityContext = &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: &name}}
	}
}

const (
	deniedWrite = `audit: type=1400 audit(1.2:3): apparmor="DENIED" operation="open" profile="deny-write" name="/tmp/x" pid=77 comm="sh" requested_mask="wc"`
	deniedLabel = `audit: type=1400 avc:  denied  { write } for pid=7 comm="sh" path="/data/x" scontext=system_u:system_r:container_t:s0:c1,c2 tcontext=system_u:object_r:etc_t:s0 tclass=file`
)

func denyWrite(p *corev1.Pod) {
	p.Spec.SecurityContext = &corev1.PodSecurityContext{AppArmorProfile: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: detectorstest.Ptr("deny-write")}}
}

const noProfile = `error during container init: unable to apply apparmor profile: apparmor failed to apply profile: write /proc/thread-self/attr/apparmor/exec: no such file or directory: unknown`

// startFails has a pod's container not start, for what runc says.
func startFails(o *v1alpha1.Observation, message string, options ...detectorstest.PodOption) {
	message = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: " + message
	p := detectorstest.AddPod(o, detectorstest.Pod("default", "new", append(options, detectorstest.Crashing("StartError", 128, 4, 0), detectorstest.Deployment("new"))...))
	p.Status.ContainerStatuses[0].LastTerminationState.Terminated.Message = message
	detectorstest.Event(o, "default", "new", "Failed", "Error: "+message, 20*time.Second, 5)
}

// deaf is a pod that cannot listen, says so and ends when its probe has it killed.
func deaf(o *v1alpha1.Observation, options ...detectorstest.PodOption) {
	detectorstest.ProbeKills(o, `Get "http://10.244.1.9:8080/healthz": dial tcp 10.244.1.9:8080: connect: connection refused`, append(options, detectorstest.Liveness(8080, "/healthz"))...)
	t := o.API.Pods[len(o.API.Pods)-1].Status.ContainerStatuses[0].LastTerminationState.Terminated
	t.ExitCode, t.Message = 1, "bind: Operation not permitted"
}
