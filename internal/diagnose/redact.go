package diagnose

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"

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

func withoutValues(o v1alpha1.Observation) v1alpha1.Observation {
	if o.API == nil {
		return o
	}
	api := *o.API
	strip := func(pods []corev1.Pod) []corev1.Pod {
		out := make([]corev1.Pod, len(pods))
		for i := range pods {
			p := pods[i].DeepCopy()
			p.ManagedFields = nil
			delete(p.Annotations, corev1.LastAppliedConfigAnnotation)
			for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
				for j := range list {
					emptyEnv(list[j].Env)
					for _, probe := range []*corev1.Probe{list[j].LivenessProbe, list[j].ReadinessProbe, list[j].StartupProbe} {
						if probe != nil {
							emptyHeaders(probe.HTTPGet)
						}
					}
					if l := list[j].Lifecycle; l != nil {
						for _, h := range []*corev1.LifecycleHandler{l.PostStart, l.PreStop} {
							if h != nil {
								emptyHeaders(h.HTTPGet)
							}
						}
					}
				}
			}
			for j := range p.Spec.EphemeralContainers {
				emptyEnv(p.Spec.EphemeralContainers[j].Env)
			}
			out[i] = *p
		}
		return out
	}
	if api.Pods != nil {
		api.Pods = strip(api.Pods)
	}
	if api.Pending != nil {
		api.Pending = strip(api.Pending)
	}
	if api.Node != nil {
		n := api.Node.DeepCopy()
		n.ManagedFields = nil
		delete(n.Annotations, corev1.LastAppliedConfigAnnotation)
		api.Node = n
	}
	o.API = &api
	return o
}

func emptyEnv(env []corev1.EnvVar) {
	for i := range env {
		if env[i].Value != "" {
			env[i].Value = redacted
		}
	}
}

// emptyHeaders empties what a probe sends: people put tokens there.
func emptyHeaders(h *corev1.HTTPGetAction) {
	if h == nil {
		return
	}
	for i := range h.HTTPHeaders {
		h.HTTPHeaders[i].Value = redacted
	}
}
