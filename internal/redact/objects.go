package redact

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// API is the API server's view with what detectors read of each object and nothing else: what a future field holds is not known. Of
// environments, command lines and attributes the names stay. Its objects are new, those given are not changed.
func API(a *v1alpha1.API) v1alpha1.API {
	out := *a
	keep := pluginNames(a)
	if a.Node != nil {
		n := corev1.Node{ObjectMeta: Meta(a.Node.ObjectMeta), Spec: *a.Node.Spec.DeepCopy(), Status: *a.Node.Status.DeepCopy()}
		n.Spec.ConfigSource, n.Spec.DoNotUseExternalID = nil, "" //nolint:staticcheck // no kubelet reads it any more, an API object may still carry it
		n.Status.Config = nil
		for i := range n.Spec.Taints {
			n.Spec.Taints[i].Value = Value(n.Spec.Taints[i].Key, n.Spec.Taints[i].Value)
		}
		for i := range n.Status.Conditions {
			n.Status.Conditions[i].Message = Text(n.Status.Conditions[i].Message)
		}
		for _, image := range n.Status.Images {
			for i := range image.Names {
				image.Names[i] = Text(image.Names[i])
			}
		}
		out.Node = &n
	}
	if a.Lease != nil {
		l := *a.Lease
		l.ObjectMeta = Meta(l.ObjectMeta)
		out.Lease = &l
	}
	out.Pods, out.Pending = pods(a.Pods, keep), pods(a.Pending, keep)
	out.Events = each(a.Events, func(e corev1.Event) corev1.Event {
		e.ObjectMeta, e.Message, e.Action = Meta(e.ObjectMeta), Text(e.Message), Text(e.Action)
		return e
	})
	out.RuntimeClasses, out.CSIDrivers = slices.Clone(a.RuntimeClasses), slices.Clone(a.CSIDrivers)
	for i := range out.RuntimeClasses {
		out.RuntimeClasses[i].ObjectMeta = Meta(out.RuntimeClasses[i].ObjectMeta)
	}
	for i := range out.CSIDrivers {
		out.CSIDrivers[i].ObjectMeta = Meta(out.CSIDrivers[i].ObjectMeta)
	}
	if a.CSINode != nil {
		n := *a.CSINode
		n.ObjectMeta = Meta(n.ObjectMeta)
		out.CSINode = &n
	}
	out.PVCs = each(a.PVCs, func(c corev1.PersistentVolumeClaim) corev1.PersistentVolumeClaim {
		return corev1.PersistentVolumeClaim{ObjectMeta: Meta(c.ObjectMeta), Status: corev1.PersistentVolumeClaimStatus{Phase: c.Status.Phase}, Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: c.Spec.AccessModes, Resources: c.Spec.Resources, VolumeName: c.Spec.VolumeName, StorageClassName: c.Spec.StorageClassName, VolumeMode: c.Spec.VolumeMode,
		}}
	})
	out.PVs = each(a.PVs, volume)
	out.PullSecrets = each(a.PullSecrets, func(s v1alpha1.PullSecret) v1alpha1.PullSecret {
		s.Hosts = each(s.Hosts, Text)
		s.Error = Text(s.Error)
		return s
	})
	return out
}

func each[T any](list []T, f func(T) T) []T {
	if list == nil {
		return nil
	}
	out := make([]T, len(list))
	for i, v := range list {
		out[i] = f(v)
	}
	return out
}

// keptLabels and keptAnnotations are those that say what an object is or that detectors read, by their whole keys or their beginnings.
var (
	keptLabels = regexp.MustCompile(`^(?:app|k8s-app|component|tier|pod-template-hash|controller-revision-hash|job-name|app\.kubernetes\.io/(?:name|component)|` +
		`(?:[a-z-]+\.)*kubernetes\.io/(?:hostname|os|arch|instance-type|service-name)|node-role\.kubernetes\.io/.*|topology\.kubernetes\.io/.*)$`)
	keptAnnotations = regexp.MustCompile(`^(?:kubernetes\.io/config\.(?:mirror|source|hash|seen)|container\.apparmor\.security\.beta\.kubernetes\.io/.*|` +
		`pv\.kubernetes\.io/(?:migrated-to|provisioned-by)|kubeadm\.alpha\.kubernetes\.io/cri-socket)$`)
)

// Meta is an object's name, owners and times, with the labels and annotations that are known. The others' keys go as well: a key may be
// a word of a customer's.
func Meta(m metav1.ObjectMeta) metav1.ObjectMeta {
	kept := func(all map[string]string, which *regexp.Regexp) map[string]string {
		out := maps.Clone(all)
		maps.DeleteFunc(out, func(k, _ string) bool { return !which.MatchString(k) })
		for k, v := range out {
			out[k] = Value(k, v)
		}
		if len(out) == 0 {
			return nil
		}
		return out
	}
	return metav1.ObjectMeta{
		Name: m.Name, GenerateName: m.GenerateName, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion, Generation: m.Generation,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp, DeletionGracePeriodSeconds: m.DeletionGracePeriodSeconds,
		OwnerReferences: m.OwnerReferences, Finalizers: m.Finalizers, Labels: kept(m.Labels, keptLabels), Annotations: kept(m.Annotations, keptAnnotations),
	}
}

// SandboxLabels are the labels that the kubelet gives a sandbox itself, without those of its pod.
func SandboxLabels(all map[string]string) map[string]string {
	out := maps.Clone(all)
	maps.DeleteFunc(out, func(k, _ string) bool { return !strings.HasPrefix(k, "io.kubernetes.") })
	return out
}

// pluginNames are the extended resources and CSI drivers there are: a command line that has such a name is that plugin's.
func pluginNames(a *v1alpha1.API) map[string]bool {
	names := map[string]bool{}
	add := func(r corev1.ResourceList) {
		for n := range r {
			if strings.Contains(string(n), "/") {
				names[string(n)] = true
			}
		}
	}
	if a.Node != nil {
		add(a.Node.Status.Capacity)
	}
	for _, p := range slices.Concat(a.Pods, a.Pending) {
		for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
			add(c.Resources.Limits)
			add(c.Resources.Requests)
		}
		for _, v := range p.Spec.Volumes {
			if v.CSI != nil {
				names[v.CSI.Driver] = true
			}
		}
	}
	for _, v := range a.PVs {
		if v.Spec.CSI != nil {
			names[v.Spec.CSI.Driver] = true
		}
		names[v.Annotations["pv.kubernetes.io/migrated-to"]] = true
	}
	for _, d := range a.CSIDrivers {
		names[d.Name] = true
	}
	if a.CSINode != nil {
		for _, d := range a.CSINode.Spec.Drivers {
			names[d.Name] = true
		}
	}
	delete(names, "")
	return names
}

// words keeps of each word of a command line the names of plugins alone.
func words(argv []string, names map[string]bool) []string {
	return each(argv, func(w string) string {
		var found []string
		for _, part := range strings.FieldsFunc(w, func(r rune) bool { return strings.ContainsRune(" =,:\"'", r) }) {
			if names[part] {
				found = append(found, part)
			}
		}
		if len(found) > 0 {
			return strings.Join(found, " ")
		}
		return Mark
	})
}

// program keeps the first word of a command, which says what is run.
func program(argv []string) []string {
	out := each(argv, func(string) string { return Mark })
	if len(argv) > 0 && programName.MatchString(argv[0]) {
		out[0] = Text(argv[0])
	}
	return out
}

var programName = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,64}$`)

func pods(list []corev1.Pod, names map[string]bool) []corev1.Pod {
	return each(list, func(p corev1.Pod) corev1.Pod {
		return corev1.Pod{ObjectMeta: Meta(p.ObjectMeta), Spec: podSpec(p.Spec.DeepCopy(), names), Status: podStatus(p.Status.DeepCopy())}
	})
}

func podSpec(s *corev1.PodSpec, names map[string]bool) corev1.PodSpec {
	out := corev1.PodSpec{
		RestartPolicy: s.RestartPolicy, TerminationGracePeriodSeconds: s.TerminationGracePeriodSeconds, ActiveDeadlineSeconds: s.ActiveDeadlineSeconds, DNSPolicy: s.DNSPolicy,
		ServiceAccountName: s.ServiceAccountName, AutomountServiceAccountToken: s.AutomountServiceAccountToken, NodeName: s.NodeName, HostNetwork: s.HostNetwork, HostPID: s.HostPID,
		HostIPC: s.HostIPC, HostUsers: s.HostUsers, ShareProcessNamespace: s.ShareProcessNamespace, SecurityContext: s.SecurityContext, ImagePullSecrets: s.ImagePullSecrets,
		SchedulerName: s.SchedulerName, Tolerations: s.Tolerations, PriorityClassName: s.PriorityClassName, Priority: s.Priority, RuntimeClassName: s.RuntimeClassName,
		EnableServiceLinks: s.EnableServiceLinks, PreemptionPolicy: s.PreemptionPolicy, Overhead: s.Overhead, OS: s.OS, ResourceClaims: s.ResourceClaims, Resources: s.Resources,
		InitContainers: each(s.InitContainers, func(c corev1.Container) corev1.Container { return container(c, names) }),
		Containers:     each(s.Containers, func(c corev1.Container) corev1.Container { return container(c, names) }),
		EphemeralContainers: each(s.EphemeralContainers, func(e corev1.EphemeralContainer) corev1.EphemeralContainer {
			return corev1.EphemeralContainer{TargetContainerName: e.TargetContainerName, EphemeralContainerCommon: corev1.EphemeralContainerCommon(container(corev1.Container(e.EphemeralContainerCommon), names))}
		}),
		Volumes: each(s.Volumes, podVolume),
	}
	for i := range out.Tolerations {
		out.Tolerations[i].Value = Value(out.Tolerations[i].Key, out.Tolerations[i].Value)
	}
	// Where a pod has to run: by the node's name, which stands there anyway.
	if host := s.NodeSelector[corev1.LabelHostname]; host != "" {
		out.NodeSelector = map[string]string{corev1.LabelHostname: host}
	}
	if a := s.Affinity; a != nil && a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		required := a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
		for _, t := range required.NodeSelectorTerms {
			for i, r := range t.MatchExpressions {
				if r.Key != corev1.LabelHostname {
					t.MatchExpressions[i].Values = each(r.Values, func(string) string { return Mark })
				}
			}
		}
		out.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: required}}
	}
	return out
}

func container(c corev1.Container, names map[string]bool) corev1.Container {
	out := corev1.Container{
		Name: c.Name, Image: Text(c.Image), Command: words(c.Command, names), Args: words(c.Args, names), Ports: c.Ports, Resources: c.Resources, ResizePolicy: c.ResizePolicy,
		RestartPolicy: c.RestartPolicy, VolumeMounts: c.VolumeMounts, VolumeDevices: c.VolumeDevices, TerminationMessagePolicy: c.TerminationMessagePolicy,
		ImagePullPolicy: c.ImagePullPolicy, SecurityContext: c.SecurityContext, LivenessProbe: probe(c.LivenessProbe), ReadinessProbe: probe(c.ReadinessProbe), StartupProbe: probe(c.StartupProbe),
		Env: each(c.Env, func(e corev1.EnvVar) corev1.EnvVar {
			if e.Value != "" {
				e.Value = Mark
			}
			return e
		}),
	}
	if l := c.Lifecycle; l != nil {
		handler := func(h *corev1.LifecycleHandler) *corev1.LifecycleHandler {
			if h == nil {
				return nil
			}
			p := probe(&corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: h.Exec, HTTPGet: h.HTTPGet, TCPSocket: h.TCPSocket}})
			return &corev1.LifecycleHandler{Exec: p.Exec, HTTPGet: p.HTTPGet, TCPSocket: p.TCPSocket, Sleep: h.Sleep}
		}
		out.Lifecycle = &corev1.Lifecycle{PostStart: handler(l.PostStart), PreStop: handler(l.PreStop), StopSignal: l.StopSignal}
	}
	return out
}

// probe keeps how often is asked, and where; not what a command is told, nor what headers carry.
func probe(p *corev1.Probe) *corev1.Probe {
	if p == nil {
		return nil
	}
	out := *p
	if p.Exec != nil {
		out.Exec = &corev1.ExecAction{Command: program(p.Exec.Command)}
	}
	if p.HTTPGet != nil {
		get := *p.HTTPGet
		get.Path = Text(get.Path)
		get.HTTPHeaders = each(get.HTTPHeaders, func(h corev1.HTTPHeader) corev1.HTTPHeader { h.Value = Mark; return h })
		out.HTTPGet = &get
	}
	return &out
}

// podVolume keeps which kind of volume it is and the names of what it refers to.
func podVolume(v corev1.Volume) corev1.Volume {
	s := v.VolumeSource
	out := corev1.VolumeSource{
		HostPath: s.HostPath, EmptyDir: s.EmptyDir, Secret: s.Secret, ConfigMap: s.ConfigMap, PersistentVolumeClaim: s.PersistentVolumeClaim, NFS: s.NFS,
		DownwardAPI: s.DownwardAPI, Image: s.Image, Projected: s.Projected,
	}
	if s.Image != nil {
		out.Image = &corev1.ImageVolumeSource{Reference: Text(s.Image.Reference), PullPolicy: s.Image.PullPolicy}
	}
	if s.CSI != nil {
		csi := *s.CSI
		csi.VolumeAttributes = attributes(csi.VolumeAttributes)
		out.CSI = &csi
	}
	if s.FlexVolume != nil {
		out.FlexVolume = &corev1.FlexVolumeSource{Driver: s.FlexVolume.Driver, FSType: s.FlexVolume.FSType, ReadOnly: s.FlexVolume.ReadOnly, SecretRef: s.FlexVolume.SecretRef}
	}
	if s.Ephemeral != nil {
		out.Ephemeral = &corev1.EphemeralVolumeSource{}
	}
	return corev1.Volume{Name: v.Name, VolumeSource: out}
}

// attributes keeps the keys, and the values that are paths: a device, a folder.
func attributes(all map[string]string) map[string]string {
	out := maps.Clone(all)
	for k, v := range out {
		if Secret(k) || !path.MatchString(v) {
			out[k] = Mark
		}
	}
	return out
}

var path = regexp.MustCompile(`^(?:/[A-Za-z0-9._-]+)+/?$`)

func volume(v corev1.PersistentVolume) corev1.PersistentVolume {
	s := v.Spec
	out := corev1.PersistentVolumeSpec{
		Capacity: s.Capacity, AccessModes: s.AccessModes, ClaimRef: s.ClaimRef, PersistentVolumeReclaimPolicy: s.PersistentVolumeReclaimPolicy, StorageClassName: s.StorageClassName,
		VolumeMode: s.VolumeMode, MountOptions: each(s.MountOptions, option),
		PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: s.HostPath, Local: s.Local, NFS: s.NFS},
	}
	if s.CSI != nil {
		csi := *s.CSI
		csi.VolumeAttributes = attributes(csi.VolumeAttributes)
		out.CSI = &csi
	}
	return corev1.PersistentVolume{ObjectMeta: Meta(v.ObjectMeta), Spec: out, Status: corev1.PersistentVolumeStatus{Phase: v.Status.Phase, Message: Text(v.Status.Message), Reason: v.Status.Reason}}
}

// option is a mount option: the value of one that is not about the mount's way is nobody's business.
func option(o string) string {
	key, value, ok := strings.Cut(o, "=")
	if !ok || plainOptions[key] && harmlessOption.MatchString(value) {
		return Text(o)
	}
	return key + "=" + Mark
}

var (
	plainOptions = map[string]bool{"vers": true, "nfsvers": true, "rsize": true, "wsize": true, "timeo": true, "retrans": true, "proto": true, "sec": true, "uid": true, "gid": true,
		"dir_mode": true, "file_mode": true, "mode": true, "size": true, "errors": true, "data": true, "cache": true, "actimeo": true, "port": true, "lock": true}
	harmlessOption = regexp.MustCompile(`^[a-z0-9.,-]{1,16}$`)
)

func podStatus(s *corev1.PodStatus) corev1.PodStatus {
	s.Message = Text(s.Message)
	for i := range s.Conditions {
		s.Conditions[i].Message = Text(s.Conditions[i].Message)
	}
	for _, list := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range list {
			c := &list[i]
			c.Image, c.ImageID = Text(c.Image), Text(c.ImageID)
			for _, st := range []*corev1.ContainerState{&c.State, &c.LastTerminationState} {
				if st.Waiting != nil {
					st.Waiting.Message = Text(st.Waiting.Message)
				}
				if st.Terminated != nil {
					st.Terminated.Message = Text(st.Terminated.Message)
				}
			}
		}
	}
	return *s
}
