// Package text has the few things that messages for people need everywhere.
package text

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Short is a text on one line, of at most n characters.
func Short(s string, n int) string { return Cut(strings.Join(strings.Fields(s), " "), n) }

// Cut cuts a text to n characters.
func Cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// Tail is the last n lines that are not empty.
func Tail(s string, n int) string {
	var lines []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Bytes is a size, in the unit that leaves two digits or more.
func Bytes(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

// Nearest returns at most n candidates that may have been meant by name, best first: within a third of the name's length
// (at least two) in edits, or containing it.
func Nearest(name string, candidates []string, n int) []string {
	limit, lower := max(2, len(name)/3), strings.ToLower(name)
	score := func(c string) int {
		c = strings.ToLower(c)
		if len(name) >= 3 && strings.Contains(c, lower) {
			return min(limit, distance(lower, c))
		}
		return distance(lower, c)
	}
	near := slices.DeleteFunc(slices.Clone(candidates), func(c string) bool { return score(c) > limit })
	slices.SortStableFunc(near, func(a, b string) int { return cmp.Compare(score(a), score(b)) })
	return near[:min(n, len(near))]
}

// Near is the end of an error about a name that is not known: at most n that may have been meant, or nothing.
func Near(name string, known []string, n int) string {
	near := Nearest(name, known, n)
	if len(near) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(near, " or ") + "?"
}

// DidYouMean is the end of an error about a name that is not known: the nearest of the known ones, else all of them.
func DidYouMean(name string, known []string) string {
	switch near := Nearest(name, known, 1); {
	case len(near) == 1:
		return fmt.Sprintf("; did you mean %q?", near[0])
	case len(known) == 0:
		return "; it has none"
	default:
		return "; it has " + strings.Join(known, ", ")
	}
}

// distance is the edit distance with adjacent transpositions ("optimal string alignment"), the usual slip of fingers.
func distance(a, b string) int {
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}

// Glob is a pattern with * and ? as an expression over a whole text, lines included.
func Glob(pattern string) *regexp.Regexp {
	return regexp.MustCompile(`(?s)^` + strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern)) + `$`)
}

// Plural counts a thing.
func Plural(n int, thing string) string {
	switch {
	case n == 1:
		return "1 " + thing
	case strings.HasSuffix(thing, "ss"):
		thing += "e"
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
