package v1alpha1

import "strings"

// KubeletName is what the kubelet calls its node: by its client certificate (CN=system:node:NAME), else by --hostname-override. It is
// empty where neither was seen. Several certificates are there after a rotation, all for the same name.
func (o *Observation) KubeletName() string {
	for _, c := range o.Certs {
		if _, name, ok := strings.Cut(c.Subject, "CN=system:node:"); ok && c.Use == "kubelet-client" {
			if i := strings.IndexAny(name, ",+"); i >= 0 {
				name = name[:i]
			}
			return name
		}
	}
	for i, f := range o.Kubelet.Flags {
		if v, ok := strings.CutPrefix(f, "--hostname-override="); ok {
			return v
		}
		if f == "--hostname-override" && i+1 < len(o.Kubelet.Flags) {
			return o.Kubelet.Flags[i+1]
		}
	}
	return ""
}
