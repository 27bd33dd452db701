package redact

import (
	"regexp"
	"slices"
	"strings"
)

// A pass phrase of letters alone has no shape. What stands before it tells it: the word password in a sentence, a header's name, a tag, a
// flag in a list, the name of a variable beside its value.
var phraseRules = []rule{
	// In quotes it is the phrase, whatever it says; in a sentence the words of errors are none.
	{has("assw", "ASSW", "assph", "ASSPH"), regexp.MustCompile(`(?i)(\bpass(?:word|phrase|wd)(?:\s+(?:to|is|was)\s+|\s*[:=(]\s*|\s+)\\?)(?:"([^"\\]+)|'([^'\\]+))`), "${1}" + Mark, quotedPhrase},
	{has("assw", "ASSW", "assph", "ASSPH"), regexp.MustCompile(`(?i)(\bpass(?:word|phrase|wd)(?:\s+(?:is|was)\s+|:\s+|\s+\())([^\s"'\\,;()]+)`), "${1}" + Mark, sentence},
	{has("DENTIFIED", "dentified"), regexp.MustCompile(`(?i)(\bidentified\s+(?:with\s+\S+\s+)?by\s+(?:password\s+)?)(?:'([^']+)'|"([^"]+)")`), "${1}" + Mark, nil},
	{has("</"), regexp.MustCompile(`<([A-Za-z][\w:.-]*)((?:\s[^<>]*)?>)([^<]+)</`), "<${1}${2}" + Mark + "</", func(m []string) bool { return !Secret(m[1]) }},
	{has("uthorization", "UTHORIZATION"), regexp.MustCompile(`(?i)(\bauthorization["']?\s*[:=]\s*["']?(?:bearer|basic)\s+)([^\s"'\\]+)`), "${1}" + Mark, nil},
	{has("X-", "x-"), regexp.MustCompile(`(?i)(\bx-[a-z0-9-]*)(\s*:\s*)([^\s"'\\,]+)`), "${1}${2}" + Mark, func(m []string) bool { return !Secret(m[1]) || harmless.MatchString(m[3]) }},
	{hasBoth("ame", "alue"), regexp.MustCompile(`(?i)(\bname["']?\s*[:=]\s*["']?)([A-Z0-9_.-]+)(["']?[,\s]+["']?value["']?\s*[:=]\s*["']?)([^\s"'\\,}]+)`), "${1}${2}${3}" + Mark,
		func(m []string) bool { return !Secret(m[2]) || plain(m[4]) }},
	{has(`"-`), regexp.MustCompile(`("--?([A-Za-z0-9_.-]+)"\s*,\s*")([^"]+)`), "${1}" + Mark, func(m []string) bool { return !Secret(m[2]) || strings.HasPrefix(m[3], "-") || plain(m[3]) }},
	{has("AUTH", "equirepass", "asterauth", "ommunity"), regexp.MustCompile(`(?m)^(\s*(?:AUTH|requirepass|masterauth|r[ow]community6?)\s+)(\S+)`), "${1}" + Mark, func(m []string) bool { return errorWords[m[2]] }},
}

func quotedPhrase(m []string) bool { return harmless.MatchString(m[2] + m[3]) }

// sentence keeps what errors say of a password.
func sentence(m []string) bool {
	v := strings.ToLower(strings.TrimRight(m[2], ".:!?"))
	return errorWords[v] || plain(m[2]) || strings.HasPrefix(v, "[redacted") || strings.ContainsAny(m[2], "=/")
}

var errorWords = func() map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(`a access all already also an and any are as at authentication bad be been before blank bound but by can cannot changed connection context could couldn't
		denied dial did disabled do does doesn't eof empty error exec exit expected expired failed failure file for from get has have http if in incorrect input internal invalid is it key
		line locked login longer lookup lost may mismatch missing must needed never new no none not nothing null of old on one only open operation or parse password permission policy
		read rejected remote required reset same server set shorter should stat still that the their there this timeout to too tls token unable unauthorized unchanged unexpected unknown
		unset unspecified unsupported updated used user username value was weak when which will with without wrong x509 yes you your`) {
		out[w] = true
	}
	return out
}()

// betweenCommands is what stands between the commands of a line of a shell.
var betweenCommands = regexp.MustCompile(`\s*(?:\|\||&&|[|;\n])\s*`)

// readsPhrase matches programs that take a pass phrase from their input.
var readsPhrase = regexp.MustCompile(`--pass(?:word|wd)?-stdin|--passphrase-fd|\bsudo\s(?:.*\s)?-\w*S\b|^(?:sudo\s+)?(?:\S*/)?(?:chpasswd|passwd|smbpasswd|kinit|cryptsetup|openconnect)\b`)

// Command is a command line whose words are apart by spaces, of one or several programs.
func Command(line string) string {
	var b strings.Builder
	rest := line
	for rest != "" {
		segment, between, next := rest, "", ""
		if at := betweenCommands.FindStringIndex(rest); at != nil {
			segment, between, next = rest[:at[0]], rest[at[0]:at[1]], rest[at[1]:]
		}
		words := strings.Fields(segment)
		done := Args(words)
		if strings.TrimSpace(between) == "|" && readsPhrase.MatchString(next) {
			printed(done)
		}
		if strings.Join(done, " ") != strings.Join(words, " ") {
			segment = strings.Join(done, " ")
		}
		b.WriteString(segment + between)
		rest = next
	}
	return Text(b.String())
}

// printed marks what echo and printf print.
func printed(words []string) {
	i := slices.IndexFunc(words, func(w string) bool { return runs(w) != "" })
	if i < 0 || runs(words[i]) != "echo" && runs(words[i]) != "printf" {
		return
	}
	for j := i + 1; j < len(words); j++ {
		if !strings.HasPrefix(words[j], "-") && !strings.HasPrefix(strings.Trim(words[j], `"'`), "%") {
			words[j] = Mark
		}
	}
}

// positions are where programs take a pass phrase without a flag of its own, behind these words: the place among the words that are no flags.
var positions = []struct {
	line *regexp.Regexp
	at   int // from the first word behind what matches; -1 the last one
}{
	{regexp.MustCompile(`^htpasswd (?:\S+ )*?-\w*b\w* `), -1},
	{regexp.MustCompile(`^rabbitmqctl (?:-\S+ )*(?:add_user|change_password|authenticate_user) `), 1},
	{regexp.MustCompile(`^vault login `), 0},
	{regexp.MustCompile(`^wpa_passphrase `), 1},
	{regexp.MustCompile(`^nmcli .*?\b(?:password|psk) `), 0},
	{regexp.MustCompile(`^mc (?:alias set|config host add) `), 3},
	{regexp.MustCompile(`^(?:sqlplus|exp|imp|sqlldr) `), 0},
}

// atPosition is the place of the word that is a pass phrase by its position, -1 where there is none.
func atPosition(argv []string) int {
	first := slices.IndexFunc(argv, func(w string) bool { return runs(w) != "" })
	if first < 0 {
		return -1
	}
	line := runs(argv[first]) + " "
	for _, w := range argv[first+1:] {
		line += w + " "
	}
	for _, p := range positions {
		m := p.line.FindString(line)
		if m == "" {
			continue
		}
		from := first + len(strings.Fields(m))
		if p.at < 0 {
			if len(argv)-from < 2 {
				return -1
			}
			return len(argv) - 1
		}
		n := p.at
		for i := from; i < len(argv); i++ {
			if strings.HasPrefix(argv[i], "-") {
				continue
			}
			if n--; n < 0 {
				return i
			}
		}
	}
	return -1
}

// ofProgram takes out what a word holds that only its program reads so.
func ofProgram(program, word string) string {
	for _, g := range glued {
		if g.program.MatchString(program) {
			if m := g.word.FindStringSubmatch(word); m != nil {
				return m[1] + Mark
			}
		}
	}
	return word
}

var glued = []struct{ program, word *regexp.Regexp }{
	{regexp.MustCompile(`^curl$`), regexp.MustCompile(`^(-[A-Za-z]*u)[^:\s]+:.+`)},
	{regexp.MustCompile(`^7z`), regexp.MustCompile(`^(-p).+`)},
	{regexp.MustCompile(`freerdp$`), regexp.MustCompile(`^(/p:).+`)},
	{regexp.MustCompile(`^(curl|wget|http|https)$`), regexp.MustCompile(`(?i)^((?:x-)?[a-z-]*(?:key|token|auth\w*|secret|cookie):).+`)},
	{regexp.MustCompile(`^(kubectl|oc)$`), regexp.MustCompile(`^(--from-literal=[^=]+=).+`)},
	{regexp.MustCompile(`^(kubectl|oc)$`), regexp.MustCompile(`^(--docker-password=).+`)},
}
