package docs

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/detectors"
)

// Look is the first command of a cause's section "Look", or of its failure's: how to see the same without sickbay. Where one is marked as
// the container runtime's own, by a comment of its name alone, it is that one.
func Look(failure, cause, runtime string) string {
	text, err := detectors.Page(failure)
	if err != nil {
		return ""
	}
	if _, section, ok := strings.Cut(text, "\n### "+cause+"\n"); ok {
		section, _, _ = strings.Cut(section, "\n##")
		if look := firstCommand(section, runtime); look != "" {
			return look
		}
	}
	_, look, _ := strings.Cut(text, "\n## Look\n")
	return firstCommand(look, runtime)
}

func firstCommand(text, runtime string) (first string) {
	_, commands, _ := strings.Cut(text, "```console\n")
	commands, _, _ = strings.Cut(commands, "```")
	for line := range strings.Lines(commands) {
		command, comment, _ := strings.Cut(line, "  #")
		if command = strings.TrimSpace(command); runtime != "" && strings.EqualFold(strings.TrimSpace(comment), runtime) {
			return command
		}
		first = cmp.Or(first, command)
	}
	return first
}

// Chapter is a chapter of the guide by its name, such as symptoms, playbook or checklist.
func Chapter(name string) (text string, ok bool) {
	for _, chapter := range strings.Split(guide, "\n## ")[1:] {
		heading, _, _ := strings.Cut(chapter, "\n")
		if _, title, _ := strings.Cut(heading, " "); strings.EqualFold(title, name) {
			return "## " + chapter, true
		}
	}
	return "", false
}

// Symptom is the section of the guide's chapter on symptoms whose heading is or contains the words, and its name.
func Symptom(asked string) (name, text string, ok bool) {
	chapter, _ := Chapter("symptoms")
	if words(asked) == "" {
		return "", "", false
	}
	for _, section := range strings.Split(chapter, "\n### ")[1:] {
		heading, _, _ := strings.Cut(section, "\n")
		if _, name, _ = strings.Cut(heading, " "); has(words(name), words(asked)) {
			return name, "### " + section, true
		}
	}
	return "", "", false
}

// Hit is a failure, or one cause of it, to which a text leads.
type Hit struct {
	Failure, Cause string // Cause is empty where the text does not tell
	// Signal is what of the page was found.
	Signal string
	// Length is how much of the text was found, in characters; 0 means that its words stand somewhere on the page.
	Length int
}

// signal is a quoted word or line of a page, in which "…" stands for anything, or one of the names under "Also called".
type signal struct {
	failure, cause, text string
	pieces               []string
}

type failurePage struct{ name, words string }

// index reads the pages once: all signals of "What you see", of each cause's "Tells" and of "Also called", and all words.
var index = sync.OnceValues(func() (signals []signal, pages []failurePage) {
	for _, f := range failures.All() {
		failure := f.Name
		page, err := detectors.Page(failure)
		if err != nil {
			continue
		}
		pages = append(pages, failurePage{failure, words(page)})
		section, cause := "", ""
		for line := range strings.Lines(page) {
			line = strings.TrimSpace(line)
			if h, ok := strings.CutPrefix(line, "### "); ok {
				cause = h
				continue
			}
			if h, ok := strings.CutPrefix(line, "## "); ok {
				section, cause = h, ""
				continue
			}
			var texts []string
			switch {
			case section == "Also called":
				texts = strings.Split(strings.TrimSuffix(line, "."), ", ")
			case section == "What you see", strings.HasPrefix(line, "Tells:"):
				texts = quoted(line)
			}
			for _, t := range texts {
				s := signal{failure: failure, cause: cause, text: t}
				for piece := range strings.SplitSeq(t, "…") {
					if w := words(piece); w != "" {
						s.pieces = append(s.pieces, w)
					}
				}
				if len(s.pieces) > 0 {
					signals = append(signals, s)
				}
			}
		}
	}
	return signals, pages
})

// quoted are what stands between double quotes or backquotes.
func quoted(line string) []string {
	var out []string
	for _, q := range []string{`"`, "`"} {
		parts := strings.Split(line, q)
		for i := 1; i < len(parts); i += 2 {
			out = append(out, parts[i])
		}
	}
	return out
}

// words are a text's letters and digits, in lower case, one space between words.
func words(text string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }), " ")
}

// several causes of one failure say the same.
const several = "…"

// Search finds the failures that a log line, an event or a keyword leads to, best first and each failure once: those with a
// signal that the text holds or is part of, the longest first, else those whose page has all its words.
func Search(text string) []Hit {
	asked := words(text)
	if len([]rune(asked)) < 2 {
		return nil
	}
	signals, pages := index()
	best := map[string]Hit{}
	for _, s := range signals {
		n := s.match(asked)
		b := best[s.failure]
		switch {
		case n == 0 || n < b.Length:
			continue
		case n > b.Length:
			b = Hit{s.failure, s.cause, s.text, n}
		case b.Cause == "":
			b.Cause = s.cause
		case s.cause != "" && s.cause != b.Cause:
			b.Cause = several
		}
		best[s.failure] = b
	}
	var out []Hit
	for _, h := range best {
		if h.Cause == several {
			h.Cause = ""
		}
		out = append(out, h)
	}
	if len(out) == 0 {
		for _, p := range pages {
			if !slices.ContainsFunc(strings.Fields(asked), func(w string) bool { return !has(p.words, w) }) {
				out = append(out, Hit{Failure: p.name})
			}
		}
	}
	slices.SortFunc(out, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(b.Length, a.Length), cmp.Compare(a.Failure, b.Failure))
	})
	return out
}

// match is how many characters of the text are the signal's: all its pieces in their order, or the text as a part of one. The
// signal itself counts one more, so that it outranks longer ones that hold it.
func (s signal) match(asked string) int {
	if strings.Join(s.pieces, " ") == asked {
		return len([]rune(asked)) + 1
	}
	if slices.ContainsFunc(s.pieces, func(p string) bool { return has(p, asked) }) {
		return len([]rune(asked))
	}
	n, rest := 0, asked
	for _, p := range s.pieces {
		i := strings.Index(" "+rest+" ", " "+p+" ")
		if i < 0 {
			return 0
		}
		rest = rest[min(len(rest), i+len(p)):]
		n += len([]rune(p))
	}
	if n < telling {
		return 0
	}
	return n
}

// telling: a shorter signal ("Failed", "x509") inside a longer text says nothing.
const telling = 8

func has(text, part string) bool { return strings.Contains(" "+text+" ", " "+part+" ") }
