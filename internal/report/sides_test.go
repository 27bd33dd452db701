package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

func TestSidesShowWhatDiffers(t *testing.T) {
	side := func(version int, run, node string, evidence ...string) *v1alpha1.Report {
		r := v1alpha1.ScenarioResult{Scenario: "memory-limit", Run: run, Node: node, Verdict: v1alpha1.VerdictPassed, Expected: []string{"oom-throttle/memory-limit"}}
		for _, e := range evidence {
			source, text, _ := strings.Cut(e, "|")
			r.Findings = append(r.Findings, v1alpha1.Finding{Failure: "oom-throttle", Cause: "memory-limit", Evidence: []v1alpha1.Evidence{{Source: source, Text: text}}},
				v1alpha1.Finding{Failure: "pleg", Cause: "pleg-disk", Evidence: []v1alpha1.Evidence{{Source: source, Text: "of something else, v" + node}}})
		}
		quiet := v1alpha1.ScenarioResult{Scenario: "swap-on", Run: "swap-on-" + run[len(run)-5:], Node: node, Verdict: v1alpha1.VerdictPassed, Expected: []string{"swap/swap-on"}, Signals: []v1alpha1.Signal{{Text: node + " has 64 MiB of swap"}}}
		return &v1alpha1.Report{HostKind: v1alpha1.HostKind{CgroupVersion: version}, Results: []v1alpha1.ScenarioResult{r, quiet, {Scenario: "pleg-disk", Verdict: v1alpha1.VerdictFailed}}}
	}
	left := side(1, "memory-limit-aaaaa", "sickbay-worker4", "api.events|pod shop-78ff657b7d-x8s7j of memory-limit-aaaaa: killed 3 times in 12.5s", "cgroups|/kubelet/pod1: failcnt | 7")
	right := side(2, "memory-limit-bbbbb", "sickbay-worker", "api.events|pod shop-5df7c4d9b6-ab2de of memory-limit-bbbbb: killed 14 times in 2s", "cgroups|memory.events oom_group_kill 4")
	var b bytes.Buffer
	if err := WriteSidesPage(&b, left, right); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{"| cgroup v1 | cgroup v2 |\n", `| cgroups: /kubelet/pod1: failcnt \| 7 | cgroups: memory.events oom_group_kill 4 |` + "\n", "The same on both\n\nswap-on.\n"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	for _, not := range []string{"killed", "something else", "pleg-disk"} {
		if strings.Contains(page, not) {
			t.Errorf("the page has %q:\n%s", not, page)
		}
	}
	// Of a long line what differs is shown, not how it begins.
	long := func(uid, id, pod, end string) string {
		return "kmsg|" + strings.Repeat("so it goes ", 40) + "/kubepods/pod" + uid + "/" + id + " of " + pod + "_x " + end
	}
	b.Reset()
	if err := WriteSidesPage(&b,
		side(1, "memory-limit-aaaaa", "w1", long("c9e98c0d-62c0-4450-93ad-7c2bd2b2d290", strings.Repeat("ab", 32), "shop-78ff657b7d-x8s7j", "failcnt")),
		side(2, "memory-limit-bbbbb", "w2", long("2322873e_634e_4eca_b759_a738fc25d4f8", strings.Repeat("0c", 32), "shop-68b9ccf56b-gnnvt", "oom_group_kill"))); err != nil {
		t.Fatal(err)
	}
	if page := b.String(); !strings.Contains(page, "failcnt |") || !strings.Contains(page, "oom_group_kill |\n") || strings.Contains(page, strings.Repeat("so it goes ", 20)) {
		t.Errorf("a long line that differs at its end:\n%s", page)
	}
	// UIDs, containers and pods' names are no difference.
	b.Reset()
	if err := WriteSidesPage(&b,
		side(1, "memory-limit-aaaaa", "w1", long("c9e98c0d-62c0-4450-93ad-7c2bd2b2d290", strings.Repeat("ab", 32), "shop-78ff657b7d-x8s7j", "kube-proxy-hx5w5")),
		side(2, "memory-limit-bbbbb", "w2", long("2322873e_634e_4eca_b759_a738fc25d4f8", strings.Repeat("0c", 32), "shop-68b9ccf56b-gnnvt", "kube-proxy-wndm7"))); err != nil {
		t.Fatal(err)
	}
	if page := b.String(); !strings.Contains(page, "The same on both\n\nmemory-limit, swap-on.\n") {
		t.Errorf("names are a difference:\n%s", page)
	}
	b.Reset()
	right.Results, left.Results[2].Verdict = right.Results[:1], v1alpha1.VerdictPassed
	another := &v1alpha1.Report{HostKind: right.HostKind, Results: []v1alpha1.ScenarioResult{{Scenario: "pleg-disk", Verdict: v1alpha1.VerdictPassed, Signals: []v1alpha1.Signal{{Text: "stalled"}}}}}
	if err := WriteSidesPage(&b, left, right, another); err != nil || !strings.Contains(b.String(), "## memory-limit") || !strings.Contains(b.String(), "## pleg-disk") {
		t.Errorf("two reports on the right: %v\n%s", err, b.String())
	}
	if WriteSidesPage(&b, left, right, left) == nil {
		t.Error("both kinds of hosts on one side")
	}
	if WriteSidesPage(&b, left, &v1alpha1.Report{}) == nil {
		t.Error("nothing was put side by side")
	}
}
