// Package redact takes secrets out of text and command lines before they enter an observation, a report or a bundle.
//
// It knows the shapes secrets have in what kubelet, containerd and their tools print; it knows nothing of where a text
// comes from. It errs towards taking out too much only where that cannot hide a failure's own words: "failed to fetch
// anonymous token: unexpected status" must survive, since a detector reads it.
package redact

import (
	"regexp"
	"strings"
)

// Mark stands where a secret was.
const Mark = "[redacted]"

// rule is one shape of a secret. A regular expression costs about 20 µs on a log line of 500 bytes, a look of 2000 lines
// would spend a quarter of the agent's whole CPU budget on it: hint is a cheap test that must hold first.
type rule struct {
	hint func(string) bool
	re   *regexp.Regexp
	repl string
}

func has(words ...string) func(string) bool {
	return func(s string) bool {
		for _, w := range words {
			if strings.Contains(s, w) {
				return true
			}
		}
		return false
	}
}

func hasBoth(a, b string) func(string) bool {
	return func(s string) bool { return strings.Contains(s, a) && strings.Contains(s, b) }
}

var rules = []rule{
	// A key block, whole, escaped on one line, or cut off before its end.
	{has("PRIVATE KEY"), regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\z)`), Mark},
	// The same, base64 in a kubeconfig: "-----BEGIN" is LS0tLS1CRUdJTi.
	{has("LS0tLS1C"), regexp.MustCompile(`LS0tLS1C[A-Za-z0-9+/=\\\n]{8,}`), Mark},
	{has("earer", "asic ", "EARER"), regexp.MustCompile(`(?i)\b(bearer|basic)(\s+|%20)[A-Za-z0-9._~+/=-]{8,}`), "${1}${2}" + Mark},
	// A JSON Web Token: service account and OIDC tokens.
	{has("eyJ"), regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(\.[A-Za-z0-9_-]*)?`), Mark},
	{hasBoth("://", "@"), regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/\s@"'\\?#]*@`), "${1}" + Mark + "@"},
	// key=value and "key":"value". A bare `token: word` is prose and stays.
	{has("assw", "oken", "ecret", "ASSW", "OKEN", "ECRET"), regexp.MustCompile(
		`(?i)\b([a-z0-9_-]*(?:password|passwd|token|client[_-]?secret|secret[_-]?access[_-]?key))(\s*=\s*\\*["']?)([^\s"'\\,;&)]+)`), "${1}${2}" + Mark},
	{has("assw", "oken", "ecret", "uth", "-data"), regexp.MustCompile(
		`(?i)(\\*"[a-z0-9_-]*(?:password|passwd|token|client[_-]?secret|auth|client-key-data)\\*"\s*:\s*\\*")([^"\\]*)`), "${1}" + Mark},
	{has("client-key-data", "token-data"), regexp.MustCompile(`((?:client-key|token)-data\s*:\s*)(\S+)`), "${1}" + Mark},
	{has("AKIA", "ASIA"), regexp.MustCompile(`\b(?:AKIA|ASIA)[0-9A-Z]{16}\b`), Mark},
	{has("ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_", "glpat-"), regexp.MustCompile(`\b(?:gh[opusr]_|github_pat_|glpat-)[A-Za-z0-9_-]{20,}`), Mark},
	// A kubeadm bootstrap token has no frame of its own, only its shape.
	{has("oken", "ootstrap"), regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b`), Mark},
}

// Text returns s without bearer tokens, key material and passwords, in URLs or beside their names.
func Text(s string) string {
	for _, r := range rules {
		if r.hint(s) {
			s = r.re.ReplaceAllString(s, r.repl)
		}
	}
	return s
}

var secretFlag = regexp.MustCompile(`(?i)(token|password|passwd|secret|credential|private-key|auth)`)

// Args returns a command line without the values of flags whose names speak of secrets. A value that is a path, a number or
// a boolean stays: it says where the secret is, or nothing of it.
func Args(argv []string) []string {
	out := make([]string, len(argv))
	hide := false
	for i, a := range argv {
		switch {
		case hide && !strings.HasPrefix(a, "-"):
			out[i] = keepOrMark(a)
			hide = false
			continue
		case strings.HasPrefix(a, "-"):
			name, value, ok := strings.Cut(a, "=")
			hide = false
			if secretFlag.MatchString(name) {
				if ok {
					out[i] = name + "=" + keepOrMark(value)
				} else {
					out[i] = name
					hide = true
				}
				continue
			}
		}
		out[i] = Text(a)
	}
	return out
}

var harmless = regexp.MustCompile(`^(/[^\s:]*|\.{1,2}/.*|true|false|\d+|\d+[smh]|[A-Z][A-Za-z]*)?$`)

func keepOrMark(value string) string {
	if harmless.MatchString(value) {
		return value
	}
	return Mark
}
