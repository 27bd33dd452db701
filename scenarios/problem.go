package scenarios

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/token"

	"github.com/sickbay-dev/sickbay/internal/text"
)

// Problem is one thing wrong with a scenario file, with the place and the way out.
type Problem struct {
	File         string
	Line, Column int // 1-based; 0 when the file as a whole is meant
	Message      string
	Nearest      string // the nearest right name, empty when nothing is near
	excerpt      string
}

// String is the problem with its line and a caret, as compilers print it.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	fmt.Fprintf(&b, ": %s", p.Message)
	if p.Nearest != "" {
		fmt.Fprintf(&b, "; did you mean %q?", p.Nearest)
	}
	if p.excerpt != "" {
		gutter := fmt.Sprintf("%5d | ", p.Line)
		fmt.Fprintf(&b, "\n%s%s\n%s^", gutter, p.excerpt, strings.Repeat(" ", len(gutter)+p.Column-1))
	}
	return b.String()
}

// Error is everything wrong with one scenario file.
type Error struct {
	Problems []Problem
}

func (e *Error) Error() string {
	s := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		s[i] = p.String()
	}
	return strings.Join(s, "\n")
}

func (d *document) problem(tk *token.Token, msg, near string) {
	p := Problem{File: d.file, Message: msg, Nearest: near}
	if tk != nil && tk.Position != nil {
		p.Line, p.Column = tk.Position.Line, tk.Position.Column
		if p.Line >= 1 && p.Line <= len(d.lines) {
			// A tab is one column for the parser and up to eight for a terminal: the caret would stand elsewhere.
			p.excerpt = strings.ReplaceAll(strings.TrimRight(d.lines[p.Line-1], "\r"), "\t", " ")
		}
	}
	d.errs = append(d.errs, p)
}

// errorf reports a problem at the value of path, or at the nearest ancestor that is in the file.
func (d *document) errorf(path, format string, args ...any) { d.near(path, "", format, args...) }

func (d *document) near(path, near, format string, args ...any) {
	d.problem(d.token(path), fmt.Sprintf(format, args...), near)
}

func (d *document) token(path string) *token.Token {
	for {
		// The key is the better place for a mapping or list, whose own token is its first colon or dash.
		if n, ok := d.values[path]; ok && n != nil {
			switch kindOf(n) {
			case "a mapping", "a list", "nothing":
				if k, ok := d.keys[path]; ok {
					return k
				}
			}
			return first(n.GetToken(), kindOf(n) == "a mapping")
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return nil
		}
		path = path[:i]
	}
}

// first is the token a mapping begins with: its own is the first colon.
func first(tk *token.Token, mapping bool) *token.Token {
	if mapping && tk != nil && tk.Type == token.MappingValueType && tk.Prev != nil {
		return tk.Prev
	}
	return tk
}

// nearest is the candidate with the smallest edit distance to name, or "" when none is near enough to be meant.
func nearest(name string, candidates []string) string {
	if n := text.Nearest(name, candidates, 1); len(n) == 1 {
		return n[0]
	}
	return ""
}
