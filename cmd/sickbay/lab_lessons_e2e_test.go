package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// script is what somebody types into `lab shell`: on the ill node, or where kubectl works.
type script struct{ node, cluster string }

// lessons are six labs, with what the guide leads to and with what somebody does who only wants to be rid of the page.
var lessons = []struct {
	code string
	// guide are the words of the guide, or of the failure's page, that lead there.
	guide  []string
	look   script
	sees   string
	answer string
	fix    script
	cheat  script
	reason v1alpha1.Refusal
	tidy   script // what the lab's undoing knows nothing of
}{
	{
		"L01", []string{"journalctl -u kubelet -n 50 --no-pager", "`swapoff -a`, and remove the entry from `/etc/fstab`"},
		script{node: "journalctl -u kubelet -n 50 --no-pager"}, "running with swap on is not supported", "swap/swap-on",
		script{node: "swapoff -a; sed -i '/[[:space:]]swap[[:space:]]/d' /etc/fstab"},
		script{node: "mkdir -p /etc/systemd/system/kubelet.service.d && printf '[Service]\\nStandardOutput=null\\nStandardError=null\\n' > /etc/systemd/system/kubelet.service.d/99-quiet.conf && systemctl daemon-reload"}, v1alpha1.RefusedSymptomHidden,
		script{node: "rm /etc/systemd/system/kubelet.service.d/99-quiet.conf; systemctl daemon-reload"},
	},
	{
		"L02", []string{"kubectl describe pod POD", "`startupProbe` for slow starts"},
		script{cluster: "kubectl -n $NAMESPACE describe pod"}, "failed liveness probe, will be restarted", "probe-kill/probe-too-aggressive",
		script{cluster: `kubectl -n $NAMESPACE patch deploy shop -p '{"spec":{"template":{"spec":{"containers":[{"name":"shop","startupProbe":{"httpGet":{"path":"/hostname","port":8080},"periodSeconds":2,"failureThreshold":60},"livenessProbe":{"timeoutSeconds":5}}]}}}}'`},
		script{cluster: `kubectl -n $NAMESPACE patch deploy shop --type=json -p '[{"op":"remove","path":"/spec/template/spec/containers/0/livenessProbe"}]'`}, v1alpha1.RefusedProbeDisabled, script{},
	},
	{
		"L05", []string{"kubectl describe pod POD", "compare the limit with what the application needs. Raise it"},
		script{cluster: "kubectl -n $NAMESPACE describe pod"}, "OOMKilled", "oom-throttle/memory-limit",
		script{cluster: "kubectl -n $NAMESPACE set resources deploy shop --limits=memory=128Mi"},
		script{cluster: `kubectl -n $NAMESPACE patch deploy shop --type=json -p '[{"op":"remove","path":"/spec/template/spec/containers/0/resources/limits"}]'`}, v1alpha1.RefusedLimitDisabled, script{},
	},
	{
		"L07", []string{"ls /etc/cni/net.d /opt/cni/bin", "its agent writes configuration and plugins when it starts"},
		script{node: "ls /etc/cni/net.d /opt/cni/bin; journalctl -u kubelet | grep -i cni | tail -n 5"}, "cni plugin not initialized", "cni/conflist-missing",
		script{cluster: "for ds in sickbay-cni kindnet; do kubectl -n kube-system delete pod -l k8s-app=$ds --field-selector spec.nodeName=$NODE --wait=false; done"},
		script{cluster: "kubectl cordon $NODE"}, v1alpha1.RefusedNodeCordoned,
		script{cluster: "kubectl uncordon $NODE"},
	},
	{
		"L10", []string{"df -h /var/lib/kubelet /var/lib/containerd", "Remove what does not belong there"},
		script{node: "df -h /var/lib/kubelet /var/lib/containerd; df -hi /var/lib/kubelet /var/lib/containerd; find /var/lib/kubelet -xdev -maxdepth 1 -type f -size +4M"},
		`(?s)9[0-9]% /var/lib/kubelet.*\n/var/lib/kubelet/`, "disk-pressure/nodefs-full",
		script{node: "find /var/lib/kubelet -xdev -maxdepth 1 -type f -size +4M -delete"},
		script{node: "sed -i 's/nodefs.available: .*/nodefs.available: 0%/' /var/lib/kubelet/config.yaml; systemctl restart kubelet"}, v1alpha1.RefusedThreshold, script{},
	},
	{
		"L15", []string{"kubectl get events -A --field-selector reason=SandboxChanged", "something kills sandboxes"},
		script{cluster: "kubectl get events -A --field-selector reason=SandboxChanged"}, "it will be killed and re-created", "sandbox-changed/sandbox-killed",
		script{node: "systemctl disable --now sandbox-reaper"},
		script{cluster: "kubectl -n $NAMESPACE delete pod --all --wait=false"}, v1alpha1.RefusedWorkloadDeleted, script{},
	},
}

// TestLessons: what the scripted learner knows stands in the guide, and the cause is the lab's. It needs no cluster.
func TestLessons(t *testing.T) {
	guide, err := os.ReadFile("../../docs/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lessons {
		c, err := scenarios.FindCourse(l.code)
		if err != nil {
			t.Fatal(err)
		}
		failure, _, _ := strings.Cut(l.answer, "/")
		page, err := os.ReadFile(filepath.Join("../../detectors", failure, "page.md"))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(string(guide)+string(page)), " ")
		for _, words := range l.guide {
			if !strings.Contains(text, words) {
				t.Errorf("%s: neither the guide nor the page of %s says %q", l.code, failure, words)
			}
		}
		if e := c.Spec.Expect[0]; l.answer != e.Failure+"/"+e.Cause {
			t.Errorf("%s is %s/%s", l.code, e.Failure, e.Cause)
		}
		if !slices.Contains(v1alpha1.Refusals(), string(l.reason)) {
			t.Errorf("%s: %s", l.code, l.reason)
		}
	}
}

// pupil types at a terminal, as the learner of docs/labs.md.
type pupil struct {
	*testing.T
	ctx     context.Context
	cluster string
	node    string
}

// newPupil starts a lab on a real cluster, which takes less than a minute where the cluster is up.
func newPupil(t *testing.T, code string) *pupil {
	p := &pupil{T: t, ctx: t.Context(), cluster: cmp.Or(os.Getenv("SICKBAY_CLUSTER"), defaultCluster)}
	began := time.Now()
	if out, rc := p.lab("", "start", code); rc != exitYes {
		t.Fatalf("start: exit code %d\n%s", rc, out)
	}
	t.Cleanup(func() { _ = exec.Command("../../bin/sickbay", "lab", "stop", "--cluster", p.cluster).Run() })
	if took := time.Since(began); took > time.Minute {
		t.Errorf("the start took %s", took)
	}
	out, _ := p.lab("echo node=$NODE", "shell")
	if _, p.node, _ = strings.Cut(strings.TrimSpace(out), "node="); p.node == "" {
		t.Fatalf("which node? %s", out)
	}
	return p
}

func (p *pupil) lab(stdin string, args ...string) (out string, rc int) {
	p.Helper()
	cmd := exec.CommandContext(p.ctx, "../../bin/sickbay", append(append([]string{"lab"}, args...), "--cluster", p.cluster)...)
	cmd.Stdin = strings.NewReader(stdin)
	raw, err := cmd.CombinedOutput()
	exit := (*exec.ExitError)(nil)
	switch {
	case errors.As(err, &exit):
		rc = exit.ExitCode()
	case err != nil:
		p.Fatal(err)
	}
	return string(raw), rc
}

func (p *pupil) types(s script) string {
	p.Helper()
	out := ""
	if s.node != "" {
		out, _ = p.lab(s.node+"\n", "shell", p.node)
	}
	if s.cluster != "" {
		out, _ = p.lab(s.cluster+"\n", "shell")
	}
	return out
}

// until tries again for as long as a symptom or a cure may take.
func (p *pupil) until(what string, bound time.Duration, try func() (string, bool)) string {
	p.Helper()
	for end := time.Now().Add(bound); ; time.Sleep(5 * time.Second) {
		out, ok := try()
		if ok {
			return out
		}
		if time.Now().After(end) {
			p.Fatalf("not %s within %s:\n%s", what, bound, out)
		}
	}
}

func needsLabCluster(t *testing.T) {
	t.Helper()
	if os.Getenv("SICKBAY_E2E") == "" {
		t.Skip("SICKBAY_E2E is not set: this test makes nodes of a real cluster ill")
	}
}

// TestScriptedLearner solves six labs on a real cluster, with what the guide says, and without a hint.
//
//	make build && SICKBAY_E2E=1 SICKBAY_CLUSTER=name go test ./cmd/sickbay -run TestScriptedLearner -v -count 1 -timeout 1h
func TestScriptedLearner(t *testing.T) {
	needsLabCluster(t)
	for _, l := range lessons {
		t.Run(l.code, func(t *testing.T) {
			p := newPupil(t, l.code)
			sees := regexp.MustCompile(l.sees)
			p.until("to be seen", 5*time.Minute, func() (string, bool) {
				out := p.types(l.look)
				return out, sees.MatchString(out)
			})
			if out, rc := p.lab("", "check"); rc != exitNo {
				t.Errorf("solved before anything was done: exit code %d\n%s", rc, out)
			}
			if out, rc := p.lab("", "answer", l.answer); rc != exitYes {
				t.Errorf("answer: exit code %d\n%s", rc, out)
			}
			p.types(l.fix)
			p.until("solved", 8*time.Minute, func() (string, bool) {
				out, rc := p.lab("", "check")
				return out, rc == exitYes
			})
			out, rc := p.lab("", "stop")
			points := regexp.MustCompile(`(?m)^(\d+) points, solved in`).FindStringSubmatch(out)
			if rc != exitYes || points == nil {
				t.Fatalf("stop: exit code %d\n%s", rc, out)
			}
			t.Log(out)
		})
	}
}

// TestScriptedCheater is refused in six labs on a real cluster, each time for what it did.
//
//	make build && SICKBAY_E2E=1 SICKBAY_CLUSTER=name go test ./cmd/sickbay -run TestScriptedCheater -v -count 1 -timeout 1h
func TestScriptedCheater(t *testing.T) {
	needsLabCluster(t)
	for _, l := range lessons {
		t.Run(l.code, func(t *testing.T) {
			p := newPupil(t, l.code)
			p.types(l.cheat)
			p.until("refused as "+string(l.reason), time.Minute, func() (string, bool) {
				out, rc := p.lab("", "check")
				if rc != exitNo {
					t.Fatalf("exit code %d\n%s", rc, out)
				}
				return out, strings.Contains(out, fmt.Sprintf("%s:", l.reason))
			})
			p.types(l.tidy)
			if l.code != "L07" {
				return
			}
			// Who undoes the fault with sickbay's own means has no lab any more.
			if raw, err := exec.CommandContext(p.ctx, "../../bin/sickbay", "recover", "--cluster", p.cluster).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, raw)
			}
			if out, rc := p.lab("", "check"); rc != exitUsage || !strings.Contains(out, "was undone") {
				t.Errorf("after recover: exit code %d\n%s", rc, out)
			}
		})
	}
}
