package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const top = "../../"

// everyday words have in the glossary the meaning that they have elsewhere.
var everyday = []string{
	"failure", "cause", "symptom", "consequence", "evidence", "certainty", "healthy, ill, unknown", "signal", "report", "agent",
	"inject", "detect", "recover", "clear", "control", "manifest", "mechanism", "timings", "journal", "the guide",
}

var (
	glossed    = regexp.MustCompile(`(?m)\*\*([a-z][a-z ,]*)\*\*`)
	codeBlock  = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	otherTool  = regexp.MustCompile(`node-problem-detector`)
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading    = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	makeTarget = regexp.MustCompile(`\bmake ([a-z][a-z0-9-]+)`)
)

// terms are the words that a newcomer does not know.
func terms(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, m := range glossed.FindAllStringSubmatch(read(t, top+"docs/glossary.md"), -1) {
		if !slices.Contains(everyday, m[1]) {
			out = append(out, m[1])
		}
	}
	if len(out) < 20 {
		t.Fatalf("the glossary has only %q", out)
	}
	return out
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// blank keeps every index of the text where it is.
func blank(s string) string { return strings.Repeat(" ", len(s)) }

// tooEarly are the terms that text uses before one of the patterns, in which %s is the term, is found.
func tooEarly(terms []string, text string, explained ...string) (early []string) {
	for _, word := range terms {
		used := regexp.MustCompile(`(?i)\b` + word + `s?\b`).FindStringIndex(text)
		if used == nil {
			continue
		}
		ok := false
		for _, pattern := range explained {
			at := regexp.MustCompile(strings.ReplaceAll(pattern, "%s", word)).FindStringIndex(text)
			ok = ok || at != nil && at[0] <= used[0]
		}
		if !ok {
			early = append(early, word)
		}
	}
	return early
}

func pages(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob(top + "docs/*.md")
	if err != nil || len(all) < 8 {
		t.Fatal(all, err)
	}
	return append(all, top+"README.md")
}

// A newcomer meets no word of the glossary before it is explained, or the page has linked the glossary.
func TestWordsAreExplainedFirst(t *testing.T) {
	words := terms(t)
	for _, page := range pages(t) {
		text := read(t, page)
		if strings.Contains(text, "do not edit") {
			continue
		}
		text = otherTool.ReplaceAllStringFunc(codeBlock.ReplaceAllStringFunc(text, blank), blank)
		if early := tooEarly(words, text, `\[[^\]]*\]\([^)]*glossary\.md`, `\*\*%s\*\*`, `(?im)^# %ss?\b`); len(early) > 0 {
			t.Errorf("%s uses %q before it explains them or links the glossary", page, early)
		}
	}
	_, help, _ := call(t, &fakeDeps{t: t}, "", "--help")
	if early := tooEarly(words, otherTool.ReplaceAllString(help, ""), `(?m)^ +%s  +\S`); len(early) > 0 {
		t.Errorf("sickbay --help uses %q before it explains them", early)
	}
	if early := tooEarly([]string{"lease"}, "It has a lease. See [the glossary](glossary.md).", `\[[^\]]*\]\([^)]*glossary\.md`); len(early) != 1 {
		t.Error("a word before the link is not noticed")
	}
}

// Links lead to files and headings that exist.
func TestLinks(t *testing.T) {
	results, _ := filepath.Glob(top + "docs/results/*.md")
	for _, page := range slices.Concat(pages(t), results, []string{top + "CONTRIBUTING.md"}) {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s leads nowhere", page, m[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(read(t, target)), anchor) {
				t.Errorf("%s: %s has no heading for #%s", page, target, anchor)
			}
		}
	}
}

// anchors are GitHub's names of a page's headings.
func anchors(page string) (out []string) {
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', r >= '0' && r <= '9', r >= 'a' && r <= 'z':
				return r
			}
			return -1
		}, strings.ToLower(m[1]))
		out = append(out, name)
	}
	return out
}

// Whatever a page tells the reader to make is a target. Commands of sickbay are checked in cmd/sickbay.
func TestMakeTargets(t *testing.T) {
	makefile := read(t, top+"Makefile")
	seen := 0
	for _, page := range append(pages(t), top+"CONTRIBUTING.md") {
		for _, code := range codeBlock.FindAllString(read(t, page), -1) {
			for _, m := range makeTarget.FindAllStringSubmatch(code, -1) {
				seen++
				if !strings.Contains(makefile, "\n"+m[1]+":") {
					t.Errorf("%s: there is no make %s", page, m[1])
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d targets were found: the test looks past them", seen)
	}
}
