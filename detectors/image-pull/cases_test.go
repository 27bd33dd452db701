package imagepull_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	_ "github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
	"github.com/sickbay-dev/sickbay/internal/facts"
)

func TestCases(t *testing.T) { detectorstest.Run(t, "image-pull", sick, silent) }

var sick = []detectorstest.Case{
	{Name: "registry signed by nobody", Want: []string{"image-pull/registry-tls"}, Remedy: "sha=2222", Ill: detectorstest.SignedByNobody},
	// Who answers on the way to the registry shows a certificate as well.
	{Name: "registry signed by nobody, and nobody vouches for it", Want: []string{"image-pull/registry-tls"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SignedByNobody(o)
		o.Registries[0].Mirrors[0].Known = nil
	}},
	{Name: "registry signed by nobody, and the operator vouches for another CA", Want: []string{"image-pull/registry-tls"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SignedByNobody(o)
		o.Registries[0].Mirrors[0].Known = nil
		o.TrustedCAs = []v1alpha1.TrustedCA{{SHA256: "3333", Subject: "CN=another", DER: "MII"}}
	}},
	{Name: "registry signed by nobody, and the operator has its CA", Want: []string{"image-pull/registry-tls"}, Remedy: "der=MIIC", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SignedByNobody(o)
		o.Registries[0].Mirrors[0].Known = nil
		o.TrustedCAs = []v1alpha1.TrustedCA{{SHA256: "3333", Subject: "CN=Registry CA", DER: "MIIC"}}
	}},
	{Name: "registry's certificate expired", Want: []string{"image-pull/registry-tls"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `failed to do request: Head "https://`+detectorstest.Registry+`/v2/team/web/manifests/1": tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-24T10:00:00Z is after 2026-01-01T00:00:00Z`)
	}},
	// Another version on the node may be another application's: only a sibling that runs tells which is right.
	{Name: "no such tag", Want: []string{"image-pull/tag-not-found"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Images = append(o.Runtime.Images, v1alpha1.Image{ID: "sha256:2", Tags: []string{detectorstest.Registry + "/team/web:1.1"}})
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:9", detectorstest.Registry+"/team/web:9: not found", detectorstest.Deployment("web"))
	}},
	{Name: "no credential", Want: []string{"image-pull/registry-auth"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials`)
	}},
	{Name: "the credential is there, the pod does not name it", Want: []string{"image-pull/registry-auth"}, Remedy: "imagePullSecrets", Ill: func(o *v1alpha1.Observation) {
		o.API.PullSecrets = []v1alpha1.PullSecret{{Namespace: "default", Name: "regcred", Exists: true, Hosts: []string{detectorstest.Registry}}}
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `unexpected status from HEAD request to https://`+detectorstest.Registry+`/v2/team/web/manifests/1: 401 Unauthorized`, detectorstest.Deployment("web"))
	}},
	{Name: "registry rejected by a rule", Want: []string{"image-pull/registry-unreachable"}, Remedy: "iptables -t filter -D OUTPUT -d 172.18.0.9/32 -p tcp -m tcp --dport 5000 -j REJECT", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Rules(o, "iptables -t filter -A OUTPUT -d 172.18.0.9/32 -p tcp -m tcp --dport 5000 -j REJECT")
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `failed to do request: Head "https://`+detectorstest.Registry+`/v2/team/web/manifests/1": dial tcp 172.18.0.9:5000: connect: connection refused`)
	}},
	{Name: "a mirror's fault hidden by the origin's 404", Want: []string{"image-pull/mirror-misconfigured"}, Remedy: "mv -T --backup=numbered -- /etc/containerd/certs.d/registry.example.test:5000/hosts.toml", Ill: func(o *v1alpha1.Observation) {
		h := detectorstest.RegistryHost("ok")
		h.Mirrors = []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test", Reach: "tls-untrusted"}}
		o.Registries = []v1alpha1.RegistryHost{h}
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", detectorstest.Registry+"/team/web:1: not found")
	}},
	{Name: "every pull goes to a mirror that is not there", Want: []string{"image-pull/mirror-misconfigured"}, Remedy: "host=registry.example.test:5000", Ill: func(o *v1alpha1.Observation) {
		h := detectorstest.RegistryHost("")
		h.Server, h.CAs = "https://mirror.example.test", []string{"/etc/containerd/certs.d/registry.example.test:5000/ca.crt"}
		h.Mirrors = []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test", CAs: h.CAs, Reach: "dns"}}
		h.Origin = &v1alpha1.RegistryMirror{URL: "https://" + detectorstest.Registry, Reach: "ok"}
		o.Registries = []v1alpha1.RegistryHost{h}
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `failed to do request: Head "https://mirror.example.test/v2/team/web/manifests/1?ns=`+detectorstest.Registry+`": dial tcp: lookup mirror.example.test on 10.0.0.1:53: no such host`)
	}},
	{Name: "the mirror is the only way, and down", Want: []string{"image-pull/registry-unreachable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		h := detectorstest.RegistryHost("")
		h.Server = "https://mirror.example.test"
		h.Mirrors = []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test", Reach: "refused"}}
		h.Origin = &v1alpha1.RegistryMirror{URL: "https://" + detectorstest.Registry, Reach: "no-route"}
		o.Registries = []v1alpha1.RegistryHost{h}
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `failed to do request: Head "https://mirror.example.test/v2/team/web/manifests/1?ns=`+detectorstest.Registry+`": dial tcp 10.9.9.9:443: connect: connection refused`)
	}},
	{Name: "the mirror is down, and nobody tried the registry itself", Want: []string{"image-pull/registry-unreachable"}, Remedy: "-", Never: []string{"hosts.toml"}, Ill: func(o *v1alpha1.Observation) {
		h := detectorstest.RegistryHost("")
		h.Mirrors = []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test", Reach: "refused"}}
		o.Registries = []v1alpha1.RegistryHost{h}
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `failed to do request: Head "https://mirror.example.test/v2/team/web/manifests/1?ns=`+detectorstest.Registry+`": dial tcp 10.9.9.9:443: connect: connection refused`)
	}},
	{Name: "no such tag, the one of before still runs", Want: []string{"image-pull/tag-not-found"}, Remedy: `"image":"registry.example.test:5000/team/web:1.0"`, Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Images = append(o.Runtime.Images, v1alpha1.Image{ID: "sha256:2", Tags: []string{detectorstest.Registry + "/team/web:1.1"}})
		detectorstest.AddPod(o, detectorstest.Pod("default", "web-old", detectorstest.Deployment("web"), func(p *corev1.Pod) { p.Spec.Containers[0].Image = detectorstest.Registry + "/team/web:1.0" }))
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:9", detectorstest.Registry+"/team/web:9: not found", detectorstest.Deployment("web"))
	}},
	{Name: "a rule for another address on the registry's port", Want: []string{"image-pull/registry-unreachable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Rules(o, "nft inet corp out handle 4: ip daddr 10.9.9.9 tcp dport 5000 drop")
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `failed to do request: Head "https://`+detectorstest.Registry+`/v2/team/web/manifests/1": dial tcp 172.18.0.9:5000: connect: connection refused`)
	}},
	{Name: "hosts.toml cannot be read", Want: []string{"image-pull/mirror-misconfigured"}, Remedy: "hosts.toml /etc/containerd/certs.d/registry.example.test:5000/hosts.toml.sickbay-aside", Ill: func(o *v1alpha1.Observation) {
		h := detectorstest.RegistryHost("")
		h.Error = "toml: line 2: expected '='"
		o.Registries = []v1alpha1.RegistryHost{h}
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `failed to do request: Head "https://`+detectorstest.Registry+`/v2/team/web/manifests/1": tls: failed to verify certificate: x509: certificate signed by unknown authority`)
	}},
	{Name: "registry down, and the host drops what comes in on its port", Want: []string{"image-pull/registry-unreachable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "quay.io/team/web:1", `failed to do request: Head "https://quay.io/v2/team/web/manifests/1": dial tcp 203.0.113.7:443: i/o timeout`)
		detectorstest.Rules(o, "iptables -t filter -A INPUT -p tcp -m tcp --dport 443 -j DROP")
	}},
	{Name: "registry down over IPv6, and a rule about another host", Want: []string{"image-pull/registry-unreachable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "quay.io/team/web:1", `failed to do request: Head "https://quay.io/v2/team/web/manifests/1": dial tcp [2001:db8:7::7]:443: i/o timeout`)
		detectorstest.Rules(o, "ip6tables -t filter -A OUTPUT -d 2001:db8:bad::1/128 -p tcp -m tcp --dport 443 -j REJECT --reject-with icmp6-port-unreachable")
	}},
	{Name: "no such tag, and the node has other versions of other applications", Want: []string{"image-pull/tag-not-found"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "docker.io/library/postgres:17.99", "docker.io/library/postgres:17.99: not found", detectorstest.Deployment("orders-db"))
		o.Runtime.Images = append(o.Runtime.Images, v1alpha1.Image{ID: "sha256:a", Tags: []string{"docker.io/library/postgres:16.10"}}, v1alpha1.Image{ID: "sha256:b", Tags: []string{"docker.io/library/postgres:9.6"}})
	}},
	{Name: "no such tag of an image called certificate", Want: []string{"image-pull/tag-not-found"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "docker.io/enix/x509-certificate-exporter:9.9", "docker.io/enix/x509-certificate-exporter:9.9: not found")
	}},
	{Name: "the registry asks for a client certificate", Want: []string{"image-pull/registry-auth"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `failed to do request: Head "https://`+detectorstest.Registry+`/v2/team/web/manifests/1": remote error: tls: certificate required`)
	}},
	{Name: "the tag lacks the node's platform", Want: []string{"image-pull/tag-not-found"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Host.Arch = "arm64"
		detectorstest.PullFails(o, "quay.io/team/web:2", "no match for platform in manifest: not found", detectorstest.Deployment("web"))
		o.Runtime.Images = append(o.Runtime.Images, v1alpha1.Image{ID: "sha256:a", Tags: []string{"quay.io/team/web:1"}})
	}},
	// The node reaches neither by itself, and yet a registry answered.
	{Name: "no such tag, behind a proxy", Want: []string{"image-pull/tag-not-found"}, Remedy: "-", Never: []string{"hosts.toml"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "docker.io/library/nginx:1.99", "docker.io/library/nginx:1.99: not found")
		o.Registries = []v1alpha1.RegistryHost{{Host: "docker.io", Path: "/etc/containerd/certs.d/docker.io/hosts.toml", Server: "https://registry-1.docker.io",
			Mirrors: []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test", Reach: "timeout", ReachError: "dial tcp 198.51.100.7:443: i/o timeout"}},
			Origin:  &v1alpha1.RegistryMirror{URL: "https://registry-1.docker.io", Reach: "timeout", ReachError: "dial tcp 198.51.100.9:443: i/o timeout"}}}
	}},
	{Name: "Docker Hub's pull limit", Want: []string{"image-pull/registry-auth"}, Likely: true, Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "docker.io/library/nginx:1.27", "failed to copy: httpReadSeeker: failed open: unexpected status code https://registry-1.docker.io/v2/library/nginx/manifests/sha256:0a: 429 Too Many Requests - Server message: toomanyrequests: You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit")
	}},
	// KubeletEnsureSecretPulledImages, on since 1.35: what another pod's credential pulled is pulled again with this pod's own.
	{Name: "no credential, and another pod's image is on the node", Want: []string{"image-pull/registry-auth"}, Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Images = append(o.Runtime.Images, v1alpha1.Image{ID: "sha256:a", Tags: []string{detectorstest.Registry + "/team/web:1"}})
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", "pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials")
	}},
	// The same of an error that has nothing to do with credentials: the pull is tried again, and fails.
	{Name: "an unknown CA, and another pod's credential pulled the image before", Want: []string{"image-pull/registry-tls"}, Ill: func(o *v1alpha1.Observation) {
		image := detectorstest.Registry + "/team/web:1"
		o.Runtime.Images = append(o.Runtime.Images, v1alpha1.Image{ID: "sha256:a", Tags: []string{image}})
		detectorstest.PullFails(o, image, "tls: failed to verify certificate: x509: certificate signed by unknown authority")
		before := detectorstest.AddPod(o, detectorstest.Pod("default", "web-before", detectorstest.With(func(c *corev1.Container) { c.Image = image })))
		before.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "registry-credential"}}
		before.Status.ContainerStatuses[0].Image, before.Status.ContainerStatuses[0].ImageID = image, image+"@sha256:0a"
	}},
	{Name: "no such tag of an image volume", Want: []string{"image-pull/tag-not-found"}, Ill: func(o *v1alpha1.Observation) {
		text := `failed to pull and unpack image "quay.io/team/model:9": failed to resolve reference "quay.io/team/model:9": quay.io/team/model:9: not found`
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "infer", detectorstest.Waiting("ImagePullBackOff", `Back-off pulling image "quay.io/team/model:9": ErrImagePull: rpc error: code = NotFound desc = `+text)))
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "model", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "quay.io/team/model:9", PullPolicy: corev1.PullIfNotPresent}}})
		detectorstest.Event(o, "default", "infer", "Failed", `Failed to pull image "quay.io/team/model:9": rpc error: code = NotFound desc = `+text, 20*time.Second, 4)
	}},
	{Name: "the pull has just failed, and the pod's status does not tell yet", Want: []string{"image-pull/tag-not-found"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "web", detectorstest.With(func(c *corev1.Container) { c.Image = "quay.io/team/web:9" }), detectorstest.Waiting("ContainerCreating", "")))
		detectorstest.Event(o, "default", p.Name, "Failed", `Failed to pull image "quay.io/team/web:9": rpc error: code = NotFound desc = failed to pull and unpack image "quay.io/team/web:9": failed to resolve reference "quay.io/team/web:9": quay.io/team/web:9: not found`, 2*time.Second, 1)
	}},
	{Name: "the pull of an image volume has just failed, and the pod's status does not tell yet", Want: []string{"image-pull/tag-not-found"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "infer", detectorstest.Waiting("ContainerCreating", "")))
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "model", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "quay.io/team/model:9"}}})
		detectorstest.Event(o, "default", p.Name, "Failed", `Failed to pull image "quay.io/team/model:9": rpc error: code = NotFound desc = failed to pull and unpack image "quay.io/team/model:9": failed to resolve reference "quay.io/team/model:9": quay.io/team/model:9: not found`, 2*time.Second, 1)
	}},
	{Name: "an earlier pull failed, the image has come, and the status tells neither", Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "web", detectorstest.With(func(c *corev1.Container) { c.Image = "quay.io/team/web:9" }), detectorstest.Waiting("ContainerCreating", "")))
		detectorstest.Event(o, "default", p.Name, "Failed", `Failed to pull image "quay.io/team/web:9": rpc error: code = NotFound desc = failed to resolve reference "quay.io/team/web:9": quay.io/team/web:9: not found`, 20*time.Second, 1)
		detectorstest.Event(o, "default", p.Name, "Pulled", `Successfully pulled image "quay.io/team/web:9" in 1.2s (1.2s including waiting). Image size: 1234 bytes.`, 2*time.Second, 1)
	}},
	{Name: "token server unreachable", Want: []string{"image-pull/registry-unreachable"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "docker.io/library/nginx:1.27", `failed to authorize: failed to fetch anonymous token: Get "https://auth.docker.io/token?scope=repository%3Alibrary%2Fnginx%3Apull&service=registry.docker.io": dial tcp 203.0.113.9:443: i/o timeout`)
	}},
	{Name: "no way to the registry of the sandbox's image", Want: []string{"image-pull/registry-unreachable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Runtime.SandboxImage = "registry.k8s.io/pause:3.6"
		detectorstest.SandboxFails(o, `failed to start sandbox "0a1b": failed to get sandbox image "registry.k8s.io/pause:3.6": failed to pull image "registry.k8s.io/pause:3.6": failed to pull and unpack image "registry.k8s.io/pause:3.6": failed to resolve reference "registry.k8s.io/pause:3.6": failed to do request: Head "https://registry.k8s.io/v2/pause/manifests/3.6": dial tcp: lookup registry.k8s.io on 10.0.0.1:53: no such host`)
	}},
	{Name: "no such tag of the sandbox's image, on CRI-O", Want: []string{"image-pull/tag-not-found"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `error creating pod sandbox with name "k8s_new_default_0a_0": initializing source docker://registry.k8s.io/pause:9.9: reading manifest 9.9 in registry.k8s.io/pause: manifest unknown`)
	}},
	{Name: "the runtime's proxy is dead", Want: []string{"image-pull/registry-unreachable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Environment.HTTPSProxy = "http://127.0.0.1:7890"
		h := detectorstest.RegistryHost("")
		h.Mirrors = []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test", Reach: "timeout"}}
		h.Origin = &v1alpha1.RegistryMirror{URL: "https://" + detectorstest.Registry, Reach: "ok"}
		o.Registries = []v1alpha1.RegistryHost{h}
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `failed to do request: Head "https://`+detectorstest.Registry+`/v2/team/web/manifests/1": proxyconnect tcp: dial tcp 127.0.0.1:7890: connect: connection refused`)
	}},
	{Name: "no such tag, and the runtime has a proxy through which it reaches the mirror", Want: []string{"image-pull/tag-not-found"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Environment.HTTPSProxy = "http://proxy.example.test:3128"
		h := detectorstest.RegistryHost("")
		h.Mirrors = []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test", Reach: "timeout"}}
		o.Registries = []v1alpha1.RegistryHost{h}
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", detectorstest.Registry+"/team/web:1: not found")
	}},
	{Name: "the name server is kept away by a rule", Want: []string{"image-pull/registry-unreachable"}, Remedy: "iptables -t filter -D OUTPUT -p udp -m udp --dport 53 -j DROP", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Rules(o, "iptables -t filter -A OUTPUT -p udp -m udp --dport 53 -j DROP")
		detectorstest.PullFails(o, "quay.io/team/web:1", `failed to do request: Head "https://quay.io/v2/team/web/manifests/1": dial tcp: lookup quay.io on 192.0.2.53:53: read udp 10.0.0.7:4321->192.0.2.53:53: i/o timeout`)
	}},
	{Name: "registry rejected by firewalld", Want: []string{"image-pull/registry-unreachable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Rules(o, "nft inet firewalld filter_OUTPUT handle 4: ip daddr 203.0.113.7 tcp dport 443 reject")
		o.Network.RejectRules[len(o.Network.RejectRules)-1].Owner = "firewalld"
		detectorstest.PullFails(o, "quay.io/team/web:1", `failed to do request: Head "https://quay.io/v2/team/web/manifests/1": dial tcp 203.0.113.7:443: connect: no route to host`)
	}},
	{Name: "a registry that hides what is missing", Want: []string{"image-pull/registry-auth"}, Likely: true, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "ghcr.io/team/web:1", `failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token?scope=repository%3Ateam%2Fweb%3Apull&service=ghcr.io: 403 Forbidden`)
	}},
	{Name: "the namespace's secret is for another team's repositories", Want: []string{"image-pull/registry-auth"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.API.PullSecrets = []v1alpha1.PullSecret{{Namespace: "default", Name: "theirs", Exists: true, Hosts: []string{detectorstest.Registry + "/other"}}}
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `unexpected status from HEAD request to https://`+detectorstest.Registry+`/v2/team/web/manifests/1: 401 Unauthorized`)
	}},
	{Name: "two secrets would do", Want: []string{"image-pull/registry-auth"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.API.PullSecrets = []v1alpha1.PullSecret{{Namespace: "default", Name: "ours", Exists: true, Hosts: []string{detectorstest.Registry + "/team"}}, {Namespace: "default", Name: "theirs", Exists: true, Hosts: []string{detectorstest.Registry}}}
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `unexpected status from HEAD request to https://`+detectorstest.Registry+`/v2/team/web/manifests/1: 401 Unauthorized`)
	}},
	{Name: "a mirror of k3s is down", Want: []string{"image-pull/mirror-misconfigured"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		h := detectorstest.RegistryHost("")
		h.Path = "/var/lib/rancher/k3s/agent/etc/containerd/certs.d/" + detectorstest.Registry + "/hosts.toml"
		h.Mirrors = []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test", Reach: "refused"}}
		h.Origin = &v1alpha1.RegistryMirror{URL: "https://" + detectorstest.Registry, Reach: "ok"}
		o.Registries = []v1alpha1.RegistryHost{h}
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", detectorstest.Registry+"/team/web:1: not found")
	}},
	{Name: "registry signed by nobody, on CRI-O", Want: []string{"image-pull/registry-tls"}, Remedy: "/etc/containers/certs.d/registry.example.test:5000/ca.crt", Never: []string{"hosts.toml"}, Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Name, o.Registries, o.TrustedCAs = facts.CRIO, nil, []v1alpha1.TrustedCA{{SHA256: "2222"}}
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `tls: failed to verify certificate: x509: certificate signed by unknown authority`)
	}},
	{Name: "CRI-O: the mirror is signed by nobody, and the registry itself is out of reach", Want: []string{"image-pull/registry-tls"}, Remedy: "-", Says: "50-mirrors.conf sends the pulls of quay.io there", Ill: func(o *v1alpha1.Observation) {
		crio(o, v1alpha1.RegistryHost{Host: "quay.io", Prefix: "quay.io/team", Mirrors: []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test:8443/team", Reach: "tls-untrusted"}}, Origin: &v1alpha1.RegistryMirror{URL: "https://quay.io/team", Reach: "timeout"}})
		detectorstest.PullFails(o, "quay.io/team/web:1", `initializing source docker://quay.io/team/web:1: (Mirrors also failed: [mirror.example.test:8443/team/web:1: pinging container registry mirror.example.test:8443: Get "https://mirror.example.test:8443/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority]): quay.io/team/web:1: pinging container registry quay.io: Get "https://quay.io/v2/": dial tcp 203.0.113.9:443: i/o timeout`)
	}},
	{Name: "CRI-O: somebody vouches for the mirror's CA", Want: []string{"image-pull/registry-tls"}, Remedy: "/etc/docker/certs.d/mirror.example.test:8443/ca.crt", Never: []string{"hosts.toml", "registry.example.test"}, Ill: func(o *v1alpha1.Observation) {
		o.TrustedCAs = []v1alpha1.TrustedCA{{SHA256: "2222"}}
		crio(o, v1alpha1.RegistryHost{Host: detectorstest.Registry, Server: "https://mirror.example.test:8443", CAs: []string{"/etc/docker/certs.d/mirror.example.test:8443/old.crt"},
			Mirrors: []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test:8443/r", Reach: "tls-untrusted", CAs: []string{"/etc/docker/certs.d/mirror.example.test:8443/old.crt"}}}})
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `initializing source docker://`+detectorstest.Registry+`/team/web:1: pinging container registry mirror.example.test:8443: Get "https://mirror.example.test:8443/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority`)
	}},
	{Name: "CRI-O: a mirror is down, and only the registry's not found is told", Want: []string{"image-pull/mirror-misconfigured"}, Remedy: "-", Says: "it stands in /etc/containers/registries.conf.d/50-mirrors.conf", Ill: func(o *v1alpha1.Observation) {
		crio(o, v1alpha1.RegistryHost{Host: "*.example.test", Mirrors: []v1alpha1.RegistryMirror{{URL: "https://other.example.test", Reach: "ok"}}},
			v1alpha1.RegistryHost{Host: "registry.example.test:5000", Mirrors: []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test", Reach: "refused"}}, Origin: &v1alpha1.RegistryMirror{URL: "https://registry.example.test:5000", Reach: "ok"}})
		detectorstest.PullFails(o, "registry.example.test:5000/team/web:1", `initializing source docker://registry.example.test:5000/team/web:1: reading manifest 1 in registry.example.test:5000/team/web: manifest unknown`)
	}},
	{Name: "CRI-O: all pulls go to a host that is down, and whether the registry itself answers is not known", Want: []string{"image-pull/registry-unreachable"}, Remedy: "-", Says: "50-mirrors.conf sends the pulls of registry.shop.test there", Ill: func(o *v1alpha1.Observation) {
		crio(o, v1alpha1.RegistryHost{Host: "registry.shop.test", Server: "https://127.0.0.1:5999", Mirrors: []v1alpha1.RegistryMirror{{URL: "https://127.0.0.1:5999", Reach: "refused"}}})
		detectorstest.PullFails(o, "registry.shop.test/shop/app:1.0", `initializing source docker://registry.shop.test/shop/app:1.0: pinging container registry 127.0.0.1:5999: Get "https://127.0.0.1:5999/v2/": dial tcp 127.0.0.1:5999: connect: connection refused`)
	}},
	{Name: "CRI-O: a mirror that is for digests alone is down", Want: []string{"image-pull/tag-not-found"}, Ill: func(o *v1alpha1.Observation) {
		crio(o, v1alpha1.RegistryHost{Host: "quay.io", Mirrors: []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test", Reach: "refused", Pulls: "digest-only"}}, Origin: &v1alpha1.RegistryMirror{URL: "https://quay.io", Reach: "ok"}})
		detectorstest.PullFails(o, "quay.io/team/web:1", `initializing source docker://quay.io/team/web:1: reading manifest 1 in quay.io/team/web: manifest unknown`)
	}},
	{Name: "CRI-O: the mirror of another path is down", Want: []string{"image-pull/tag-not-found"}, Ill: func(o *v1alpha1.Observation) {
		crio(o, v1alpha1.RegistryHost{Host: "quay.io", Prefix: "quay.io/tea", Mirrors: []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test", Reach: "refused"}}, Origin: &v1alpha1.RegistryMirror{URL: "https://quay.io", Reach: "ok"}})
		detectorstest.PullFails(o, "quay.io/team/web:1", `initializing source docker://quay.io/team/web:1: reading manifest 1 in quay.io/team/web: manifest unknown`)
	}},
	{Name: "CRI-O: the registry is blocked", Want: []string{"image-pull/mirror-misconfigured"}, Remedy: "-", Says: "blocked by the runtime's configuration; it stands in /etc/containers/registries.conf.d/50-mirrors.conf", Ill: func(o *v1alpha1.Observation) {
		crio(o, v1alpha1.RegistryHost{Host: "docker.io", Blocked: true, Mirrors: []v1alpha1.RegistryMirror{{URL: "https://registry-1.docker.io", Reach: "ok"}}})
		detectorstest.PullFails(o, "docker.io/library/web:1", `initializing source docker://docker.io/library/web:1: registry docker.io is blocked in /etc/containers/registries.conf or /etc/containers/registries.conf.d`)
	}},
	{Name: "CRI-O: registries.conf cannot be read", Want: []string{"image-pull/mirror-misconfigured"}, Remedy: "-", Says: "/etc/containers/registries.conf.d/50-mirrors.conf cannot be read", Ill: func(o *v1alpha1.Observation) {
		crio(o, v1alpha1.RegistryHost{Host: "_default", Error: "toml: line 3"})
		detectorstest.PullFails(o, "quay.io/team/web:1", `initializing source docker://quay.io/team/web:1: loading registries configuration "/etc/containers/registries.conf.d/50-mirrors.conf": toml: line 3`)
	}},
	{Name: "registry signed by nobody, and containerd reads no certs.d", Want: []string{"image-pull/registry-tls"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Version, o.Runtime.ConfigFile.ConfigPath, o.Registries = "v1.7.29", "", nil
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `tls: failed to verify certificate: x509: certificate signed by unknown authority`)
	}},
	{Name: "what comes is not what the manifest names", Want: []string{"image-pull/registry-unreachable"}, Likely: true, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "quay.io/team/web:1", `failed commit on ref "layer-sha256:0a": unexpected commit digest sha256:0b, expected sha256:0a: failed precondition`)
	}},
	// https://github.com/containerd/containerd/issues/10027
	{Name: "containerd leaves a hosts.toml out", Want: []string{"image-pull/mirror-misconfigured"}, Remedy: "-", Says: "invalid `host` tree", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SignedByNobody(o)
		detectorstest.Log(o, "containerd", "level=error msg=\"failed to decode hosts.toml\" error=\"invalid `host` tree\"", 8*time.Second)
	}},
	{Name: "containerd 2 leaves a hosts.toml out, and names it", Want: []string{"image-pull/mirror-misconfigured"}, Remedy: "-", Says: "invalid `host` tree", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SignedByNobody(o)
		detectorstest.Log(o, "containerd", "level=error msg=\"failed to decode "+detectorstest.RegistryHost("").Path+"\" error=\"invalid `host` tree\"", 8*time.Second)
	}},
	// https://github.com/rancher/rke2/issues/9439
	{Name: "RKE2's mirror is signed by nobody", Want: []string{"image-pull/mirror-misconfigured"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		const dir = "/var/lib/rancher/rke2/agent/etc/containerd/certs.d"
		o.Runtime.ConfigFile.ConfigPath = dir
		o.Registries = []v1alpha1.RegistryHost{{Host: "quay.io", Path: dir + "/quay.io/hosts.toml", Server: "https://quay.io/v2",
			Mirrors: []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test:9001/v2", Reach: "tls-untrusted"}}, Origin: &v1alpha1.RegistryMirror{URL: "https://quay.io", Reach: "ok"}}}
		detectorstest.PullFails(o, "quay.io/argoproj/argocd:latest", `failed to do request: Head "https://mirror.example.test:9001/v2/argoproj/argocd/manifests/latest?ns=quay.io": tls: failed to verify certificate: x509: certificate signed by unknown authority`)
	}},
	// https://github.com/ciiiii/cloudflare-docker-proxy/issues/98
	{Name: "a mirror takes the request amiss", Want: []string{"image-pull/mirror-misconfigured"}, Ill: func(o *v1alpha1.Observation) {
		h := detectorstest.RegistryHost("")
		h.Mirrors = []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test", Reach: "ok"}}
		h.Origin = &v1alpha1.RegistryMirror{URL: "https://" + detectorstest.Registry, Reach: "ok"}
		o.Registries = []v1alpha1.RegistryHost{h}
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `failed to copy: httpReadSeeker: failed open: unexpected status code https://mirror.example.test/v2/team/web/blobs/sha256:566e42bcee1cd697dcab6098c082789af33bc8cbcbaa95c8adbad87283c85c75?ns=`+detectorstest.Registry+`: 400 Bad Request`)
	}},
	{Name: "a registry takes the request amiss", Want: []string{"image-pull/registry-unreachable"}, Remedy: "-", Says: "answers with an error of its own", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "docker.example.test/library/nginx:1", `failed to copy: httpReadSeeker: failed open: unexpected status code https://docker.example.test/v2/library/nginx/blobs/sha256:566e42bcee1cd697dcab6098c082789af33bc8cbcbaa95c8adbad87283c85c75?ns=docker.io: 400 Bad Request`)
	}},
	// https://github.com/podman-container-tools/podman/issues/17802
	{Name: "quay's token server has an error of its own, CRI-O", Want: []string{"image-pull/registry-unreachable"}, Remedy: "-", Says: "answers with an error of its own", Ill: func(o *v1alpha1.Observation) {
		crio(o)
		detectorstest.PullFails(o, "quay.io/libpod/alpine:latest", `initializing source docker://quay.io/libpod/alpine:latest: Requesting bearer token: invalid status code from registry 502 (Bad Gateway)`)
	}},
	// https://github.com/goharbor/harbor/issues/18292
	{Name: "Harbor's proxy cache does not have it, CRI-O", Want: []string{"image-pull/tag-not-found"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		crio(o)
		detectorstest.PullFails(o, "registry.example.test/hub/library/busybox:latest", `initializing source docker://registry.example.test/hub/library/busybox:latest: reading manifest latest in registry.example.test/hub/library/busybox: unknown: repository hub/library/busybox not found`)
	}},
	// https://github.com/terraform-google-modules/terraform-google-kubernetes-engine/issues/1779
	{Name: "Artifact Registry denies", Want: []string{"image-pull/registry-auth"}, Likely: true, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "europe-west2-docker.pkg.dev/p/ml/app:4.19.5", `denied: Permission "artifactregistry.repositories.downloadArtifacts" denied on resource "projects/p/locations/europe-west2/repositories/ml" (or it may not exist)`)
	}},
	{Name: "the registry's own firewall", Want: []string{"image-pull/registry-auth"}, Remedy: "-", Says: "does not let in the address", Manual: "let in this address", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "x.azurecr.io/web:1", `failed to authorize: failed to fetch oauth token: unexpected status from POST request to https://x.azurecr.io/oauth2/token: 403 Forbidden: {"errors":[{"code":"DENIED","message":"client with IP 20.1.2.3 is not allowed access. Refer https://aka.ms/acr/firewall to grant access."}]}`)
	}},
	{Name: "what the tag names is no image", Want: []string{"image-pull/tag-not-found"}, Remedy: "-", Says: "in a format", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "quay.io/team/chart:1", `failed to unpack image on snapshotter overlayfs: unexpected media type application/vnd.cncf.helm.config.v1+json for sha256:ab: not found`)
	}},
	{Name: "an encrypted image", Want: []string{"image-pull/tag-not-found"}, Remedy: "-", Says: "in a format", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "quay.io/team/web:1", `failed to extract layer sha256:ab: no processor for media-type: application/vnd.oci.image.layer.v1.tar+gzip+encrypted: unknown`)
	}},
	{Name: "a registry's certificate is not valid yet", Want: []string{"image-pull/registry-tls"}, Remedy: "-", Says: "not valid yet", Manual: "this node's clock first", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "quay.io/team/web:1", `failed to do request: Head "https://quay.io/v2/team/web/manifests/1": tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-24T10:00:00Z is before 2026-11-25T00:00:00Z`)
	}},
	{Name: "a registry's certificate is made as Go does not accept it", Want: []string{"image-pull/registry-tls"}, Remedy: "-", Says: "does not accept", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `failed to do request: Head "https://`+detectorstest.Registry+`/v2/team/web/manifests/1": tls: failed to parse certificate from server: x509: negative serial number`)
	}},
	// https://github.com/goharbor/harbor/issues/19983
	{Name: "Harbor holds the image back, and the namespace has a secret for it", Want: []string{"image-pull/registry-auth"}, Remedy: "-", Says: "by a policy of its own", Manual: "no credential helps", Ill: func(o *v1alpha1.Observation) {
		o.API.PullSecrets = []v1alpha1.PullSecret{{Namespace: "default", Name: "regcred", Exists: true, Hosts: []string{detectorstest.Registry}}}
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `unknown: current image with "Pending" status of vulnerability scanning cannot be pulled due to configured policy in 'Prevent images with vulnerability severity of "Critical" or higher from running.' To continue with pull, please contact your project administrator for help.`)
	}},
	{Name: "the registry lost a layer", Want: []string{"image-pull/tag-not-found"}, Remedy: "-", Says: "lacks a layer", Manual: "push it again", Ill: func(o *v1alpha1.Observation) {
		crio(o)
		detectorstest.PullFails(o, "quay.io/team/web:1", `initializing source docker://quay.io/team/web:1: reading blob sha256:ab: fetching blob: blob unknown to registry`)
	}},
	{Name: "the table of connections is full", Want: []string{"image-pull/registry-unreachable"}, Remedy: "-", Says: "table of connections is full", Ill: func(o *v1alpha1.Observation) {
		o.Limits = append(o.Limits, v1alpha1.Limit{Name: "conntrack", Of: "node", Used: 65500, Max: 65536})
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `failed to do request: Head "https://`+detectorstest.Registry+`/v2/team/web/manifests/1": dial tcp 203.0.113.7:443: i/o timeout`)
	}},
	{Name: "the registry's disk is full", Want: []string{"image-pull/registry-unreachable"}, Remedy: "-", Says: "answers with an error of its own", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "ghcr.io/team/web:1", `failed to copy: httpReadSeeker: failed open: unexpected status code https://ghcr.io/v2/team/web/blobs/sha256:33: 500 Internal Server Error - Server message: unknown: write /var/lib/registry/x: no space left on device`)
	}},
}

// crio has CRI-O run the node, with these registries in a drop-in of registries.conf.
func crio(o *v1alpha1.Observation, hosts ...v1alpha1.RegistryHost) {
	o.Runtime.Name = facts.CRIO
	for i := range hosts {
		hosts[i].Path = "/etc/containers/registries.conf.d/50-mirrors.conf"
	}
	o.Registries = hosts
}

var silent = []detectorstest.Case{
	{Name: "no room for the image", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "quay.io/team/web:1", `failed to copy: write /var/lib/containerd/io.containerd.content.v1.content/ingest/0a/data: no space left on device`)
	}},
	{Name: "the image may not be pulled, and is not there", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "web", detectorstest.Waiting("ErrImageNeverPull", `Container image "quay.io/team/web:1" is not present with pull policy of Never`)))
	}},
	{Name: "the image is not signed as the policy wants", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "web", detectorstest.Waiting("SignatureValidationFailed", `SignatureValidationFailed: image pull failed for quay.io/team/web:1 because the signature validation failed: Source image rejected: A signature was required, but no signature exists`)))
	}},
	{Name: "a verifier of signatures blocks the pull, for a trouble of its own", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "quay.io/team/web:1", `image verifier bindir blocked pull of quay.io/team/web:1 with digest sha256:c75a for reason: verifier cosign rejected image (exit code 1): Error: no matching signatures: x509: certificate signed by unknown authority`)
	}},
	{Name: "the runtime's own folder refuses the write", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, "quay.io/team/web:1", `mkdir /var/lib/containerd/io.containerd.content.v1.content/ingest/ab: permission denied`)
	}},
	{Name: "an image volume came since", Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "infer", detectorstest.Waiting("ImagePullBackOff", `Back-off pulling image "quay.io/team/model:9": ErrImagePull: quay.io/team/model:9: not found`)))
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "model", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "quay.io/team/model:9"}}})
		o.Runtime.Images = append(o.Runtime.Images, v1alpha1.Image{Tags: []string{"quay.io/team/model:9"}})
	}},
	{Name: "containerd leaves a hosts.toml out, and nobody pulls", Ill: func(o *v1alpha1.Observation) {
		o.Registries = []v1alpha1.RegistryHost{detectorstest.RegistryHost("ok")}
		detectorstest.Log(o, "containerd", "level=error msg=\"failed to decode hosts.toml\" error=\"invalid `host` tree\"", 8*time.Second)
	}},
	{Name: "an unreferenced hosts.toml", Ill: func(o *v1alpha1.Observation) {
		h := detectorstest.RegistryHost("tls-untrusted")
		h.Error = "toml: line 2"
		o.Registries = []v1alpha1.RegistryHost{h}
	}},
	{Name: "the image came since", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", "x509: certificate signed by unknown authority")
		o.Runtime.Images = append(o.Runtime.Images, v1alpha1.Image{Tags: []string{detectorstest.Registry + "/team/web:1"}})
	}},
}
