package redact

import "strings"

// pairs takes out values beside their names: key=value, "key": "value", key: value on a line of its own, --flag value. A bare
// `token: word` within a line is prose and stays.
func pairs(s string) string {
	var b strings.Builder
	done := 0
	for i := 0; i < len(s); i++ {
		var from, to int
		switch s[i] {
		case '=', ':':
			if from, to = beside(s, i); from == 0 {
				continue
			}
		case ' ':
			if from, to = behindFlag(s, i); from == 0 {
				continue
			}
		default:
			continue
		}
		if from < done || from >= to || strings.HasPrefix(s[from:], Mark) {
			continue
		}
		b.WriteString(s[done:from])
		b.WriteString(Mark)
		done, i = to, to-1
	}
	if done == 0 {
		return s
	}
	return b.String() + s[done:]
}

func isKey(c byte) bool {
	return c == '_' || c == '.' || c == '-' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// beside is where the secret value stands that belongs to the = or : at i, from 0 where there is none.
func beside(s string, i int) (from, to int) {
	end := len(strings.TrimRight(s[:i], " \t\"'\\"))
	begin := end
	for begin > 0 && isKey(s[begin-1]) {
		begin--
	}
	quotedKey := strings.ContainsAny(s[end:i], "\"'") && begin > 0 && strings.ContainsRune("\"'", rune(s[begin-1]))
	if begin == end || !Secret(s[begin:end]) {
		return 0, 0
	}
	from = i + 1
	if strings.HasPrefix(s[i:], "=>") {
		from++
	}
	for from < len(s) && (s[from] == ' ' || s[from] == '\t') {
		from++
	}
	apart := from > i+1
	from, to, quoted := valueAt(s, from)
	v := s[from:to]
	switch {
	case from == to || plain(v):
		return 0, 0
	case quoted || s[i] == '=' || quotedKey:
		return from, to
	case !apart: // host:port, a time, a path
		if inMap(s, begin, end) {
			return from, to
		}
		return 0, 0
	case alone(s, begin, to) || !spoken(v):
		return from, to
	}
	return 0, 0
}

// inMap tells whether what stands from begin to end is a key of Go's printed maps and structures: map[a:b c:d], {A:b C:d}.
func inMap(s string, begin, end int) bool {
	before := s[:begin]
	open := strings.LastIndexAny(before, "[{")
	if open < 0 || strings.HasSuffix(s[begin:end], "Name") || strings.LastIndexAny(before, "]}") > open || before[open] == '[' && !strings.HasSuffix(before[:open], "map") {
		return false
	}
	for _, field := range strings.Fields(before[open+1:]) {
		if !strings.Contains(field, ":") {
			return false
		}
	}
	return true
}

// spoken tells a word of a sentence: "failed to fetch token: unexpected status". Long words with hyphens are pass phrases.
func spoken(v string) bool {
	if len(v) >= 14 && strings.Count(v, "-") >= 2 && !strings.Contains(v, "/") {
		return false
	}
	return len(v) < 6 || !strings.ContainsAny(v, "0123456789!$%^&*_+=~#@") || strings.Contains(v, "://")
}

// valueAt is where the value ends that begins at from. One in quotes, escaped or not, begins and ends within them.
func valueAt(s string, from int) (begin, end int, quoted bool) {
	ends := " \t\n\"'\\,;&)}"
	open := from + len(s[from:]) - len(strings.TrimLeft(s[from:], `\`))
	if quoted = open < len(s) && (s[open] == '"' || s[open] == '\''); quoted {
		from, ends = open+1, `\`+s[open:open+1]
	}
	if n := strings.IndexAny(s[from:], ends); n >= 0 {
		return from, from + n, quoted
	}
	return from, len(s), quoted
}

// alone tells whether a key and its value are all that is on their line, as in YAML and in headers.
func alone(s string, begin, to int) bool {
	before := s[strings.LastIndexByte(s[:begin], '\n')+1 : begin]
	after, _, _ := strings.Cut(s[to:], "\n")
	return strings.Trim(before, " \t-\"'") == "" && strings.Trim(after, " \t\r\"',") == ""
}

// behindFlag is where the secret value stands that follows the flag that ends at i: --password VALUE.
func behindFlag(s string, i int) (from, to int) {
	begin := i
	for begin > 0 && isKey(s[begin-1]) {
		begin--
	}
	if begin == i || s[begin] != '-' || begin > 0 && !strings.ContainsRune(" \t\n\"'", rune(s[begin-1])) || !Secret(strings.TrimLeft(s[begin:i], "-")) {
		return 0, 0
	}
	from = i + len(s[i:]) - len(strings.TrimLeft(s[i:], " \t\"'"))
	if n := strings.IndexAny(s[from:], " \t\n\"'\\"); n >= 0 {
		to = from + n
	} else {
		to = len(s)
	}
	if from == to || s[from] == '-' || plain(s[from:to]) {
		return 0, 0
	}
	return from, to
}

// plain tells that a value beside a secret's name is none: where it lies, a number, an object's namespace and name, a template's hole.
func plain(v string) bool {
	return harmless.MatchString(v) || object.MatchString(v) || strings.HasPrefix(v, "[redacted")
}
