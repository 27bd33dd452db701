package all_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/remedy"
)

var update = flag.Bool("update", false, "write the table of docs/remedies.md")

// ofRun is what a recording calls things.
var ofRun = regexp.MustCompile(` as \S+ now| sickbay-\S+`)

// The table of docs/remedies.md is what --fix --yes does, and does not, about the findings of the recordings on a node that sickbay
// did not make.
func TestRemediesPage(t *testing.T) {
	const page, marker = "../../docs/remedies.md", "| failure | "
	dirs, err := filepath.Glob("testdata/recorded*/*")
	if err != nil {
		t.Fatal(err)
	}
	type row struct{ does, leaves []string }
	rows := map[string]*row{}
	add := func(list *[]string, text string) {
		if !slices.Contains(*list, text) {
			*list = append(*list, text)
		}
	}
	for _, dir := range dirs {
		for _, f := range all.Judge(recorded(t, dir)) {
			r := rows[f.Failure]
			if r == nil {
				r = &row{}
				rows[f.Failure] = r
			}
			plan := remedy.NewPlan([]v1alpha1.Finding{f}, remedy.Consent{})
			if len(plan.Remedies) == 0 {
				add(&r.leaves, f.Cause+": no remedy")
				continue
			}
			p := plan.Remedies[0]
			if p.Refused == "" {
				add(&r.does, fmt.Sprintf("%s: %s (%s)", f.Cause, p.Remedy.Name, p.Remedy.Class()))
				continue
			}
			for _, s := range p.Remedy.Steps {
				if s.Class == v1alpha1.Destructive {
					risk := ofRun.ReplaceAllString(s.Risk, "")
					add(&r.leaves, fmt.Sprintf("%s: %s (%s)", f.Cause, p.Remedy.Name, risk))
					break
				}
			}
		}
	}
	var b strings.Builder
	b.WriteString(marker + "`--fix --yes` does | it leaves to a person, or to `--allow` |\n|---|---|---|\n")
	for _, f := range failures.All() {
		r := rows[f.Name]
		if r == nil && f.Draft() {
			continue
		}
		if r == nil {
			t.Errorf("%s has no recording", f.Name)
			continue
		}
		slices.Sort(r.does)
		slices.Sort(r.leaves)
		cell := func(l []string) string {
			if len(l) == 0 {
				return "–"
			}
			return strings.Join(l, "<br>")
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", f.Name, cell(r.does), cell(r.leaves))
	}
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, table, _ := strings.Cut(string(raw), marker)
	if *update {
		if err := os.WriteFile(page, []byte(head+b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if marker+table != b.String() {
		t.Errorf("%s is not up to date: go test ./detectors/all -run TestRemediesPage -update", page)
	}
}
