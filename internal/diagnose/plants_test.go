package diagnose

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// plantedText is one kind of secret as it comes into an observation. @@ stands for it; it is long enough not to be there by chance.
type plantedText struct{ name, text string }

// of makes a token of a well-known format without its being one in this file.
func of(parts ...string) string { return strings.Join(parts, "") }

const plantedValue = "Zq7plantedXw4vR9aK2m"

// plantedTexts stand in log lines, events, messages and scripts.
var plantedTexts = []plantedText{
	{"bearer", "Authorization: Bearer @@"},
	{"basic", "Authorization: Basic U0VDUkVU@@=="},
	{"digest", `Authorization: Digest username="u", response="@@"`},
	{"token scheme", "authorization: token @@"},
	{"api key header", "X-Api-Key: @@"},
	{"vault header", "X-Vault-Token: @@"},
	{"gitlab header", "PRIVATE-TOKEN: @@"},
	{"set-cookie", "Set-Cookie: sid=@@; Path=/"},
	{"cookie", "Cookie: a=1; sid=@@"},
	{"header of curl", `curl -H "X-Auth-Token: @@" https://x.test/`},
	{"JWT", of("using eyJ", "hbGciOiJSUzI1NiJ9", ".eyJzdWIiOiJrdWJlbGV0In0.@@")},
	{"URL with password", "https://robot:@@@registry.example.test/v2/"},
	{"URL with token", "https://@@@git.example.test/x"},
	{"database URL", "postgres://app:@@@db.example.test:5432/app?sslmode=require"},
	{"redis URL", "redis://:@@@redis:6379/0"},
	{"AMQP URL", "amqp://guest:@@@mq/vhost"},
	{"proxy without scheme", "HTTP_PROXY=u:@@@proxy.example.test:3128"},
	{"image with password", `Pulling image "u:@@@registry.example.test/app:1"`},
	{"docker auth JSON", `{"auths":{"r.test":{"auth":"@@"}}}`},
	{"docker auth TOML", `auth = "@@"`},
	{"escaped JSON", `{\"password\":\"@@\"}`},
	{"twice escaped JSON", `{\\\"client_secret\\\":\\\"@@\\\"}`},
	{"JSON with spaces", `{"db_password" : "@@"}`},
	{"YAML token", "token: @@"},
	{"YAML secret", "secret: @@"},
	{"YAML password in a block", "  - password: '@@'"},
	{"password=", "password=@@ user=x"},
	{"quoted with spaces", `password="a @@ b"`},
	{"DB_PASS", "DB_PASS=@@"},
	{"SECRET=", "MY_SECRET=@@"},
	{"SECRET_KEY_BASE", "SECRET_KEY_BASE=@@"},
	{"ENCRYPTION_KEY", "ENCRYPTION_KEY=@@"},
	{"MYSQL_PWD", "MYSQL_PWD=@@ mysqldump x"},
	{"passphrase", "passphrase=@@"},
	{"environment of a unit", `Environment="PGPASSWORD=@@" TZ=UTC`},
	{"AWS secret", "AWS_SECRET_ACCESS_KEY=@@"},
	{"AWS session", "aws_session_token = @@"},
	{"Azure account key", "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=@@==;EndpointSuffix=core.windows.net"},
	{"connection string", `ConnectionString="Server=db;User=sa;Password=@@;"`},
	{"query key", "GET https://maps.example.test/api?key=@@&q=x"},
	{"query sig", "https://a.blob.core.windows.net/c/f?sv=2020&sig=@@&se=2026"},
	{"query of S3", "https://b.s3.amazonaws.com/f?X-Amz-Credential=@@&X-Amz-Signature=@@&X-Amz-Date=20260101"},
	{"query code", "https://f.example.test/api/x?code=@@"},
	{"certificate key", "kubeadm join 10.0.0.1:6443 --certificate-key @@ --control-plane"},
	{"discovery token", "kubeadm join --token abcdef.0123456789@@x"},
	{"k3s token", "k3s agent --token K10@@::server:@@"},
	{"flag and word", "exec /app --db-password @@ --v=2"},
	{"flag with =", "exec /app --db-password=@@"},
	{"api key flag", "app --api-key=@@"},
	{"mysqldump", "CMD (mysqldump -uroot -p@@ db)"},
	{"sshpass", "sshpass -p @@ ssh a@b"},
	{"curl user", "curl -u u:@@ https://x.test"},
	{"redis-cli", "redis-cli -a @@ ping"},
	{"ldapsearch", "ldapsearch -x -D cn=a -w @@"},
	{"docker login", "docker login -u u -p @@ r.test"},
	{"openssl", "openssl rsa -passin pass:@@ -in k"},
	{"wget", "wget --user=u --password=@@ https://x.test"},
	{"sudo's log", "root : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/mysql -p@@"},
	{"mount option", "mount -t cifs -o user=u,pass=@@ //h/s /mnt"},
	{"mount option password", "mount -t cifs -o username=u,password=@@ //h/s /mnt"},
	{"exec probe output", "Liveness probe failed: token=@@ rejected"},
	{"hook", "posting to https://hooks.slack.com/services/T00/B00/@@"},
	{"gitconfig", "extraheader = AUTHORIZATION: basic @@@@"},
	{"netrc", "machine git.example.test login u password @@"},
	{"Go struct", `Config{User:"u", Password:"@@"}`},
	{"Python dict", `{'api_key': '@@'}`},
	{"logfmt", `level=info msg="login" secretKey=@@`},
	{"properties", "spring.datasource.password=@@"},
	{"env dump", "export GITHUB_TOKEN='@@'"},
	{"PHP", "'password' => '@@'"},
	{"one line key", of("-----BEGIN RSA PRIV", `ATE KEY-----\n@@\n-----END RSA PRIV`, "ATE KEY-----")},
	{"PGP key", of("-----BEGIN PGP PRIV", "ATE KEY BLOCK-----\n@@\n-----END PGP PRIV", "ATE KEY BLOCK-----")},
	{"OpenSSH key", of("-----BEGIN OPENSSH PRIV", "ATE KEY-----\nb3Blb@@\n")},
	{"key in base64", of("client-key-data: LS0tLS1C", "RUdJTiBFQyBQUklWQVRFIEtFW@@")},
	{"key data", "client-key-data: @@"},
	{"AWS key", of("aws AKIA", "IOSFODNN7EXAMPLE @@"[:16])},
	{"GitHub", of("ghp_", "@@@@@@@@")}, {"GitHub fine", of("github_pat_", "@@@@@@")}, {"GitLab", of("glpat-", "@@@@")},
	{"Slack", of("xoxb-", "123456-@@")}, {"Slack app", of("xapp-", "1-A1-@@")}, {"Docker Hub", of("dckr_pat_", "@@@@")},
	{"Google", of("AIza", "Sy@@@@")}, {"Google OAuth", of("ya29.", "@@@@")}, {"Stripe", of("sk_live_", "@@@@")}, {"OpenAI", of("sk-", "@@@@@@")},
	{"SendGrid", of("SG.", "@@@@.@@")}, {"npm", of("npm_", "@@@@")}, {"PyPI", of("pypi-", "Ag@@@@")}, {"Vault", of("hvs.", "@@@@")},
	{"age", of("AGE-SECRET-KEY-", "1@@@@")}, {"Grafana", of("glsa_", "@@@@")}, {"DigitalOcean", of("dop_v1_", "@@@@")}, {"Tailscale", of("tskey-", "auth-@@@@")},
	{"Hugging Face", of("hf_", "@@@@")}, {"Databricks", of("dapi", "@@@@")}, {"Shopify", of("shpat_", "@@@@")}, {"New Relic", of("NRAK-", "@@@@")},
}

// plantedPlaces put the value where no text is around it.
var plantedPlaces = map[string]func(*v1alpha1.Observation){
	"argument after its flag": pod(func(p *corev1.Pod) { p.Spec.Containers[0].Args = []string{"--db-password", plantedValue} }),
	"argument alone":          pod(func(p *corev1.Pod) { p.Spec.Containers[0].Args = []string{plantedValue} }),
	"command":                 pod(func(p *corev1.Pod) { p.Spec.Containers[0].Command = []string{"sh", "-c", "login " + plantedValue} }),
	"init container":          pod(func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{{Args: []string{"-p", plantedValue}}} }),
	"environment":             pod(func(p *corev1.Pod) { p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "X", Value: plantedValue}} }),
	"exec probe": pod(func(p *corev1.Pod) {
		p.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: exec("check", plantedValue)}
	}),
	"startup probe": pod(func(p *corev1.Pod) {
		p.Spec.Containers[0].StartupProbe = &corev1.Probe{ProbeHandler: exec("check", "-p", plantedValue)}
	}),
	"probe header": pod(func(p *corev1.Pod) { p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: header()} }),
	"probe query": pod(func(p *corev1.Pod) {
		p.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/x?t=" + plantedValue}}}
	}),
	"lifecycle exec": pod(func(p *corev1.Pod) {
		p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: exec("x", plantedValue).Exec}}
	}),
	"lifecycle header": pod(func(p *corev1.Pod) {
		p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{HTTPGet: header().HTTPGet}}
	}),
	"ephemeral container": pod(func(p *corev1.Pod) {
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Args: []string{plantedValue}}}}
	}),
	"annotation":       pod(func(p *corev1.Pod) { p.Annotations = map[string]string{"example.test/api-token": plantedValue} }),
	"annotation's key": pod(func(p *corev1.Pod) { p.Annotations = map[string]string{"example.test/" + plantedValue: ""} }),
	"last applied": pod(func(p *corev1.Pod) {
		p.Annotations = map[string]string{corev1.LastAppliedConfigAnnotation: plantedValue}
	}),
	"label":          pod(func(p *corev1.Pod) { p.Labels = map[string]string{"example.test/x": plantedValue} }),
	"managed fields": pod(func(p *corev1.Pod) { p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: plantedValue}} }),
	"inline CSI attribute": pod(func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{VolumeAttributes: map[string]string{"clientSecret": plantedValue}}}}}
	}),
	"inline CSI, any key": pod(func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{VolumeAttributes: map[string]string{"share": plantedValue}}}}}
	}),
	"flex volume": pod(func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{FlexVolume: &corev1.FlexVolumeSource{Options: map[string]string{"p": plantedValue}}}}}
	}),
	"host alias":    pod(func(p *corev1.Pod) { p.Spec.HostAliases = []corev1.HostAlias{{Hostnames: []string{plantedValue}}} }),
	"node selector": pod(func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"x": plantedValue} }),
	"ephemeral claim": pod(func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"a": plantedValue}}}}}}}
	}),
	"pending pod": func(o *v1alpha1.Observation) {
		o.API.Pending = []corev1.Pod{{Spec: corev1.PodSpec{Containers: []corev1.Container{{Args: []string{plantedValue}}}}}}
	},
	"termination message": pod(func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: "password: " + plantedValue}}}}
	}),
	"node annotation": func(o *v1alpha1.Observation) {
		o.API.Node.Annotations = map[string]string{"k3s.io/node-args": `["agent","--token","` + plantedValue + `"]`}
	},
	"node environment": func(o *v1alpha1.Observation) {
		o.API.Node.Annotations = map[string]string{"k3s.io/node-env": plantedValue}
	},
	"node label": func(o *v1alpha1.Observation) { o.API.Node.Labels = map[string]string{"example.test/key": plantedValue} },
	"taint": func(o *v1alpha1.Observation) {
		o.API.Node.Spec.Taints = []corev1.Taint{{Key: "secret", Value: plantedValue}}
	},
	"PV attribute": func(o *v1alpha1.Observation) {
		o.API.PVs = []corev1.PersistentVolume{{Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{VolumeAttributes: map[string]string{"clientSecret": plantedValue}}}}}}
	},
	"PV option": func(o *v1alpha1.Observation) {
		o.API.PVs = []corev1.PersistentVolume{{Spec: corev1.PersistentVolumeSpec{MountOptions: []string{"username=u", "pass=" + plantedValue}}}}
	},
	"PV flex option": func(o *v1alpha1.Observation) {
		o.API.PVs = []corev1.PersistentVolume{{Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: corev1.PersistentVolumeSource{FlexVolume: &corev1.FlexPersistentVolumeSource{Options: map[string]string{"k": plantedValue}}}}}}
	},
	"PV annotation": func(o *v1alpha1.Observation) {
		o.API.PVs = []corev1.PersistentVolume{{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"a": plantedValue}}}}
	},
	"claim annotation": func(o *v1alpha1.Observation) {
		o.API.PVCs = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"a": plantedValue}}}}
	},
	"event annotation": func(o *v1alpha1.Observation) {
		o.API.Events = []corev1.Event{{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"a": plantedValue}}}}
	},
	"sandbox's label": func(o *v1alpha1.Observation) {
		o.Runtime.Sandboxes = []v1alpha1.Sandbox{{Labels: map[string]string{"example.test/x": plantedValue}}}
	},
	"flag of the kubelet": func(o *v1alpha1.Observation) { o.Kubelet.Flags = []string{"--bootstrap-token", plantedValue} },
	"process": func(o *v1alpha1.Observation) {
		o.LocalJobs = []v1alpha1.Job{{Command: "backup --password " + plantedValue}}
	},
	"process, glued": func(o *v1alpha1.Observation) {
		o.LocalJobs = []v1alpha1.Job{{Command: "/usr/bin/mysqldump -p" + plantedValue + " db"}}
	},
	"process, -p": func(o *v1alpha1.Observation) {
		o.LocalJobs = []v1alpha1.Job{{Command: "/opt/app/run -p " + plantedValue}}
	},
	"cron": func(o *v1alpha1.Observation) {
		o.LocalJobs = []v1alpha1.Job{{Crontab: "/etc/crontab", Command: "0 * * * * root curl -u u:" + plantedValue + " https://x.test"}}
	},
	"script": func(o *v1alpha1.Observation) {
		o.LocalJobs = []v1alpha1.Job{{Script: "#!/bin/sh\nPASS=" + plantedValue + "\nrun\n"}}
	},
	"unit": func(o *v1alpha1.Observation) {
		o.LocalUnits = []v1alpha1.Unit{{ExecStart: "/usr/bin/app -p " + plantedValue}}
	},
	"unit's flag": func(o *v1alpha1.Observation) {
		o.Units = map[string]v1alpha1.Unit{"app": {ExecStart: "/usr/bin/app --auth-token " + plantedValue}}
	},
	"key over lines":             lines(of("-----BEGIN EC PRIV", "ATE KEY-----"), "MHcCAQEEI"+plantedValue, "oAoGCCq"+plantedValue+"==", of("-----END EC PRIV", "ATE KEY-----"), "done"),
	"key without its beginning":  lines("abc"+plantedValue, plantedValue+"==", of("-----END EC PRIV", "ATE KEY-----")),
	"key without its end":        lines(of("app: -----BEGIN PRIV", "ATE KEY-----"), plantedValue),
	"key's body alone":           lines(strings.Repeat(plantedValue, 4)),
	"value on the next line":     lines(`"password":`, `  "`+plantedValue+`"`),
	"YAML block":                 lines("client_secret: |", "  "+plantedValue),
	"two processes at a time":    between,
	"over two looks":             nil, // see below
	"note of whoever records it": nil,
}

func pod(change func(*corev1.Pod)) func(*v1alpha1.Observation) {
	return func(o *v1alpha1.Observation) {
		p := corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}
		change(&p)
		o.API.Pods = []corev1.Pod{p}
	}
}

func exec(argv ...string) corev1.ProbeHandler {
	return corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: argv}}
}

func header() corev1.ProbeHandler {
	return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(80), HTTPHeaders: []corev1.HTTPHeader{{Name: "X", Value: plantedValue}}}}
}

func lines(text ...string) func(*v1alpha1.Observation) {
	return func(o *v1alpha1.Observation) {
		for _, t := range text {
			o.Journal.Lines = append(o.Journal.Lines, v1alpha1.LogLine{Source: "app", PID: 7, Text: t})
		}
	}
}

// between has another process's lines within a key.
func between(o *v1alpha1.Observation) {
	for i, t := range []string{of("-----BEGIN EC PRIV", "ATE KEY-----"), "E1124 a line", plantedValue, "E1124 another line", of("-----END EC PRIV", "ATE KEY-----")} {
		o.Journal.Lines = append(o.Journal.Lines, v1alpha1.LogLine{Source: "app", PID: 7 + i%2, Text: t})
	}
}

func bundled(t *testing.T, info v1alpha1.Bundle, h v1alpha1.History) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bundle")
	if _, err := WriteBundle(dir, info, map[string]v1alpha1.History{"n": h}); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range []string{"bundle.yaml", "nodes/n.json"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all.Write(raw)
	}
	return all.String()
}

// A bundle is mailed: none of these is in it, wherever agent and API put it.
func TestNoPlantedSecretIsInABundle(t *testing.T) {
	if n := len(plantedTexts) + len(plantedPlaces); n < 2*53 {
		t.Errorf("only %d kinds", n)
	}
	at := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	fresh := func() v1alpha1.Observation {
		return v1alpha1.Observation{Node: "n", At: at, API: &v1alpha1.API{Node: &corev1.Node{}}}
	}
	for _, p := range plantedTexts {
		text := strings.ReplaceAll(p.text, "@@", plantedValue)
		if strings.Contains(p.name, "AWS key") {
			text = p.text
		}
		o := fresh()
		o.Journal.Lines = []v1alpha1.LogLine{{Source: "app", Text: "before " + text}, {Source: "app", Text: text}}
		o.API.Events = []corev1.Event{{Message: text}}
		if raw := bundled(t, v1alpha1.Bundle{}, v1alpha1.History{o}); strings.Contains(raw, plantedValue) || strings.Contains(raw, "IOSFODNN7") {
			i := strings.Index(raw, plantedValue)
			t.Errorf("%s: the bundle holds it: %s", p.name, raw[max(0, i-60):min(len(raw), i+30)])
		}
		if len(FindSecrets(text)) == 0 && len(Suspicious(text)) == 0 {
			t.Errorf("%s: the scan does not see %q", p.name, text)
		}
	}
	for name, plant := range plantedPlaces {
		o := fresh()
		h := v1alpha1.History{o, fresh()}
		info := v1alpha1.Bundle{}
		switch name {
		case "over two looks":
			lines(of("-----BEGIN EC PRIV", "ATE KEY-----"))(&h[0])
			lines(plantedValue, of("-----END EC PRIV", "ATE KEY-----"))(&h[1])
		case "note of whoever records it":
			info.Note = "the registry's password is password=" + plantedValue
		default:
			plant(&h[1])
		}
		if raw := bundled(t, info, h); strings.Contains(raw, plantedValue) {
			i := strings.Index(raw, plantedValue)
			t.Errorf("%s: the bundle holds it: %s", name, raw[max(0, i-60):min(len(raw), i+30)])
		}
	}
	o := fresh()
	between(&o)
	if raw := bundled(t, v1alpha1.Bundle{}, v1alpha1.History{o}); !strings.Contains(raw, "a line") || !strings.Contains(raw, "another line") {
		t.Error("the lines of another process are gone, too")
	}
}
