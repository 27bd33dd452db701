package imagepull_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	_ "github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestCases(t *testing.T) { detectorstest.Run(t, "image-pull", sick, silent) }

var sick = []detectorstest.Case{
	{Name: "registry signed by nobody", Want: []string{"image-pull/registry-tls"}, Remedy: "openssl s_client", Ill: detectorstest.SignedByNobody},
	{Name: "registry's certificate expired", Want: []string{"image-pull/registry-tls"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `failed to do request: Head "https://`+detectorstest.Registry+`/v2/team/web/manifests/1": tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-24T10:00:00Z is after 2026-01-01T00:00:00Z`)
	}},
	{Name: "no such tag", Want: []string{"image-pull/tag-not-found"}, Remedy: `"image":"registry.example.test:5000/team/web:1.1"`, Ill: func(o *v1alpha1.Observation) {
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
		o.Network.RejectRules = []v1alpha1.Rule{v1alpha1.ParseRule("iptables -t filter -A OUTPUT -d 172.18.0.9/32 -p tcp -m tcp --dport 5000 -j REJECT")}
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `failed to do request: Head "https://`+detectorstest.Registry+`/v2/team/web/manifests/1": dial tcp 172.18.0.9:5000: connect: connection refused`)
	}},
	{Name: "a mirror's fault hidden by the origin's 404", Want: []string{"image-pull/mirror-misconfigured"}, Remedy: "mv -T --backup=numbered -- /etc/containerd/certs.d/registry.example.test:5000/hosts.toml", Ill: func(o *v1alpha1.Observation) {
		h := detectorstest.RegistryHost("ok")
		h.Mirrors = []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test", Reach: "tls-untrusted"}}
		o.Registries = []v1alpha1.RegistryHost{h}
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", detectorstest.Registry+"/team/web:1: not found")
	}},
	{Name: "every pull goes to a mirror that is not there", Want: []string{"image-pull/mirror-misconfigured"}, Remedy: `server = "https://registry.example.test:5000"`, Ill: func(o *v1alpha1.Observation) {
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
	{Name: "no such tag, the one of before still runs", Want: []string{"image-pull/tag-not-found"}, Remedy: `"image":"registry.example.test:5000/team/web:1.0"`, Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Images = append(o.Runtime.Images, v1alpha1.Image{ID: "sha256:2", Tags: []string{detectorstest.Registry + "/team/web:1.1"}})
		detectorstest.AddPod(o, detectorstest.Pod("default", "web-old", detectorstest.Deployment("web"), func(p *corev1.Pod) { p.Spec.Containers[0].Image = detectorstest.Registry + "/team/web:1.0" }))
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:9", detectorstest.Registry+"/team/web:9: not found", detectorstest.Deployment("web"))
	}},
	{Name: "a rule for another address on the registry's port", Want: []string{"image-pull/registry-unreachable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Network.RejectRules = []v1alpha1.Rule{v1alpha1.ParseRule("nft inet corp out handle 4: ip daddr 10.9.9.9 tcp dport 5000 drop")}
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `failed to do request: Head "https://`+detectorstest.Registry+`/v2/team/web/manifests/1": dial tcp 172.18.0.9:5000: connect: connection refused`)
	}},
	{Name: "hosts.toml cannot be read", Want: []string{"image-pull/mirror-misconfigured"}, Remedy: "hosts.toml /etc/containerd/certs.d/registry.example.test:5000/hosts.toml.sickbay-aside", Ill: func(o *v1alpha1.Observation) {
		h := detectorstest.RegistryHost("")
		h.Error = "toml: line 2: expected '='"
		o.Registries = []v1alpha1.RegistryHost{h}
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", "failed to load hosts.toml: toml: line 2")
	}},
}

var silent = []detectorstest.Case{
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
