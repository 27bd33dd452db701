package docs

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	fenced   = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	linked   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headings = regexp.MustCompile(`(?m)^#+ (.+)$`)
)

// pages are all of the repository's pages by their path, without what stands in fences.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "-C", "..", "ls-files", "*.md").Output()
	if err != nil {
		t.Skipf("needs git: %v", err)
	}
	all := map[string]string{}
	for name := range strings.FieldsSeq(string(out)) {
		text, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = fenced.ReplaceAllString(string(text), "")
	}
	return all
}

// anchor is what GitHub makes of a heading.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

func TestLinks(t *testing.T) {
	all := pages(t)
	anchors := map[string]bool{}
	for name, text := range all {
		for _, h := range headings.FindAllStringSubmatch(text, -1) {
			anchors[name+"#"+anchor(h[1])] = true
		}
	}
	n := 0
	for name, text := range all {
		for _, m := range linked.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], ":") {
				continue
			}
			n++
			file, part, _ := strings.Cut(m[1], "#")
			to := name
			if file != "" {
				to = path.Join(path.Dir(name), file)
			}
			if _, err := os.Stat(filepath.Join("..", to)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			} else if part != "" && all[to] != "" && !anchors[to+"#"+part] {
				t.Errorf("%s links to %s, which has no such heading", name, m[1])
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d links were found", n)
	}
}

// The documentation's list has each page once.
func TestListOfPages(t *testing.T) {
	all := pages(t)
	for name := range all {
		base, found := strings.CutPrefix(name, "docs/")
		if !found || strings.Contains(base, "/") || base == "README.md" {
			continue
		}
		if n := strings.Count(all["docs/README.md"], "]("+base+")"); n != 1 {
			t.Errorf("docs/README.md names %s %d times", base, n)
		}
	}
}
