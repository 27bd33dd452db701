package redact

import (
	"strings"
	"testing"
)

func TestTextTakesSecretsOut(t *testing.T) {
	const jwt = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZw"
	for name, tc := range map[string]struct{ in, secret string }{
		"bearer header":        {`GET https://api:6443/x Authorization: Bearer abcdef.0123456789abcdef`, "0123456789abcdef"},
		"basic header":         {`Authorization: Basic dXNlcjpwYXNzd29yZA==`, "dXNlcjpwYXNz"},
		"jwt alone":            {"using " + jwt, "c2lnbmF0dXJl"},
		"url user":             {`Head "https://robot:hunter2@registry.example:5000/v2/": 401`, "hunter2"},
		"pass phrase":          {`"mounted it with token: correct-horse-battery" pod="a/b"`, "correct-horse"},
		"url token only":       {`pull https://ghp_hunter2hunter2@ghcr.io/x`, "hunter2"},
		"key block":            {"a -----BEGIN RSA PRIVATE KEY-----\nMIIEsecret\n-----END RSA PRIVATE KEY----- b", "MIIEsecret"},
		"key block cut off":    {"-----BEGIN EC PRIVATE KEY-----\nMHcsecret", "MHcsecret"},
		"key block escaped":    {`"-----BEGIN PRIVATE KEY-----\nMHcsecret\n-----END PRIVATE KEY-----"`, "MHcsecret"},
		"base64 key":           {"client-key-data: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQo=", "UFJJVkFURSBLRVk"},
		"key data not pem":     {"client-key-data: bm90cGVt", "bm90cGVt"},
		"json password":        {`{"username":"u","password":"hunter2"}`, "hunter2"},
		"escaped json auth":    {`{\"auths\":{\"r\":{\"auth\":\"dXNlcjpodW50ZXIy\"}}}`, "dXNlcjpodW50ZXIy"},
		"query":                {`Get "https://r/token?service=r&access_token=hunter2hunter&scope=x"`, "hunter2hunter"},
		"assignment":           {`password=hunter2 user=x`, "hunter2"},
		"bootstrap token":      {`bootstrap token abcdef.0123456789abcdef rejected`, "0123456789abcdef"},
		"identity token":       {`"identitytoken": "hunter2"`, "hunter2"},
		"access key id":        {`using AKIAIOSFODNN7EXAMPLE of the role`, "AKIAIOSFODNN7"},
		"secret in a file":     {`aws_secret_access_key = hunter2/hunter2+hunter2`, "hunter2"},
		"environment":          {`Environment="PGPASSWORD=hunter2" LANG=C`, "hunter2"},
		"environment, longer":  {`DB_ADMIN_PASSWORD=hunter2`, "hunter2"},
		"code host":            {`fatal: ghp_hunter2hunter2hunter2hunter2 expired`, "hunter2"},
		"secret access key":    {`AWS_SECRET_ACCESS_KEY=hunter2`, "hunter2"},
		"two in one line":      {`https://a:one1@x and https://b:two2@y`, "two2"},
		"url with odd chars":   {`https://u:p%40ss$word@host/`, "ss$word"},
		"token query escaped":  {`\"https://r/?token=hunter2\"`, "hunter2"},
		"bearer in other case": {`authorization="BEARER hunter2hunter2"`, "hunter2"},
	} {
		t.Run(name, func(t *testing.T) {
			out := Text(tc.in)
			if strings.Contains(out, tc.secret) {
				t.Errorf("Text(%q) = %q, which still holds %q", tc.in, out, tc.secret)
			}
			if !strings.Contains(out, Mark) {
				t.Errorf("Text(%q) = %q, which does not say that something was taken out", tc.in, out)
			}
		})
	}
}

// These are lines detectors and matchers read: they must come through unchanged.
func TestTextKeepsWhatDetectorsRead(t *testing.T) {
	for _, s := range []string{
		`E1124 00:10:11.000001     123 pod_workers.go:1301] "Error syncing pod, skipping" err="failed to \"StartContainer\" for \"app\" with ErrImagePull: \"failed to pull and unpack image \\\"registry.lab:5000/app:1\\\": failed to resolve reference: failed to fetch anonymous token: unexpected status from GET request to https://registry.lab:5000/token: 401 Unauthorized\""`,
		`pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed: no basic auth credentials`,
		`tls: failed to verify certificate: x509: certificate signed by unknown authority`,
		`time="2026-11-24T00:00:00.000000001Z" level=error msg="RunPodSandbox for &PodSandboxMetadata{Name:a,Uid:b,Namespace:c,Attempt:0,} failed"`,
		`Couldn't get secret default/registry-credentials: secret "registry-credentials" not found`,
		`MountVolume.SetUp failed for volume "kube-api-access-x" : failed to fetch token: Post "https://sickbay-control-plane:6443/api/v1/namespaces/default/serviceaccounts/default/token": dial tcp 172.18.0.2:6443: connect: connection refused`,
		`expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/kubelet/kubepods/x" instead`,
		`secret="kube-system/bootstrap"`,
		`user@host ssh`,
	} {
		if got := Text(s); got != s {
			t.Errorf("changed\n  %s\nto\n  %s", s, got)
		}
	}
}

func TestArgs(t *testing.T) {
	in := []string{"/usr/bin/kubelet", "--kubeconfig=/etc/kubernetes/kubelet.conf", "--tls-private-key-file=/pki/key", "--token=abc.def", "--password", "hunter2",
		"--client-secret", "--v=2", "--image-credential-provider-config", "/etc/cred.yaml", "--authorization-mode=Webhook", "--authentication-token-webhook=true",
		"--authentication-token-webhook-cache-ttl=2m", "--http=https://u:hunter2@proxy:1/"}
	want := []string{"/usr/bin/kubelet", "--kubeconfig=/etc/kubernetes/kubelet.conf", "--tls-private-key-file=/pki/key", "--token=" + Mark, "--password", Mark,
		"--client-secret", "--v=2", "--image-credential-provider-config", "/etc/cred.yaml", "--authorization-mode=Webhook", "--authentication-token-webhook=true",
		"--authentication-token-webhook-cache-ttl=2m", "--http=https://" + Mark + "@proxy:1/"}
	got := Args(in)
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("argument %d: got %q, want %q", i, got[i], want[i])
		}
	}
	if in[3] != "--token=abc.def" {
		t.Error("Args changed its argument")
	}
}

func BenchmarkText(b *testing.B) {
	s := `E1124 00:10:11.000001     123 pod_workers.go:1301] "Error syncing pod, skipping" err="network is not ready: container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized" pod="kube-system/coredns-5d78c9869d-abcde" podUID="0e4b8f0a-2d0f-4cf0-a6c5-8ad0a3a0a2c0"`
	for b.Loop() {
		Text(s)
	}
}
