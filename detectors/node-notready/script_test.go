package notready

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestDropFlag(t *testing.T) {
	const refused = ""
	for in, want := range map[string]string{
		"KUBELET_KUBEADM_ARGS=\"--node-ip=10.0.0.1 --container-runtime=remote\"\n": "KUBELET_KUBEADM_ARGS=\"--node-ip=10.0.0.1\"\n",
		"A=\"--container-runtime=remote --node-ip=10.0.0.1\"\n":                    "A=\" --node-ip=10.0.0.1\"\n",
		"A=\"--container-runtime remote --v=2\"\n":                                 "A=\" --v=2\"\n",
		"A='--v=2 --container-runtime'\n":                                          "A='--v=2'\n",
		// Not one that begins alike.
		"A=\"--container-runtime-endpoint=unix:///run/x --container-runtime=remote --v=2\"\n":  "A=\"--container-runtime-endpoint=unix:///run/x --v=2\"\n",
		"A=\"--container-runtime-endpoint=unix:///run/x\"\n":                                   refused,
		"[Service]\nExecStart=\nExecStart=/usr/bin/kubelet --container-runtime=remote $MORE\n": "[Service]\nExecStart=\nExecStart=/usr/bin/kubelet $MORE\n",
		"ExecStart=/usr/bin/kubelet --container-runtime $MORE\n":                               "ExecStart=/usr/bin/kubelet $MORE\n",
		"ExecStart=/usr/bin/kubelet \\\n  --container-runtime=remote \\\n  --v=2\n":            "ExecStart=/usr/bin/kubelet \\\n  \\\n  --v=2\n",
		"# --container-runtime=remote\n":                                                       refused,
		"":                                                                                     refused,
	} {
		got, why := detectorstest.Edit(t, in, "", func(file string) v1alpha1.Step {
			return dropFlagFrom("n", "w", "container-runtime", []string{file, file + ".gone"})
		})
		if want == refused {
			if !strings.Contains(why, "has --container-runtime") {
				t.Errorf("%q is not refused: %q %s", in, got, why)
			}
		} else if got != want {
			t.Errorf("%q became %q, not %q %s", in, got, want, why)
		}
	}
}

func TestDropItem(t *testing.T) {
	const refused = ""
	for in, want := range map[string]string{
		"A=\"--feature-gates=Gone=true --v=2\"\n":                "A=\" --v=2\"\n",
		"A=\"--v=2 --feature-gates=Gone=true\"\n":                "A=\"--v=2\"\n",
		"A=\"--feature-gates=Other=true,Gone=true --v=2\"\n":     "A=\"--feature-gates=Other=true --v=2\"\n",
		"A=\"--feature-gates Gone=false,Other=true\"\n":          "A=\"--feature-gates Other=true\"\n",
		"A=\"--feature-gates=X=true,Gone=true,Y=true\"\n":        "A=\"--feature-gates=X=true,Y=true\"\n",
		"featureGates:\n  Gone: true\n  Other: false\nkind: X\n": "featureGates:\n  Other: false\nkind: X\n",
		"A=\"--feature-gates=GoneToo=true\"\n":                   refused,
		"# --feature-gates=Gone=true\n":                          refused,
		"":                                                       refused,
	} {
		got, why := detectorstest.Edit(t, in, "", func(file string) v1alpha1.Step {
			return dropItemFrom("n", "w", "feature-gates", "Gone", []string{file, file + ".gone"})
		})
		if want == refused {
			if !strings.Contains(why, "has Gone") {
				t.Errorf("%q is not refused: %q %s", in, got, why)
			}
		} else if got != want {
			t.Errorf("%q became %q, not %q %s", in, got, want, why)
		}
	}
	const label = "node-role.kubernetes.io/worker"
	got, why := detectorstest.Edit(t, "E=--node-labels=zone=a,"+label+"=,disk=ssd\n", "", func(file string) v1alpha1.Step { return dropItemFrom("n", "w", "node-labels", label, []string{file}) })
	if got != "E=--node-labels=zone=a,disk=ssd\n" {
		t.Errorf("%q %s", got, why)
	}
}

// The node's copy of the CA is used only where the cluster itself has the same.
func TestIsClusterCA(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, []byte("Subject: CN=kubernetes\n-----BEGIN CERTIFICATE-----\naGk=\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const sum = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"
	for cas, ok := range map[string]bool{"": true, sum: true, strings.Repeat("a", 64) + " " + sum: true, strings.Repeat("a", 64): false, sum[1:]: false} {
		c := exec.CommandContext(t.Context(), "sh", "-ec", isClusterCA)
		c.Env = append(os.Environ(), "cas="+cas, "ca="+file)
		if out, err := c.CombinedOutput(); (err == nil) != ok {
			t.Errorf("%q: %v %s", cas, err, out)
		}
	}
}
