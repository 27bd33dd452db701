package collect

import (
	"context"
	"crypto/x509"
	"net/url"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// probeOrigin shakes hands with the registry itself where hosts.toml sends pulls elsewhere first: whether the way without the
// mirror is open decides whose fault it is, and what the remedy may do.
func (l *look) probeOrigin(ctx context.Context, s *source, h *v1alpha1.RegistryHost) {
	host := h.Host
	if host == "docker.io" {
		host = "registry-1.docker.io"
	}
	if slices.ContainsFunc(h.Mirrors, func(m v1alpha1.RegistryMirror) bool {
		u, err := url.Parse(m.URL)
		return err == nil && u.Host == host
	}) {
		return
	}
	d := "TLS handshake with " + host
	s.doing.Store(&d)
	var ca []*x509.Certificate
	o := &v1alpha1.RegistryMirror{URL: "https://" + host, CAs: slices.Clone(h.CAs)}
	for _, p := range h.CAs {
		if b, err := l.root.read(p, 1<<20); err == nil {
			certs, _ := parseCerts(b)
			ca = append(ca, certs...)
		}
	}
	r := reach(ctx, host, (&url.URL{Host: host}).Hostname(), ca, true)
	o.Reach, o.ReachError = r.result, strings.TrimSpace(r.text)
	if r.leaf != nil {
		o.Issuer, o.Subject, o.NotBefore, o.NotAfter = r.leaf.Issuer.String(), r.leaf.Subject.String(), r.leaf.NotBefore, r.leaf.NotAfter
	}
	h.Origin = o
}
