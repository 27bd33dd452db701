package docs

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/failures"
)

func TestEveryFailureAndCauseIsExplained(t *testing.T) {
	pages, err := fs.Glob(Failures, "failures/*.md")
	if err != nil || len(pages) != len(failures.All()) {
		t.Errorf("%d pages for %d failures, %v", len(pages), len(failures.All()), err)
	}
	for _, f := range failures.All() {
		b, err := fs.ReadFile(Failures, "failures/"+f.Name+".md")
		if err != nil {
			t.Error(err)
			continue
		}
		page := string(b)
		if !strings.HasPrefix(page, "# "+f.Name+": "+f.Title+"\n") {
			t.Errorf("%s.md does not begin with its name and title", f.Name)
		}
		for _, c := range f.Causes {
			_, section, found := strings.Cut(page, "\n### "+c.Name+"\n")
			if section, _, _ = strings.Cut(section, "\n##"); !found || !strings.Contains(section, "\nTells: ") || !strings.Contains(section, "\nFix: ") {
				t.Errorf("%s.md has no section ### %s that says what tells it and what fixes it", f.Name, c.Name)
			}
			if Look(f.Name, c.Name) == "" {
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

// The field pages name failures and causes by their public names: a symptom leads on to `sickbay explain`.
func TestSymptomsLeadToFailures(t *testing.T) {
	b, err := fs.ReadFile(Field, "field/symptoms.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(b), "\n## ")[1:]
	if len(sections) < 7 {
		t.Errorf("%d symptoms; section 5 of the seed has seven", len(sections))
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
