package collect

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	toml "github.com/pelletier/go-toml/v2"
	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/redact"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

const (
	kubeletConf   = "/etc/kubernetes/kubelet.conf"
	bootstrapConf = "/etc/kubernetes/bootstrap-kubelet.conf"
	clusterCA     = "/etc/kubernetes/pki/ca.crt"
	clientCert    = kubeletDir + "/pki/kubelet-client-current.pem"
	serverCert    = kubeletDir + "/pki/kubelet.crt"
	// reachWait bounds a handshake with the API server or a registry: both are one hop away, 10 ms on a busy node.
	reachWait = time.Second
)

// parseCerts takes the certificates of a PEM file; keys in the same file are passed over, never decoded.
func parseCerts(b []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		block, b = pem.Decode(b)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return out, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("no certificate in it")
	}
	return out, nil
}

func describeCert(p, use string, c *x509.Certificate, ca []*x509.Certificate) v1alpha1.Certificate {
	sum := sha256.Sum256(c.Raw)
	return v1alpha1.Certificate{
		Path: p, Use: use, Subject: c.Subject.String(), Issuer: c.Issuer.String(), NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		SHA256: hex.EncodeToString(sum[:]), ChainsToCA: chains(c, nil, ca),
	}
}

// maxChain bounds a chain: what a server sends may be anything.
const maxChain = 8

// chains tells whether a certificate is signed by the CA, over intermediates or not. Validity times are left aside, those of the
// CA too: a certificate that expired before the cluster was made (its CA is younger) is expired, and not another's.
func chains(c *x509.Certificate, intermediates, ca []*x509.Certificate) bool {
	signedBy := func(c, by *x509.Certificate) bool {
		return bytes.Equal(c.RawIssuer, by.RawSubject) && c.CheckSignatureFrom(by) == nil
	}
	for range maxChain {
		if slices.ContainsFunc(ca, func(r *x509.Certificate) bool { return c.Equal(r) || signedBy(c, r) }) {
			return true
		}
		i := slices.IndexFunc(intermediates, func(i *x509.Certificate) bool { return !c.Equal(i) && signedBy(c, i) })
		if i < 0 {
			return false
		}
		c = intermediates[i]
	}
	return false
}

// certificates reads the certificates the kubelet lives by.
func (l *look) certificates(_ context.Context, s *source) error {
	var ca []*x509.Certificate
	var out []v1alpha1.Certificate
	for _, f := range []struct{ path, use string }{{clusterCA, "ca"}, {clientCert, "kubelet-client"}, {serverCert, "kubelet-server"}} {
		if err := s.at(l, "reading", f.path); err != nil {
			return err
		}
		b, err := l.root.read(f.path, 1<<20)
		if errors.Is(err, fs.ErrNotExist) && f.use != "kubelet-client" {
			continue
		}
		var certs []*x509.Certificate
		if err == nil {
			certs, err = parseCerts(b)
		}
		if err != nil {
			out = append(out, v1alpha1.Certificate{Path: f.path, Use: f.use, Error: why(err)})
			continue
		}
		if f.use == "ca" {
			ca = certs
		}
		out = append(out, describeCert(f.path, f.use, certs[0], ca))
	}
	l.put(func(o *v1alpha1.Observation) { o.Certs = append(o.Certs, out...) })
	return nil
}

// kubeconfigFile is the part of a kubeconfig that is read: never a token, never a key.
type kubeconfigFile struct {
	Clusters []struct {
		Name    string `json:"name"`
		Cluster struct {
			Server string `json:"server"`
			CAData string `json:"certificate-authority-data"`
			CAFile string `json:"certificate-authority"`
		} `json:"cluster"`
	} `json:"clusters"`
	Contexts []struct {
		Name    string `json:"name"`
		Context struct {
			Cluster string `json:"cluster"`
			User    string `json:"user"`
		} `json:"context"`
	} `json:"contexts"`
	CurrentContext string `json:"current-context"`
	Users          []struct {
		Name string `json:"name"`
		User struct {
			CertFile string `json:"client-certificate"`
			CertData string `json:"client-certificate-data"`
			KeyFile  string `json:"client-key"`
		} `json:"user"`
	} `json:"users"`
}

func (l *look) kubeconfigs(ctx context.Context, s *source) error {
	main, ca, err := l.kubeconfig(s, kubeletConf)
	if err != nil {
		return err
	}
	boot, _, err := l.kubeconfig(s, bootstrapConf)
	if err != nil {
		return err
	}
	if main.Server != "" && (l.root == "/" || l.root == "") {
		d := "TLS handshake with " + main.Server
		s.doing.Store(&d)
		if u, err := url.Parse(main.Server); err == nil {
			r := reach(ctx, u.Host, u.Hostname(), ca, ca == nil)
			main.Reach, main.ReachError, main.ServerCAMatches = r.result, r.text, r.trusted
		}
	}
	l.put(func(o *v1alpha1.Observation) { o.Kubelet.Kubeconfig, o.Kubelet.Bootstrap = main, boot })
	return nil
}

func (l *look) kubeconfig(s *source, p string) (v1alpha1.Kubeconfig, []*x509.Certificate, error) {
	k := v1alpha1.Kubeconfig{Path: p}
	if err := s.at(l, "reading", p); err != nil {
		return k, nil, err
	}
	b, err := l.root.read(p, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil, nil
	}
	k.Exists = true
	if err != nil {
		k.Error = why(err)
		return k, nil, nil
	}
	ca, err := l.parseKubeconfig(b, &k)
	if err != nil {
		k.Error = redact.Text((&parseError{p, err}).Error())
	}
	return k, ca, nil
}

func (l *look) parseKubeconfig(b []byte, k *v1alpha1.Kubeconfig) ([]*x509.Certificate, error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, errors.New("the file is empty")
	}
	var f kubeconfigFile
	if err := yaml.Unmarshal(b, &f); err != nil {
		return nil, errors.New("not valid YAML") // the parser's text may quote a key
	}
	cluster, user := "", ""
	found := false
	for _, c := range f.Contexts {
		if c.Name == f.CurrentContext {
			cluster, user, found = c.Context.Cluster, c.Context.User, true
		}
	}
	if !found {
		return nil, fmt.Errorf("current-context %q is not among its contexts", f.CurrentContext)
	}
	k.User = user
	var ca []*x509.Certificate
	for _, c := range f.Clusters {
		if c.Name != cluster {
			continue
		}
		k.Server = c.Cluster.Server
		data := []byte(nil)
		var err error
		switch {
		case c.Cluster.CAData != "":
			data, err = base64.StdEncoding.DecodeString(c.Cluster.CAData)
		case c.Cluster.CAFile != "":
			data, err = l.root.read(c.Cluster.CAFile, 1<<20)
		default:
			return nil, errors.New("its cluster names no certificate authority")
		}
		if err == nil {
			ca, err = parseCerts(data)
		}
		if err != nil {
			return nil, fmt.Errorf("certificate authority: %w", err)
		}
		sum := sha256.Sum256(ca[0].Raw)
		k.CASubject, k.CASHA256 = ca[0].Subject.String(), hex.EncodeToString(sum[:])
	}
	if k.Server == "" {
		return ca, fmt.Errorf("cluster %q has no server", cluster)
	}
	for _, u := range f.Users {
		if u.Name != user {
			continue
		}
		switch {
		case u.User.CertFile != "":
			k.ClientCert = u.User.CertFile
			if _, err := l.root.stat(u.User.CertFile); err != nil {
				return ca, fmt.Errorf("client certificate: %w", err)
			}
		case u.User.CertData != "":
			k.ClientCert = "inline"
		}
	}
	return ca, nil
}

// reached is what a TLS handshake gave.
type reached struct {
	result, text string
	trusted      bool // chain verifies against the CA, times and name left aside
	leaf         *x509.Certificate
}

// reach dials and shakes hands, and says in one word what is wrong. Nothing is sent beyond the handshake. system adds what the
// node trusts by itself to the CA.
func reach(ctx context.Context, host, name string, ca []*x509.Certificate, system bool) reached {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(reachWait))
	defer cancel()
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(host, portOf(host))
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return reached{result: dialResult(err), text: err.Error()}
	}
	defer func() { _ = conn.Close() }()
	// The chain is verified below, by hand, because the question is which of its properties is wrong.
	c := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
	if err := c.HandshakeContext(ctx); err != nil {
		// An API server that asks for a client certificate completes the handshake all the same.
		return reached{result: dialResult(err), text: err.Error()}
	}
	certs := c.ConnectionState().PeerCertificates
	if len(certs) == 0 {
		return reached{result: "other", text: "the server showed no certificate"}
	}
	r := reached{result: "ok", leaf: certs[0]}
	roots := slices.Clone(ca)
	if system {
		roots = append(roots, systemRoots(certs)...)
	}
	r.trusted = chains(certs[0], certs[1:], roots)
	now := time.Now()
	switch {
	case !r.trusted:
		r.result, r.text = "tls-untrusted", fmt.Sprintf("x509: certificate signed by unknown authority (issuer %s)", certs[0].Issuer)
	case now.After(certs[0].NotAfter) || now.Before(certs[0].NotBefore):
		r.result, r.text = "tls-expired", fmt.Sprintf("certificate is valid from %s to %s", certs[0].NotBefore.Format(time.RFC3339), certs[0].NotAfter.Format(time.RFC3339))
	default:
		if err := certs[0].VerifyHostname(name); err != nil {
			r.result, r.text = "tls-name", err.Error()
		}
	}
	return r
}

// systemRoots stands for the system's trust: the chain's own top when the system accepts it.
func systemRoots(chain []*x509.Certificate) []*x509.Certificate {
	inter := x509.NewCertPool()
	for _, c := range chain[1:] {
		inter.AddCert(c)
	}
	leaf := chain[0]
	got, err := leaf.Verify(x509.VerifyOptions{Intermediates: inter, CurrentTime: leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2)})
	if err != nil || len(got) == 0 {
		return nil
	}
	return got[0][len(got[0])-1:]
}

func dialResult(err error) string {
	var dns *net.DNSError
	var ne net.Error
	switch {
	case errors.As(err, &dns):
		return "dns"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH),
		errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EACCES): // routes of the types blackhole and prohibit
		return "no-route"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return "timeout"
	}
	return "other"
}

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

// registries reads certs.d, and shakes hands with hosts from which a pull has just failed.
func (l *look) registries(ctx context.Context, s *source) error {
	set := l.waitSettings(ctx)
	byHost := map[string]*v1alpha1.RegistryHost{}
	var order []string
	for _, dir := range set.configPath {
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
			if h == nil || byHost[h.Host] != nil {
				continue
			}
			byHost[h.Host] = h
			if h.Path != "" {
				order = append(order, h.Host)
			}
		}
	}
	l.journal.wait(ctx)
	l.mu.Lock()
	failed := append(append([]string{}, l.opts.Registries...), l.failedPulls...)
	l.mu.Unlock()
	for _, host := range failed {
		h := byHost[host]
		if h == nil {
			h = &v1alpha1.RegistryHost{Host: host}
			if d := byHost["_default"]; d != nil {
				// It is for every registry that has no directory of its own.
				c := *d
				h, c.Host, c.Mirrors = &c, host, slices.Clone(d.Mirrors)
			}
			byHost[host] = h
		}
		if !slices.Contains(order, host) {
			order = append(order, host)
		}
		l.probeRegistry(ctx, s, h)
		l.probeOrigin(ctx, s, h)
	}
	var out []v1alpha1.RegistryHost
	for _, n := range order {
		out = append(out, *byHost[n])
	}
	l.put(func(o *v1alpha1.Observation) { o.Registries = out })
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
		for _, n := range names {
			if path.Ext(n) == ".crt" {
				h.CAs = append(h.CAs, path.Join(dir, n))
			}
		}
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

// probeRegistry shakes hands with every host a pull would have tried. A CA counts for the host it stands with, besides what the
// node trusts by itself (containerd core/remotes/docker/config/hosts.go, updateTLSConfigFromHost).
func (l *look) probeRegistry(ctx context.Context, s *source, h *v1alpha1.RegistryHost) {
	if len(h.Mirrors) == 0 {
		h.Mirrors = []v1alpha1.RegistryMirror{{URL: cmp.Or(h.Server, "https://"+h.Host), CAs: h.CAs}}
	}
	for i := range h.Mirrors {
		m := &h.Mirrors[i]
		u, err := url.Parse(m.URL)
		if err != nil || u.Host == "" || u.Scheme == "http" || m.Reach != "" {
			continue
		}
		d := "TLS handshake with " + u.Host
		s.doing.Store(&d)
		var ca []*x509.Certificate
		for _, p := range m.CAs {
			if b, err := l.root.read(p, 1<<20); err == nil {
				certs, _ := parseCerts(b)
				ca = append(ca, certs...)
			}
		}
		r := reach(ctx, u.Host, u.Hostname(), ca, true)
		m.Reach, m.ReachError = r.result, strings.TrimSpace(r.text)
		if r.leaf != nil {
			m.Issuer, m.Subject, m.NotBefore, m.NotAfter = r.leaf.Issuer.String(), r.leaf.Subject.String(), r.leaf.NotBefore, r.leaf.NotAfter
		}
	}
}
