// Package redact takes secrets out of text, command lines and API objects before they enter an observation, a report or a bundle.
//
// It knows the shapes secrets have in what kubelet, containerd and their tools print, the names they stand beside, and which fields of
// an API object may be kept. It errs towards taking out too much only where that cannot hide a failure's own words: "failed to fetch
// anonymous token: unexpected status" must survive, since a detector reads it.
package redact

import (
	"cmp"
	"regexp"
	"slices"
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
	keep func(match []string) bool // nil: every match is a secret
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

// secretName matches a name whose value is a secret: of a field, a variable, a flag, a header.
const secretName = `passw|passphrase|pwd|token|secret|credential|cookie|signature|bearer|api[_.-]?key|connection[_.-]?string|` +
	`[a-z0-9][_.-]key(?:[_.-]?data)?\b|(?:access|account|private|client|encryption|signing|shared|master|storage|service|host|unseal)key|` +
	`(?:^|[^a-z0-9])(?:pass|pw|psk|sig|auth|dsn|salt|otp|community)(?:$|[^a-z0-9])|(?:require|store|key|master)(?:pass|auth)\b|(?:_|db|my|user|root|admin|smtp|mail|http|redis)(?:pass|pw)\b`

// stems are parts of such names: looking for them is cheap.
var stems = has("assw", "ASSW", "assph", "ASSPH", "psk", "PSK", "ommunity", "wd", "WD", "oken", "OKEN", "ecret", "ECRET", "redential", "REDENTIAL", "ookie", "OOKIE", "ignature", "earer",
	"ey", "EY", "ass", "ASS", "pw", "PW", "sig", "SIG", "auth", "AUTH", "Auth", "dsn", "DSN", "salt", "SALT", "otp", "OTP", "onnection")

var rules = []rule{
	// A key block, whole, escaped on one line, or cut off before its end.
	{has("PRIVATE KEY"), regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)`), Mark, nil},
	// The same, base64 in a kubeconfig: "-----BEGIN" is LS0tLS1CRUdJTi.
	{has("LS0tLS1C"), regexp.MustCompile(`LS0tLS1C[A-Za-z0-9+/=\\\n]{8,}`), Mark, nil},
	{has("igest "), regexp.MustCompile(`(?i)(\bdigest\s+)[a-z]+=.*`), "${1}" + Mark, nil},
	{has("earer", "asic ", "EARER", "BASIC", "asic%", "igest ", "egotiate ", "AWS4-"), regexp.MustCompile(
		`(?i)\b(bearer|basic|digest|negotiate|aws4-hmac-sha256)((?:\s+|%20)(?:credential=)?)([A-Za-z0-9._~+/=-]{8,}[^"'\n\\]*)`), "${1}${2}" + Mark, prose},
	{has("machine "), regexp.MustCompile(`(\bmachine\s.*\bpassword\s+)(\S+)`), "${1}" + Mark, nil}, // .netrc
	{has("uthorization", "UTHORIZATION"), regexp.MustCompile(`(?i)\b((?:proxy-)?authorization["']?\s*[:=]\s*["']?(?:token|apikey|key|ntlm|hmac|splunk)\s+)([^\s"'\\]+)`), "${1}" + Mark, nil},
	{has("ookie", "OOKIE"), regexp.MustCompile(`(?i)\b((?:set-)?cookie["']?\s*[:=]\s*["']?)([^\s"'\\=]+=[^"'\n\\]+)`), "${1}" + Mark, nil},
	// A JSON Web Token: service account and OIDC tokens.
	{has("eyJ"), regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(\.[A-Za-z0-9_-]*)*`), Mark, nil},
	{hasBoth("://", "@"), regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/\s@"'\\?#]*@`), "${1}" + Mark + "@", nil},
	// The same without a scheme: a proxy, an image. An image's tag before its digest is none.
	{hasBoth(":", "@"), regexp.MustCompile(`(^|[\s"'=,(\\])([A-Za-z0-9._%+-]+):([^\s/@:"'\\,;]{3,})@([A-Za-z0-9.-]+)`), "${1}" + Mark + "@${4}",
		func(m []string) bool { return strings.HasPrefix(m[4], "sha") }},
	// Of a URL's query only what says what is asked for is kept.
	{hasBoth("?", "="), regexp.MustCompile(`([?&])([A-Za-z0-9._~%-]+)=([^&\s"'\\#]+)`), "${1}${2}=" + Mark, func(m []string) bool { return harmlessQuery[strings.ToLower(m[2])] }},
	{has("mysql", "mariadb", "sshpass", "redis-cli", "curl", "wget", "ldap", "smbclient", "login", "htpasswd", "openssl", "mongo"), regexp.MustCompile(
		`\b((?:mysql\w*|mariadb[\w-]*|sshpass|redis-cli|curl|ldap\w+|smbclient|login|mongo\w*)\s(?:[^|;&\n]*?\s)?-[puawU]\s*)([^\s"'-][^\s"']*)`), "${1}" + Mark, plainUser},
	{has("pass:", "--user", "credentials="), regexp.MustCompile(`(\bpass:|--user[= ])([^\s"']+)`), "${1}" + Mark, plainUser},
	// A kubeadm bootstrap token has no frame of its own, only its shape.
	{has("oken", "ootstrap"), regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b`), Mark, nil},
	{has("AKIA", "ASIA"), regexp.MustCompile(`\b(?:AKIA|ASIA)[0-9A-Z]{16}\b`), Mark, nil},
	{has("ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_", "glpat-", "gldt-", "glrt-"), regexp.MustCompile(`\b(?:gh[opusr]_|github_pat_|gl(?:pat|dt|rt)-)[A-Za-z0-9_-]{20,}`), Mark, nil},
	// Tokens that say by their beginning whose they are.
	{has("xox", "xapp-", "dckr_", "AIza", "ya29.", "sk-", "k_live_", "k_test_", "SG.", "npm_", "pypi-", "hvs.", "hvb.", "hvr.", "AGE-SECRET", "glsa_", "glc_", "dop_v1_", "shp",
		"dapi", "tskey-", "lin_api_", "hf_", "rubygems_", "whsec_", "PMAK-", "NRAK-", "sbp_", "ops_", "dp.", "figd_", "sntrys_", "ATATT"), regexp.MustCompile(
		`\b(?:xox[abeoprs]-|xapp-|dckr_(?:pat|oat)_|AIza|ya29\.|sk-|[sr]k_(?:live|test)_|SG\.|npm_|pypi-|hv[sbr]\.|AGE-SECRET-KEY-|gls?a?c?_|dop_v1_|shp(?:at|ca|pa|ss)_|dapi|tskey-|lin_api_|hf_|rubygems_|whsec_|PMAK-|NRAK-|sbp_|ops_|dp\.[a-z]{2}\.|figd_|sntrys_|ATATT)[A-Za-z0-9+/=_.-]{14,}`), Mark,
		func(m []string) bool { return !strings.ContainsAny(m[0], "0123456789") }},
	{has("hooks."), regexp.MustCompile(`\b(hooks\.[a-z.]+/)(\S+)`), "${1}" + Mark, nil},
}

var allRules = slices.Concat(phraseRules, rules)

// harmlessQuery are the parameters of a URL that say what is asked for.
var harmlessQuery = map[string]bool{
	"scope": true, "service": true, "ns": true, "n": true, "last": true, "timeout": true, "timeoutseconds": true, "resourceversion": true, "resourceversionmatch": true,
	"watch": true, "allowwatchbookmarks": true, "sendinitialevents": true, "limit": true, "fieldselector": true, "labelselector": true, "pretty": true, "verbose": true,
	"offline_token": true, "exclude": true, "container": true, "follow": true, "digest": true, "from": true, "mount": true, "force": true, "v": true,
}

// Text returns s without bearer tokens, key material and passwords, in URLs or beside their names.
func Text(s string) string {
	if bodyLine.MatchString(s) {
		return Mark
	}
	if stems(s) {
		s = pairs(s)
	}
	for _, r := range allRules {
		if !r.hint(s) {
			continue
		}
		if r.keep == nil {
			s = r.re.ReplaceAllString(s, r.repl)
			continue
		}
		var b strings.Builder
		end := 0
		for _, at := range r.re.FindAllStringSubmatchIndex(s, -1) {
			m := make([]string, len(at)/2)
			for i := range m {
				if at[2*i] >= 0 {
					m[i] = s[at[2*i]:at[2*i+1]]
				}
			}
			if r.keep(m) || strings.Contains(m[len(m)-1], Mark) {
				continue
			}
			b.WriteString(s[end:at[0]])
			b.Write(r.re.ExpandString(nil, r.repl, s, at))
			end = at[1]
		}
		if end > 0 {
			s = b.String() + s[end:]
		}
	}
	return s
}

// bodyLine is a whole line of base64, as those between BEGIN and END of a key: journald makes an entry of each.
var bodyLine = regexp.MustCompile(`^\s*[A-Za-z0-9+/]{40,}={0,2}\s*$`)

// prose keeps "no basic auth credentials" and the like.
func prose(m []string) bool {
	v, _, _ := strings.Cut(m[3], " ")
	return !strings.ContainsAny(v, "0123456789=+/_.~-") && v == strings.ToLower(v)
}

// plainUser keeps what is no user with a password and no password: a user's name, a path, a port.
func plainUser(m []string) bool {
	v := m[len(m)-1]
	if strings.HasSuffix(strings.TrimSpace(m[1]), "-u") || strings.Contains(m[1], "-U") || strings.Contains(m[1], "--user") {
		return !strings.ContainsAny(v, ":%")
	}
	return harmless.MatchString(v)
}

var (
	harmless = regexp.MustCompile(`^(/[^\s:]*|\.{1,2}/.*|[A-Za-z]:\\.*|true|false|nil|null|none|\d+|\d+[smh]|(?:[A-Z][A-Za-z]*,?)+)?$`)
	// object is an object's namespace and name, or what a template has in a value's place.
	object = regexp.MustCompile(`^(?:[a-z0-9-]+/[a-z0-9.-]*[a-z-][a-z0-9.-]*|\$\{?[A-Z_]+\}?|<[^>]*>|&\S*|\{.*|map\[.*)$`)
	name   = regexp.MustCompile(`(?i)` + secretName)
)

// Secret tells whether the value beside a name is to be taken out.
func Secret(key string) bool { return stems(key) && name.MatchString(key) }

// Value is a value that stands beside a name, a mark where the name speaks of a secret.
func Value(key, value string) string {
	if Secret(key) && !harmless.MatchString(value) {
		return Mark
	}
	return Text(value)
}

// Args returns a command line without the values of flags whose names speak of secrets. A value that is a path, a number or
// a boolean stays: it says where the secret is, or nothing of it.
func Args(argv []string) []string {
	out := make([]string, len(argv))
	hide, program, phrase := false, "", atPosition(argv)
	for i, a := range argv {
		program = cmp.Or(program, runs(a))
		key, value, assigned := strings.Cut(a, "=")
		switch {
		case i == phrase:
			out[i] = Value("password", a)
		case !hide && ofProgram(program, a) != a:
			out[i] = ofProgram(program, a)
		case hide && isValue(a):
			out[i], hide = Value("password", a), false
		case assigned && Secret(key):
			out[i], hide = key+"="+Value(key, value), false
		case strings.HasPrefix(a, "-"):
			hide = !assigned && asks(program, a)
			if out[i] = short(program, a); !hide && out[i] == a {
				out[i] = Text(a)
			}
		case i > 0 && userFlags[argv[i-1]] && mixed.MatchString(a) && !harmless.MatchString(a):
			out[i] = Mark
		case strings.ContainsAny(a, " \t\n"): // of a shell
			out[i] = Command(a)
		default:
			out[i] = Text(a)
		}
	}
	return out
}

// isValue tells the value of a flag before it from another flag: a secret may begin with a dash.
func isValue(a string) bool {
	return !strings.HasPrefix(a, "-") || len(a) > 2 && a[1] != '-' && strings.ContainsAny(a, "0123456789")
}

// runs is the program that the first words of a command line name, behind what only starts it.
func runs(word string) string {
	word = word[strings.LastIndexByte(word, '/')+1:]
	if strings.HasPrefix(word, "-") || strings.Contains(word, "=") || slices.Contains([]string{"sudo", "env", "sh", "bash", "dash", "nohup"}, word) {
		return ""
	}
	return word
}

// userFlags take a password or a user in some programs, in most a port, a protocol or a list of properties.
var userFlags = map[string]bool{"-p": true, "-u": true, "--user": true}

// mixed is a word of letters and digits, or of a name and a password.
var mixed = regexp.MustCompile(`^[^/\s]*(?:[A-Za-z][^/\s]*\d|\d[^/\s]*[A-Za-z]|\w:\w|[!$%^&*#~])[^/\s]*$`)

// passwordFlags are the short flags behind which programs take a password.
var passwordFlags = regexp.MustCompile(`^(?:(?:mysql|mariadb|mongo).* -p|sshpass -p|redis-cli -a|curl -u|ldap.* -w|smbclient -U|docker -p|podman -p|nerdctl -p|crictl -p|psql -W|` +
	`ipmitool -P|snmp\w+ -[AXc]|(?:un)?zip -P|(?:sqlcmd|bcp|isql) -P|mosquitto_\w+ -P|cqlsh -p|lftp -u|openssl -[kK]|kadmin\S* -w|user(?:add|mod) -p)$`)

// asks tells that a flag's value is the next word, and a secret.
func asks(program, flag string) bool {
	if len(flag) > 2 {
		return Secret(strings.TrimLeft(flag, "-")) && !strings.HasSuffix(flag, "-stdin")
	}
	return passwordFlags.MatchString(program + " " + flag)
}

// short takes away what is glued to such a flag: mysqldump -pVALUE.
func short(program, a string) string {
	if len(a) > 2 && a[1] != '-' && (asks(program, a[:2]) || a[1] == 'p' && mixed.MatchString(a[2:]) && !strings.ContainsAny(a, "=:,")) {
		return a[:2] + Mark
	}
	return a
}
