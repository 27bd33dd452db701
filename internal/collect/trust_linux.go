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
	"net"
	"net/url"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

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
	l.mu.Lock()
	dir := cmp.Or(l.obs.Kubelet.CertDir, kubeletDir+"/pki")
	authority := cmp.Or(flagValue(l.obs.Kubelet.Flags, "client-ca-file"), clusterCA)
	l.mu.Unlock()
	for _, f := range []struct{ path, use string }{{authority, "ca"}, {dir + "/kubelet-client-current.pem", "kubelet-client"}, {dir + "/kubelet.crt", "kubelet-server"}} {
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
			Server        string `json:"server"`
			TLSServerName string `json:"tls-server-name"`
			SkipVerify    bool   `json:"insecure-skip-tls-verify"`
			ProxyURL      string `json:"proxy-url"`
			CAData        string `json:"certificate-authority-data"`
			CAFile        string `json:"certificate-authority"`
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
			Exec     struct {
				Command string `json:"command"`
			} `json:"exec"`
		} `json:"user"`
	} `json:"users"`
}

func (l *look) kubeconfigs(ctx context.Context, s *source) error {
	l.mu.Lock()
	flags := l.obs.Kubelet.Flags
	l.mu.Unlock()
	main, ca, err := l.kubeconfig(s, cmp.Or(flagValue(flags, "kubeconfig"), kubeletConf))
	if err != nil {
		return err
	}
	boot, _, err := l.kubeconfig(s, cmp.Or(flagValue(flags, "bootstrap-kubeconfig"), bootstrapConf))
	if err != nil {
		return err
	}
	// Through a proxy a handshake of this process says nothing of the kubelet's.
	if main.Server != "" && main.ProxyURL == "" && l.real() {
		d := "TLS handshake with " + main.Server
		s.doing.Store(&d)
		if u, err := url.Parse(main.Server); err == nil {
			r := reach(ctx, u.Host, cmp.Or(main.TLSServerName, u.Hostname()), ca, ca == nil)
			if main.SkipVerify && strings.HasPrefix(r.result, "tls-") {
				r.result, r.text, r.trusted = "ok", "", true
			}
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
	relative := func(p string) string { // as client-go's ResolveLocalPaths
		if path.IsAbs(p) {
			return p
		}
		return path.Join(path.Dir(k.Path), p)
	}
	var ca []*x509.Certificate
	for _, c := range f.Clusters {
		if c.Name != cluster {
			continue
		}
		k.Server, k.TLSServerName, k.SkipVerify, k.ProxyURL = c.Cluster.Server, c.Cluster.TLSServerName, c.Cluster.SkipVerify, proxyHost(c.Cluster.ProxyURL)
		data := []byte(nil)
		var err error
		switch {
		case c.Cluster.CAData != "":
			data, err = base64.StdEncoding.DecodeString(c.Cluster.CAData)
		case c.Cluster.CAFile != "":
			data, err = l.root.read(relative(c.Cluster.CAFile), 1<<20)
		case c.Cluster.SkipVerify:
			continue
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
	return ca, l.kubeconfigUser(f, user, relative, k)
}

// kubeconfigUser is how the kubelet proves who it is.
func (l *look) kubeconfigUser(f kubeconfigFile, user string, relative func(string) string, k *v1alpha1.Kubeconfig) error {
	for _, u := range f.Users {
		if u.Name != user {
			continue
		}
		switch {
		case u.User.CertFile != "":
			k.ClientCert = relative(u.User.CertFile)
			if _, err := l.root.stat(k.ClientCert); err != nil {
				return fmt.Errorf("client certificate: %w", err)
			}
		case u.User.CertData != "":
			k.ClientCert = "inline"
		case u.User.Exec.Command != "":
			k.Exec = u.User.Exec.Command
		}
	}
	return nil
}

// reached is what a TLS handshake gave.
type reached struct {
	result, text string
	trusted      bool // chain verifies against the CA, times and name left aside
	chain        []*x509.Certificate
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
	r := reached{result: "ok", leaf: certs[0], chain: certs}
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
