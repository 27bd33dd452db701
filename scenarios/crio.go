package scenarios

import (
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// CRIO is the runtime for which a scenario is put into other words.
const CRIO = "crio"

// crioNames are containerd's names in a scenario, and CRI-O's: in parameters of mechanisms.
var crioNames = strings.NewReplacer(
	"/etc/containerd/certs.d", "/etc/containers/certs.d",
	"/var/lib/containerd", "/var/lib/containers",
	"containerd.service", "crio.service",
)

// On is the scenario on nodes with a runtime; itself with containerd, for which all are written.
func (s *Scenario) On(runtime string) *Scenario {
	if runtime != CRIO || s.on == CRIO {
		return s
	}
	out := *s
	out.on = CRIO
	out.Spec.Prepare, out.Spec.Inject = onCRIO(s.Spec.Prepare), onCRIO(s.Spec.Inject)
	out.Spec.Manifest = signalsOnCRIO(s.Spec.Manifest)
	if c := s.Spec.CRIO; c != nil {
		out.Unsupported = c.Unsupported
		if len(c.Inject) > 0 {
			out.Spec.Inject = c.Inject
		}
		if len(c.Manifest) > 0 {
			out.Spec.Manifest = c.Manifest
		}
		if c.Differs != "" {
			out.Spec.Fidelity.Level, out.Spec.Fidelity.Differs = "contained", strings.TrimSpace(out.Spec.Fidelity.Differs+" "+c.Differs)
		}
	}
	return &out
}

func onCRIO(actions []v1alpha1.Action) []v1alpha1.Action {
	var out []v1alpha1.Action
	for _, a := range actions {
		if a.Params != nil {
			a.Params, _ = renamed(a.Params).(map[string]any)
		}
		a.Until = signalsOnCRIO(a.Until)
		out = append(out, a)
	}
	return out
}

// renamed is a parameter with CRI-O's names.
func renamed(v any) any {
	switch v := v.(type) {
	case string:
		if v == "containerd" {
			return CRIO
		}
		return crioNames.Replace(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = renamed(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = renamed(v[k])
		}
		return out
	}
	return v
}

// signalsOnCRIO are those that are there with CRI-O: it writes down no request that fails, the kubelet does.
func signalsOnCRIO(list []v1alpha1.Matcher) []v1alpha1.Matcher {
	return slices.DeleteFunc(slices.Clone(list), func(m v1alpha1.Matcher) bool { return m.Log != nil && m.Log.Unit == "containerd" })
}
