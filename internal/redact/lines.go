package redact

import (
	"regexp"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

var (
	keyBegins = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----`)
	keyEnds   = regexp.MustCompile(`-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----`)
	// opens is the end of a line whose secret stands on the next one.
	opens = regexp.MustCompile(`([A-Za-z0-9_.-]+)(?:\\*["'])?\s*[=:]\s*[|>]?[-+]?\s*\\?$`)
	// A variable's name and its value, in YAML.
	nameLine  = regexp.MustCompile(`^[\s-]*name:\s*["']?([A-Za-z0-9_.-]+)["']?\s*$`)
	valueLine = regexp.MustCompile(`^(\s*value:\s*["']?)([^\s"']+)`)
	body      = regexp.MustCompile(`^\s*[A-Za-z0-9+/=]{1,128}\s*$`)
)

// maxKeyLines of a key: 16384 bits of RSA have 200.
const maxKeyLines = 300

// Lines takes out what is spread over consecutive lines of one process, as journald keeps what is printed in several lines: a key
// between its BEGIN and END, also where either is missing, and a value on the line after its name. The lines are changed in place.
func Lines(lines []v1alpha1.LogLine) {
	type process struct {
		source string
		pid    int
	}
	of := map[process]*spread{}
	for i := range lines {
		p := process{lines[i].Source, lines[i].PID}
		if of[p] == nil {
			of[p] = &spread{}
		}
		of[p].line(lines, i)
	}
}

// spread is what is known of a process's lines so far.
type spread struct {
	inKey int   // lines since BEGIN
	next  bool  // the next line is a value
	named bool  // the next line may be "value: …" of a secret's name
	past  []int // lines so far that may be a key's, in a row
}

func (s *spread) line(lines []v1alpha1.LogLine, i int) {
	l := &lines[i]
	text := l.Text
	switch {
	case s.inKey > 0 && s.inKey < maxKeyLines:
		s.inKey++
		l.Text = Mark
		if at := keyEnds.FindStringIndex(text); at != nil {
			s.inKey = 0
			l.Text += Text(text[at[1]:])
		}
		return
	case s.next && strings.TrimSpace(text) != "":
		s.next = false
		if !harmless.MatchString(strings.Trim(text, " \t\"',")) {
			l.Text = Mark
			return
		}
	}
	if s.value(l) {
		return
	}
	switch begin := keyBegin(text); {
	case begin > 0 && !keyEnds.MatchString(text[begin:]):
		s.inKey = 1
	case begin == 0 && strings.Contains(text, "PRIVATE KEY") && keyEnds.MatchString(text):
		for _, j := range s.past { // its BEGIN is older than what was read
			lines[j].Text = Mark
		}
		l.Text = Mark
	}
	// What a rule for one line left of a key counts as such, too.
	if len(text) <= 160 && body.MatchString(text) || text == Mark {
		s.past = append(s.past, i)
	} else {
		s.past = nil
	}
	s.next = false
	if end := strings.TrimRight(text, " \t|>+-\\"); strings.HasSuffix(end, ":") || strings.HasSuffix(end, "=") {
		m := opens.FindStringSubmatch(text[max(0, len(end)-100):])
		s.next = m != nil && Secret(m[1])
	}
	l.Text = Text(l.Text)
}

// value takes out the value of the variable that the line before named, and remembers a name.
func (s *spread) value(l *v1alpha1.LogLine) bool {
	if m := valueLine.FindStringSubmatch(l.Text); s.named && m != nil && !plain(m[2]) {
		l.Text, s.named = m[1]+Mark, false
		return true
	}
	m := nameLine.FindStringSubmatch(l.Text)
	s.named = m != nil && Secret(m[1])
	return false
}

// keyBegin is where a key's BEGIN ends, 0 where there is none.
func keyBegin(text string) int {
	if !strings.Contains(text, "PRIVATE KEY") {
		return 0
	}
	if at := keyBegins.FindStringIndex(text); at != nil {
		return at[1]
	}
	return 0
}
