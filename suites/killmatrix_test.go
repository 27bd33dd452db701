package suites

import (
	"strings"
	"testing"
)

func TestKillMatrixShowsWhatWasNotRun(t *testing.T) {
	results := map[Strike]StrikeResult{}
	for _, r := range []StrikeResult{
		{Strike: Strike{"a", Point(Baseline), Wait}, Verdict: Passed, Healed: 3.4},
		{Strike: Strike{"a", MidInject, Wait}, Verdict: Failed, Reason: "left on the host: a swap file"},
		{Strike: Strike{"a", Point(Clear), Recover}, Verdict: Unknown, Reason: "the run ended before clear"},
		{Strike: Strike{"b", Point(Baseline), Wait}, Verdict: Unsupported},
		{Strike: Strike{"b", Point(Inject), Recover}, Verdict: Passed, Healed: 12.2, Silent: 7},
	} {
		results[r.Strike] = r
	}
	var b strings.Builder
	WriteKillMatrix(&b, []string{"a", "b"}, results)
	for _, want := range []string{
		"| scenario | baseline | inject | mid-inject | manifest | detect | remediate | mid-remediate | clear | residue |\n",
		"| a | 3 | · | ✗ | · | · | · | · | · | · |\n",
		"| b | – | · | · | · | · | · | · | · | · |\n",
		"| a | · | · | · | · | · | · | · | ? | · |\n",
		"Of 18 cells 1 passed, 1 failed, 0 ended before their point, 1 are unsupported on this host, 15 were not run.",
		"| b | · | 12+7 | · | · | · | · | · | · | · |\n",
		"Of 18 cells 1 passed, 0 failed, 1 ended before their point, 0 are unsupported on this host, 16 were not run.",
		"- `a/mid-inject/wait` (failed): left on the host: a swap file\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page lacks %q:\n%s", want, b.String())
		}
	}
}
