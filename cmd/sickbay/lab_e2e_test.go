package main

import (
	"cmp"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// labCluster is the real cluster of the tests that make a node of it ill, by SICKBAY_CLUSTER.
func labCluster(t *testing.T) (*cluster.Cluster, string) {
	t.Helper()
	needsLabCluster(t)
	name := cmp.Or(os.Getenv("SICKBAY_CLUSTER"), defaultCluster)
	e, err := engine.Ensure(t.Context(), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Find(t.Context(), e, name)
	if err != nil {
		t.Fatal(err)
	}
	return c, name
}

// TestLabSecrecy starts a lab on a real cluster and looks wherever a learner may look, the symptoms themselves aside: nothing names the
// scenario or a mechanism.
//
//	make build && SICKBAY_E2E=1 SICKBAY_CLUSTER=name go test ./cmd/sickbay -run TestLabSecrecy -v -count 1
func TestLabSecrecy(t *testing.T) {
	ctx, bin := t.Context(), "../../bin/sickbay"
	c, name := labCluster(t)
	for _, code := range []string{"L07", "L04", "L15", "L05"} {
		t.Run(code, func(t *testing.T) {
			course, err := scenarios.FindCourse(code)
			if err != nil {
				t.Fatal(err)
			}
			run := func(args ...string) string {
				out, err := exec.CommandContext(ctx, bin, args...).CombinedOutput()
				if err != nil {
					t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
				}
				return string(out)
			}
			defer func() { _ = exec.Command(bin, "lab", "stop", "--cluster", name).Run() }()
			seen := map[string]string{"what lab start prints": run("lab", "start", code, "--cluster", name)}
			seen["completion"] = run("__complete", "lab", "start", "")
			host := func(argv ...string) string {
				out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
				if err != nil {
					t.Fatalf("%s: %v", strings.Join(argv, " "), err)
				}
				return string(out)
			}
			seen["processes of this machine"] = host("ps", "-eo", "args")
			kubeconfig, err := c.Kubeconfig()
			if err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(kubeconfig)
			if err != nil {
				t.Fatal(err)
			}
			seen["kubeconfig"] = string(raw)
			for _, n := range c.Nodes() {
				for what, script := range map[string]string{
					"files":     "find /var/lib/sickbay /etc /run/systemd /tmp /sys/fs/cgroup -maxdepth 6 2>/dev/null; grep -raoh . /var/lib/sickbay/journal/*/record.json /var/lib/sickbay/leases 2>/dev/null | head -c 100000",
					"audit log": "cat /var/log/kubernetes/audit/*.log 2>/dev/null",
					"journal":   "journalctl --no-pager -n 400 -u 'sickbay-*'",
					"timers":    "systemctl list-timers --all --no-pager; systemctl list-units --all --no-pager 'sickbay*'",
					"processes": "ps -eo args | grep -v 'ps -eo'; cat /proc/1/environ | tr '\\0' '\\n'",
				} {
					out, err := c.Node(n.Name).Run(ctx, node.Sh(script+"; true"))
					if err != nil {
						t.Fatal(err)
					}
					seen[what+" of "+n.Name] = string(out)
				}
			}
			objects, err := c.Node(controlPlane(c)).Run(ctx, node.Sh("KUBECONFIG=/etc/kubernetes/admin.conf kubectl get ns,nodes,pods,deploy,ds,cm,pv,csidrivers,runtimeclasses -A -o json | jq 'del(.items[].metadata.managedFields)'"))
			if err != nil {
				t.Fatal(err)
			}
			seen["API objects"] = string(objects)
			words := []string{course.Metadata.Name}
			for _, a := range append(slices.Clone(course.Spec.Prepare), course.Spec.Inject...) {
				if a.Rollout() == nil {
					words = append(words, a.Mechanism)
				}
			}
			for where, text := range seen {
				for _, w := range words {
					if at := whole(w).FindStringIndex(text); at != nil {
						t.Errorf("%q stands in %s: %s", w, where, text[max(0, at[0]-80):min(len(text), at[1]+80)])
					}
				}
			}
		})
	}
}

// whole finds a word that is not part of a longer one: the cluster's own cni-configuration tells nothing of cni-config.
func whole(word string) *regexp.Regexp {
	return regexp.MustCompile(`(?:^|[^a-zA-Z0-9])` + regexp.QuoteMeta(word) + `(?:$|[^a-zA-Z0-9])`)
}

func TestWhole(t *testing.T) {
	for text, want := range map[string]bool{"cni-config": true, "run/cni-config-p1.json": true, `"cni-config"`: true, "cni-configuration": false, "sickbay-cni-config.service": true} {
		if whole("cni-config").MatchString(text) != want {
			t.Errorf("%q: %t", text, !want)
		}
	}
}
