package collect

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	toml "github.com/pelletier/go-toml/v2"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/redact"
)

// maxProbed bounds the registries that a look shakes hands with: an old event may name any.
const maxProbed = 8

// hostsTOML is the part of a certs.d hosts.toml that is read; headers, which may carry credentials, are not.
type hostsTOML struct {
	Server string              `toml:"server"`
	CA     any                 `toml:"ca"`
	Host   map[string]hostTOML `toml:"host"`
}

type hostTOML struct {
	CA         any  `toml:"ca"`
	SkipVerify bool `toml:"skip_verify"`
}

// caPaths reads the forms ca takes: a string or a list of strings, relative to the hosts.toml.
func caPaths(v any, dir string) []string {
	var out []string
	add := func(p string) {
		if p != "" && !path.IsAbs(p) {
			p = path.Join(dir, p)
		}
		if p != "" {
			out = append(out, p)
		}
	}
	switch v := v.(type) {
	case string:
		add(v)
	case []any:
		for _, e := range v {
			if p, ok := e.(string); ok {
				add(p)
			}
		}
	}
	return out
}

// registries reads how the runtime asks registries: certs.d, or CRI-O's registries.conf.
func (l *look) registries(_ context.Context, s *source) error {
	hosts := map[string]*v1alpha1.RegistryHost{}
	var out []v1alpha1.RegistryHost
	set := l.settings()
	if set.name == "cri-o" {
		out, search, err := l.registriesConf(s)
		if err != nil {
			return err
		}
		l.mu.Lock()
		l.configured = func(host string) []v1alpha1.RegistryHost { return l.ofRegistriesConf(out, host) }
		l.mu.Unlock()
		l.put(func(o *v1alpha1.Observation) { o.Registries, o.Runtime.SearchRegistries = slices.Clone(out), search })
		return nil
	}
	l.mu.Lock()
	version := l.obs.Runtime.Version
	l.mu.Unlock()
	dirs := set.configPath
	if dirs == nil && cmp.Or(set.name, "containerd") == "containerd" {
		dirs = certsDirs(version)
	}
	for _, dir := range dirs {
		if err := s.at(l, "listing", dir); err != nil {
			return err
		}
		names, err := l.root.names(dir, 200)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		// Where a registry has two directories, the one with its port between underscores counts, and the first config_path.
		slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(len(hostDir.FindString(b)), len(hostDir.FindString(a))) })
		for _, n := range names {
			h := l.registryDir(path.Join(dir, n), hostDir.ReplaceAllString(n, "$1:$2"))
			if h == nil || hosts[h.Host] != nil {
				continue
			}
			hosts[h.Host] = h
			if h.Path != "" {
				out = append(out, *h)
			}
		}
	}
	l.mu.Lock()
	l.configured = func(host string) []v1alpha1.RegistryHost {
		if k := cmp.Or(hosts[host], hosts["_default"]); k != nil { // _default is for every registry without a directory of its own
			return []v1alpha1.RegistryHost{*k}
		}
		return []v1alpha1.RegistryHost{{}}
	}
	l.mu.Unlock()
	l.put(func(o *v1alpha1.Observation) { o.Registries = out })
	return nil
}

// pullsGoOn is how old the last word of a failed pull may be of which a pod still waits for its image: the kubelet says so at each of its
// tries to start the pod, every 10 to 15 seconds.
const pullsGoOn = 90 * time.Second

// reachRegistries shakes hands with the hosts from which a pull has failed, all at once: a name that does not resolve or a host that
// swallows packets costs one bound, however many there are. Nobody waits for a host that only an old line names: it is told when it has
// answered before the other sources have been read.
func (l *look) reachRegistries(ctx context.Context, s *source) error {
	l.mu.Lock()
	configured, failed := l.configured, slices.Clone(l.opts.Registries)
	fresh := len(failed)
	for _, p := range l.failedPulls { // newest first
		failed = append(failed, p.host)
		if l.start.Sub(p.at) < pullsGoOn {
			fresh = len(failed)
		}
	}
	l.mu.Unlock()
	if configured == nil { // the configuration could not be read
		configured = func(string) []v1alpha1.RegistryHost { return []v1alpha1.RegistryHost{{}} }
	}
	probed, awaited := toProbe(failed, fresh, configured)
	d := "TLS handshakes with " + strings.Join(failed, ", ")
	s.doing.Store(&d)
	done := make([]chan struct{}, len(probed))
	for i := range probed {
		done[i] = make(chan struct{})
		h := &probed[i]
		var wg sync.WaitGroup
		for j := range h.Mirrors {
			wg.Go(func() { l.probe(ctx, &h.Mirrors[j]) })
		}
		if h.Origin != nil {
			wg.Go(func() { l.probe(ctx, h.Origin) })
		}
		go func() { wg.Wait(); close(done[i]) }()
	}
	for i, d := range done {
		patience := ctx.Done()
		if i >= awaited {
			patience = l.rest
		}
		select {
		case <-d:
		case <-patience:
		}
	}
	l.put(func(o *v1alpha1.Observation) {
		for i, h := range probed {
			select {
			case <-done[i]:
			default:
				if i < awaited {
					o.Unknown = append(o.Unknown, v1alpha1.Unknown{What: s.what, Why: "no handshake with " + h.Host + " in time"})
				}
				continue // it may still be written to
			}
			if i := slices.IndexFunc(o.Registries, func(r v1alpha1.RegistryHost) bool { return r.Host == h.Host && r.Prefix == h.Prefix }); i >= 0 {
				o.Registries[i] = h
			} else {
				o.Registries = append(o.Registries, h)
			}
		}
	})
	return nil
}

// toProbe are the hosts that handshakes are made with, each as the runtime's configuration has it. The first of them are waited for.
func toProbe(failed []string, fresh int, configured func(string) []v1alpha1.RegistryHost) (probed []v1alpha1.RegistryHost, awaited int) {
	for i, host := range failed {
		for _, h := range configured(host) {
			h.Host, h.Mirrors = host, slices.Clone(h.Mirrors)
			if len(probed) == maxProbed || slices.ContainsFunc(probed, func(p v1alpha1.RegistryHost) bool { return p.Host == host && p.Prefix == h.Prefix }) {
				continue
			}
			if len(h.Mirrors) == 0 {
				h.Mirrors = []v1alpha1.RegistryMirror{{URL: cmp.Or(h.Server, "https://"+host), CAs: h.CAs}}
			}
			if h.Origin != nil {
				own := *h.Origin
				h.Origin = &own
			} else if h.Server == "" || path.Base(h.Path) == "hosts.toml" {
				h.Origin = origin(h)
			}
			probed = append(probed, h)
		}
		if i < fresh {
			awaited = len(probed)
		}
	}
	return probed, awaited
}

// origin is the registry itself where hosts.toml sends pulls elsewhere first: whether the way without the mirror is open decides
// whose fault it is, and what the remedy may do.
func origin(h v1alpha1.RegistryHost) *v1alpha1.RegistryMirror {
	host := h.Host
	if host == "docker.io" {
		host = "registry-1.docker.io"
	}
	if slices.ContainsFunc(h.Mirrors, func(m v1alpha1.RegistryMirror) bool {
		u, err := url.Parse(m.URL)
		return err == nil && u.Host == host
	}) {
		return nil
	}
	return &v1alpha1.RegistryMirror{URL: "https://" + host, CAs: slices.Clone(h.CAs)}
}

// probe shakes hands with a host that a pull would have tried. A CA counts for the host it stands with, besides what the node trusts
// by itself (containerd core/remotes/docker/config/hosts.go, updateTLSConfigFromHost).
func (l *look) probe(ctx context.Context, m *v1alpha1.RegistryMirror) {
	u, err := url.Parse(m.URL)
	if err != nil || u.Host == "" || u.Scheme == "http" {
		return
	}
	var ca []*x509.Certificate
	for _, p := range m.CAs {
		if b, err := l.root.readFile(p, 1<<20); err == nil {
			certs, _ := parseCerts(b)
			ca = append(ca, certs...)
		}
	}
	r := l.shake(ctx, u.Host, u.Hostname(), ca, true)
	m.Reach, m.ReachError = r.result, strings.TrimSpace(r.text)
	if r.leaf != nil {
		m.Issuer, m.Subject, m.NotBefore, m.NotAfter = r.leaf.Issuer.String(), r.leaf.Subject.String(), r.leaf.NotBefore, r.leaf.NotAfter
	}
	if m.SkipVerify && strings.HasPrefix(m.Reach, "tls-") {
		m.Reach, m.ReachError = "ok", ""
		return
	}
	if r.leaf == nil || r.trusted {
		return
	}
	for _, c := range r.chain[:min(len(r.chain), maxChain)] {
		m.Chain = append(m.Chain, v1alpha1.ShownCertificate{Subject: c.Subject.String(), Issuer: c.Issuer.String(), SHA256: fingerprint(c)})
	}
	m.Known = l.knownCA(u.Host, r.chain, m.CAs)
}

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// caDirs are where administrators put CAs by the host that they trust them for, also for another runtime; systemCAs are for all hosts, in
// a store that may not have been made anew since.
var (
	caDirs    = []string{"/etc/docker/certs.d", "/etc/containers/certs.d", "/etc/containerd/certs.d"}
	systemCAs = []string{"/usr/local/share/ca-certificates", "/etc/pki/ca-trust/source/anchors"}
)

// knownCA is a CA in a file that the host's own configuration does not name and that the chain verifies by: one in a folder of this host,
// in the system's, or an earlier or later form of a file that is named for it. Who is trusted for another host is not trusted here.
func (l *look) knownCA(host string, chain []*x509.Certificate, named []string) *v1alpha1.TrustedCA {
	var files []string
	add := func(dir string, fits func(string) bool) {
		names, _ := l.root.names(dir, 200)
		for _, n := range names {
			if p := path.Join(dir, n); fits(n) && !slices.Contains(named, p) {
				files = append(files, p)
			}
		}
	}
	certs := func(n string) bool { return path.Ext(n) == ".crt" || path.Ext(n) == ".pem" }
	for _, p := range named {
		if dir := path.Dir(p); hostDir.ReplaceAllString(path.Base(dir), "$1:$2") == host {
			add(dir, certs)
		}
		add(path.Dir(p), func(n string) bool { return strings.HasPrefix(n, path.Base(p)) })
	}
	for _, dir := range caDirs {
		add(path.Join(dir, host), certs)
	}
	for _, dir := range systemCAs {
		add(dir, certs)
	}
	for _, p := range files {
		b, err := l.root.readFile(p, 1<<20)
		if err != nil {
			continue
		}
		certs, _ := parseCerts(b)
		for _, c := range certs {
			if chains(chain[0], chain[1:], []*x509.Certificate{c}) {
				return &v1alpha1.TrustedCA{SHA256: fingerprint(c), Subject: c.Subject.String(), Path: p}
			}
		}
	}
	return nil
}

// hostDir is the name of a registry's directory where it has its port between underscores.
var hostDir = regexp.MustCompile(`^(.+)_(\d+)_$`)

// registryDir reads a registry's directory, nil where it is none. Without a hosts.toml its .crt files are the CAs, and _default
// does not count for this registry.
func (l *look) registryDir(dir, host string) *v1alpha1.RegistryHost {
	h := &v1alpha1.RegistryHost{Host: host, Path: path.Join(dir, "hosts.toml")}
	b, err := l.root.read(h.Path, 1<<20)
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		h.Path = ""
		names, err := l.root.names(dir, 200)
		if err != nil {
			return nil
		}
		h.CAs = crtsOf(dir, names)
		return h
	case err == nil:
		err = l.hostsFile(b, h)
	}
	if err != nil {
		h.Error = redact.Text((&parseError{h.Path, err}).Error())
	}
	return h
}

func (l *look) hostsFile(text []byte, h *v1alpha1.RegistryHost) error {
	var f hostsTOML
	if err := toml.Unmarshal(text, &f); err != nil {
		return err
	}
	dir := path.Dir(h.Path)
	h.Server = f.Server
	h.CAs = caPaths(f.CA, dir)
	// In the file's order, which is the order in which a pull tries them.
	place := func(u string) int {
		return max(bytes.Index(text, []byte(`"`+u+`"]`)), bytes.Index(text, []byte(`'`+u+`']`)))
	}
	order := slices.SortedFunc(maps.Keys(f.Host), func(a, b string) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a, b))
	})
	for _, u := range order {
		m := f.Host[u]
		mirror := v1alpha1.RegistryMirror{URL: u, SkipVerify: m.SkipVerify, CAs: caPaths(m.CA, dir)}
		h.CAs = append(h.CAs, mirror.CAs...)
		h.Mirrors = append(h.Mirrors, mirror)
	}
	for _, p := range h.CAs {
		if _, err := l.root.stat(p); err != nil {
			h.MissingCAs = append(h.MissingCAs, p)
		}
	}
	return nil
}
