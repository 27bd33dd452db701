package docs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/detectors"
)

func TestEveryFailureAndCauseIsExplained(t *testing.T) {
	for _, f := range failures.All() {
		page, err := detectors.Page(f.Name)
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.HasPrefix(page, "# "+f.Name+": "+f.Title+"\n") {
			t.Errorf("%s.md does not begin with its name and title", f.Name)
		}
		for _, c := range f.Causes {
			_, section, found := strings.Cut(page, "\n### "+c.Name+"\n")
			if section, _, _ = strings.Cut(section, "\n##"); !found || !strings.Contains(section, "\nTells: ") || !strings.Contains(section, "\nFix: ") {
				t.Errorf("%s.md has no section ### %s that says what tells it and what fixes it", f.Name, c.Name)
			}
			if Look(f.Name, c.Name, "containerd") == "" {
				t.Errorf("%s.md has no command to see %s by hand", f.Name, c.Name)
			}
		}
		if n := strings.Count(page, "\n### "); n != len(f.Causes) {
			t.Errorf("%s.md explains %d causes, the vocabulary has %d", f.Name, n, len(f.Causes))
		}
		for _, h := range []string{"\n## What you see\n", "\n## First\n", "\n## Look\n", "\n## Causes\n", "\n## Cleared when\n", "\n## Also called\n"} {
			if !strings.Contains(page, h) {
				t.Errorf("%s.md lacks %q", f.Name, strings.TrimSpace(h))
			}
		}
	}
}

// Symptoms name failures by their public names: a symptom leads to `sickbay explain`.
func TestSymptomsLeadToFailures(t *testing.T) {
	chapter, _ := Chapter("symptoms")
	sections := strings.Split(chapter, "\n### ")[1:]
	if len(sections) < 8 {
		t.Errorf("%d symptoms", len(sections))
	}
	for _, s := range sections {
		name, _, _ := strings.Cut(s, "\n")
		_, likely, _ := strings.Cut(s, "\nLikely:")
		likely, first, _ := strings.Cut(likely, "\nFirst:")
		named := false
		for _, f := range failures.All() {
			named = named || strings.Contains(likely, f.Name)
		}
		if !named || !strings.Contains(first, "```console\n") {
			t.Errorf("%s names no failure as likely, or no first command", name)
		}
	}
}

// Section 4 of the guide has one entry for each failure, with its number and a link to its page; section 11 one for each compound.
func TestGuideHasEveryFailure(t *testing.T) {
	for _, f := range failures.All() {
		if f.Draft() {
			continue
		}
		_, section, found := strings.Cut(guide, fmt.Sprintf("\n### 4.%d ", f.Number))
		if section, _, _ = strings.Cut(section, "\n##"); !found || !strings.Contains(section, "["+f.Name+"](") {
			t.Errorf("the guide has no section 4.%d that links to %s", f.Number, f.Name)
		}
	}
	for _, c := range failures.Compounds() {
		_, section, found := strings.Cut(guide, "\n### "+c.Section+" ")
		if section, _, _ = strings.Cut(section, "\n##"); !found || !strings.Contains(section, "`"+c.Name+"`") {
			t.Errorf("the guide has no section %s that names scenario %s", c.Section, c.Name)
		}
	}
}
