package docs

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/failures"
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
			if strings.Count(page, "\n### "+c.Name+"\n") != 1 {
				t.Errorf("%s.md has no section ### %s", f.Name, c.Name)
			}
		}
		if n := strings.Count(page, "\n### "); n != len(f.Causes) {
			t.Errorf("%s.md explains %d causes, the vocabulary has %d", f.Name, n, len(f.Causes))
		}
		for _, h := range []string{"\n## What you see\n", "\n## Look\n", "\n## Causes\n", "\n## Cleared when\n"} {
			if !strings.Contains(page, h) {
				t.Errorf("%s.md lacks %q", f.Name, strings.TrimSpace(h))
			}
		}
	}
}
