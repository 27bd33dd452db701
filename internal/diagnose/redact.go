package diagnose

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/redact"
)

// secret is one recognisable shape of a credential. The first group, when there is one, is kept.
type secret struct {
	name string
	re   *regexp.Regexp
}

var secretShapes = []secret{
	{"a private key", regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)`)},
	// LS0tLS1CRUdJTi is base64 of "-----BEGIN", as kubeconfigs and secrets carry keys and certificates.
	{"a base64 PEM block", regexp.MustCompile(`LS0tLS1CRUdJTi[A-Za-z0-9+/=]{40,}`)},
	{"a JSON web token", regexp.MustCompile(`eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*`)},
	{"an authorization header", regexp.MustCompile(`(?i)\b((?:bearer|basic)[ :]+)[A-Za-z0-9._~+/-]{16,}=*`)},
	{"a password in a URL", regexp.MustCompile(`([a-z][a-z0-9+.-]*://)[^/\s:@"'\\]+:[^/\s@"'\\]+@`)},
	{"a bootstrap token", regexp.MustCompile(`\b(token[s]?[=: "']+)?[a-z0-9]{6}\.[a-z0-9]{16}\b`)},
	{"a cloud access key", regexp.MustCompile(`\b(?:AKIA|ASIA)[0-9A-Z]{16}\b`)},
	{"a code host's token", regexp.MustCompile(`\b(?:gh[opusr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}|glpat-[A-Za-z0-9_-]{20,})`)},
	{"a named credential", regexp.MustCompile(`(?i)((?:password|passwd|secret[_-]?(?:access[_-]?)?key|access[_-]?token|api[_-]?key|client-key-data|auth)["'\\]*\s*[=:]\s*["'\\]*)[^\s"',;&\\]{6,}`)},
}

const redacted = redact.Mark

// harmless are texts that look like a credential and are none; matched against the whole hit.
func harmless(hit string) bool {
	return strings.HasSuffix(hit, redacted) || strings.Contains(hit, redacted+"@")
}

// Redact replaces whatever in s has the shape of a credential, by the agent's rules as well: not everything in a bundle came
// through an agent.
func Redact(s string) string {
	s = redact.Text(s)
	for _, sh := range secretShapes {
		s = sh.re.ReplaceAllStringFunc(s, func(hit string) string {
			if harmless(hit) {
				return hit
			}
			if m := sh.re.FindStringSubmatch(hit); len(m) > 1 {
				if strings.Contains(hit, "://") && strings.HasSuffix(hit, "@") {
					return m[1] + redacted + "@"
				}
				return m[1] + redacted
			}
			return redacted
		})
	}
	return s
}

// FindSecrets names what in s has the shape of a credential, empty for none.
func FindSecrets(s string) []string {
	var out []string
	for _, sh := range secretShapes {
		for _, hit := range sh.re.FindAllString(s, -1) {
			if !harmless(hit) {
				out = append(out, sh.name)
				break
			}
		}
	}
	return out
}

// redactedJSON is the history as indented JSON with every string redacted and every field that carries values of an
// environment or a copy of a whole manifest emptied.
func redactedJSON(h v1alpha1.History) ([]byte, error) {
	clean := make(v1alpha1.History, len(h))
	for i, o := range h {
		clean[i] = withoutValues(o)
	}
	spread(clean)
	raw, err := json.Marshal(clean)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxNodeFile {
		return nil, tooLarge(len(h), len(raw))
	}
	var tree []any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(redactTree(tree)); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func redactTree(v any) any {
	switch v := v.(type) {
	case string:
		return Redact(v)
	case []any:
		for i := range v {
			v[i] = redactTree(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = redactTree(v[k])
		}
	}
	return v
}

// withoutValues is an observation with what is known of API objects alone, and without what is spread over several log lines.
func withoutValues(o v1alpha1.Observation) v1alpha1.Observation {
	if o.API != nil {
		api := redact.API(o.API)
		o.API = &api
	}
	o.Kubelet.Flags = redact.Args(o.Kubelet.Flags)
	o.Runtime.Sandboxes = slices.Clone(o.Runtime.Sandboxes)
	for i := range o.Runtime.Sandboxes {
		o.Runtime.Sandboxes[i].Labels = redact.SandboxLabels(o.Runtime.Sandboxes[i].Labels)
	}
	o.LocalJobs = slices.Clone(o.LocalJobs)
	for i := range o.LocalJobs {
		o.LocalJobs[i].Command = redact.Command(o.LocalJobs[i].Command)
	}
	o.LocalUnits = slices.Clone(o.LocalUnits)
	for i := range o.LocalUnits {
		o.LocalUnits[i].ExecStart = redact.Command(o.LocalUnits[i].ExecStart)
	}
	o.Units = maps.Clone(o.Units)
	for name, u := range o.Units {
		u.ExecStart = redact.Command(u.ExecStart)
		o.Units[name] = u
	}
	return o
}

// spread takes out what is spread over log lines, also from one look to the next.
func spread(h v1alpha1.History) {
	for _, of := range []func(*v1alpha1.Observation) *[]v1alpha1.LogLine{
		func(o *v1alpha1.Observation) *[]v1alpha1.LogLine { return &o.Journal.Lines },
		func(o *v1alpha1.Observation) *[]v1alpha1.LogLine { return &o.Kmsg },
	} {
		var all []v1alpha1.LogLine
		for i := range h {
			all = append(all, *of(&h[i])...)
		}
		redact.Lines(all)
		for i := range h {
			if n := len(*of(&h[i])); n > 0 {
				*of(&h[i]), all = all[:n:n], all[n:]
			}
		}
	}
}
