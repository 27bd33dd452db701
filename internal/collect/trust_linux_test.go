package collect

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// authority is a CA that issues what a test wants.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return k
}

func newAuthority(t testing.TB, name string) authority {
	t.Helper()
	key := newKey(t)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	must(t, err)
	c, err = x509.ParseCertificate(der)
	must(t, err)
	return authority{c, key}
}

// issue makes a certificate for names, valid from and to these moments from now on.
func (a authority) issue(t testing.TB, from, to time.Duration, names ...string) tls.Certificate {
	t.Helper()
	key := newKey(t)
	c := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to)}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func pemOf(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func (a authority) pem() string { return pemOf(a.cert.Raw) }

// serve shakes hands on a port of its own.
func serve(t testing.TB, cert tls.Certificate) (address string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = c.(*tls.Conn).Handshake(); _, _ = io.Copy(io.Discard, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

// unused is an address at which nobody listens.
func unused(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, l.Close())
	return l.Addr().String()
}

func init() { log.SetOutput(io.Discard) }

func TestReach(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes the connection and says nothing
	must(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = plain.Close() })
	go func() {
		for {
			c, err := plain.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request"))
			_ = c.Close()
		}
	}()
	for _, c := range []struct {
		name, address string
		result        string
		trusted       bool
		text          string
	}{
		{"well", serve(t, ours.issue(t, -time.Hour, time.Hour, "127.0.0.1")), "ok", true, ""},
		{"of another authority", serve(t, theirs.issue(t, -time.Hour, time.Hour, "127.0.0.1")), "tls-untrusted", false, "issuer CN=theirs"},
		{"expired", serve(t, ours.issue(t, -2*time.Hour, -time.Hour, "127.0.0.1")), "tls-expired", true, "is valid from"},
		{"not yet valid", serve(t, ours.issue(t, time.Hour, 2*time.Hour, "127.0.0.1")), "tls-expired", true, "is valid from"},
		{"for another name", serve(t, ours.issue(t, -time.Hour, time.Hour, "registry.example")), "tls-name", true, "127.0.0.1"},
		// Untrusted comes first: that one is expired too would send people after the wrong thing.
		{"untrusted and expired", serve(t, theirs.issue(t, -2*time.Hour, -time.Hour, "127.0.0.1")), "tls-untrusted", false, ""},
		{"nobody listens", unused(t), "refused", false, "refused"},
		{"no TLS", plain.Addr().String(), "other", false, "tls:"},
		{"no answer", silent.Addr().String(), "timeout", false, "deadline"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			r := reach(t.Context(), c.address, "127.0.0.1", []*x509.Certificate{ours.cert}, false)
			if r.result != c.result || r.trusted != c.trusted || !strings.Contains(r.text, c.text) || (c.result == "ok") != (r.text == "") {
				t.Errorf("%+v", r)
			}
			if (r.leaf != nil) != (strings.HasPrefix(c.result, "tls-") || c.result == "ok") {
				t.Errorf("its certificate: %v", r.leaf)
			}
			if took := time.Since(began); took > reachWait+500*time.Millisecond {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestReachWithoutCA(t *testing.T) {
	address := serve(t, newAuthority(t, "nobody's").issue(t, -time.Hour, time.Hour, "127.0.0.1"))
	for _, system := range []bool{false, true} {
		if r := reach(t.Context(), address, "127.0.0.1", nil, system); r.result != "tls-untrusted" {
			t.Errorf("system %t: %+v", system, r)
		}
	}
}

func TestChains(t *testing.T) {
	root, middle, again := newAuthority(t, "root"), newAuthority(t, "middle"), newAuthority(t, "root")
	m := &x509.Certificate{SerialNumber: big.NewInt(3), Subject: middle.cert.Subject, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, m, root.cert, middle.key.Public(), root.key)
	must(t, err)
	m, err = x509.ParseCertificate(der)
	must(t, err)
	leafOf := func(a authority, from, to time.Duration) *x509.Certificate {
		c, err := x509.ParseCertificate(a.issue(t, from, to).Certificate[0])
		must(t, err)
		return c
	}
	list := func(c ...*x509.Certificate) []*x509.Certificate { return c }
	issued := root.issue(t, -time.Hour, time.Hour)
	leaf, err := x509.ParseCertificate(issued.Certificate[0])
	must(t, err)
	notCA := authority{leaf, issued.PrivateKey.(*ecdsa.PrivateKey)}
	below := leafOf(authority{m, middle.key}, -time.Hour, time.Hour)
	for name, c := range map[string]struct {
		c       *x509.Certificate
		between []*x509.Certificate
		ca      []*x509.Certificate
		want    bool
	}{
		"signed by it":                      {leaf, nil, list(root.cert), true},
		"by one of several":                 {leaf, nil, list(again.cert, root.cert), true},
		"by another of the same name":       {leaf, nil, list(again.cert), false},
		"no CA":                             {leaf, nil, nil, false},
		"itself":                            {root.cert, nil, list(root.cert), true},
		"over an intermediate":              {below, list(leaf, m), list(root.cert), true},
		"the intermediate is missing":       {below, nil, list(root.cert), false},
		"the intermediate alone":            {below, list(m, root.cert), list(again.cert), false},
		"a leaf is no CA":                   {leafOf(notCA, -time.Hour, time.Hour), list(leaf), list(root.cert), false},
		"expired before the CA was made":    {leafOf(root, -9*time.Hour, -8*time.Hour), nil, list(root.cert), true},
		"valid after the CA's own end only": {leafOf(root, 8*time.Hour, 9*time.Hour), nil, list(root.cert), true},
		"of a chain that turns in a circle": {again.cert, list(again.cert, again.cert), list(root.cert), false},
	} {
		if got := chains(c.c, c.between, c.ca); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

func TestDialResult(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, c := range []struct {
		err  error
		want string
	}{
		{dial(&net.DNSError{Err: "no such host", Name: "r", IsNotFound: true}), "dns"},
		{dial(&net.DNSError{Err: "i/o timeout", Name: "r", IsTimeout: true}), "dns"},
		{dial(syscall.ECONNREFUSED), "refused"},
		{dial(syscall.EHOSTUNREACH), "no-route"},
		{dial(syscall.ENETUNREACH), "no-route"},
		{dial(syscall.EINVAL), "no-route"}, // blackhole
		{dial(syscall.EACCES), "no-route"}, // prohibit
		{dial(context.DeadlineExceeded), "timeout"},
		{dial(syscall.ETIMEDOUT), "timeout"},
		{io.EOF, "other"},
	} {
		if got := dialResult(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}

func TestCertificates(t *testing.T) {
	ca, other := newAuthority(t, "kubernetes"), newAuthority(t, "other")
	client, stranger := ca.issue(t, -2*time.Hour, -time.Hour), other.issue(t, -time.Hour, time.Hour)
	const key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
	l := at(t, tree(t, map[string]string{
		clusterCA: ca.pem(), clientCert: key + pemOf(client.Certificate[0]), serverCert: pemOf(stranger.Certificate[0]),
	}))
	by := map[string]v1alpha1.Certificate{}
	o := read(t, l, l.certificates)
	for _, c := range o.Certs {
		by[c.Use] = c
	}
	if c := by["ca"]; c.Subject != "CN=kubernetes" || !c.ChainsToCA || len(c.SHA256) != 64 {
		t.Errorf("CA: %+v", c)
	}
	// An expired certificate still is the CA's: which of the two is wrong decides the finding.
	if c := by["kubelet-client"]; !c.ChainsToCA || !c.NotAfter.Before(time.Now()) || c.Issuer != "CN=kubernetes" {
		t.Errorf("client: %+v", c)
	}
	if c := by["kubelet-server"]; c.ChainsToCA {
		t.Errorf("server: %+v", c)
	}
	if b, _ := json.Marshal(o); bytes.Contains(b, []byte("c2VjcmV0")) {
		t.Error("the key was taken along")
	}

	for name, c := range map[string]struct{ content, want string }{
		"empty":   {"", "no certificate in it"},
		"garbage": {"-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n", "x509"},
		"missing": {"-", "no such file"},
	} {
		files := map[string]string{clusterCA: ca.pem()}
		if c.content != "-" {
			files[clientCert] = c.content
		}
		l := at(t, tree(t, files))
		certs := read(t, l, l.certificates).Certs
		if i := slices.IndexFunc(certs, func(c v1alpha1.Certificate) bool { return c.Use == "kubelet-client" }); i < 0 || !strings.Contains(certs[i].Error, c.want) {
			t.Errorf("%s: %+v", name, certs)
		}
		if len(certs) != 2 {
			t.Errorf("%s: a serving certificate is not on every node, and its absence is nothing: %+v", name, certs)
		}
	}
}

func kubeconfigText(server, ca, context string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: lab
  cluster: {server: %q, %s}
- name: old
  cluster: {server: "https://old:6443"}
contexts:
- name: node
  context: {cluster: lab, user: system:node:worker}
current-context: %s
users:
- name: system:node:worker
  user: {client-certificate: %s, client-key: %s, token: very-secret}
`, server, ca, context, clientCert, clientCert)
}

func TestKubeconfig(t *testing.T) {
	ca := newAuthority(t, "kubernetes")
	inline := "certificate-authority-data: " + base64.StdEncoding.EncodeToString([]byte(ca.pem()))
	const server = "https://cp:6443"
	there := map[string]string{clientCert: "x", clusterCA: ca.pem()}
	for _, c := range []struct {
		name  string
		text  string
		files map[string]string
		err   string // part of it
		check func(v1alpha1.Kubeconfig) bool
	}{
		{"well", kubeconfigText(server, inline, "node"), there, "", func(k v1alpha1.Kubeconfig) bool {
			return k.Exists && k.Server == server && k.CASubject == "CN=kubernetes" && len(k.CASHA256) == 64 && k.User == "system:node:worker" && k.ClientCert == clientCert
		}},
		{"CA in a file", kubeconfigText(server, "certificate-authority: "+clusterCA, "node"), there, "", func(k v1alpha1.Kubeconfig) bool { return k.CASubject == "CN=kubernetes" }},
		{"CA file is gone", kubeconfigText(server, "certificate-authority: /gone.crt", "node"), there, "certificate authority: open /gone.crt: no such file", nil},
		{"CA is no base64", kubeconfigText(server, "certificate-authority-data: '!!'", "node"), there, "certificate authority: illegal base64", nil},
		{"CA is no certificate", kubeconfigText(server, "certificate-authority-data: "+base64.StdEncoding.EncodeToString([]byte("x")), "node"), there, "no certificate in it", nil},
		{"no CA", kubeconfigText(server, "tls-server-name: api", "node"), there, "names no certificate authority", nil},
		{"no CA, and none is wanted", kubeconfigText(server, "insecure-skip-tls-verify: true", "node"), there, "", func(k v1alpha1.Kubeconfig) bool { return k.SkipVerify }},
		{"no server", kubeconfigText("", inline, "node"), there, `cluster "lab" has no server`, nil},
		{"no such context", kubeconfigText(server, inline, "gone"), there, `current-context "gone" is not among its contexts`, nil},
		{"client certificate is gone", kubeconfigText(server, inline, "node"), nil, "client certificate: stat " + clientCert + ": no such file", nil},
		{"empty", "\n", there, "the file is empty", nil},
		{"no YAML", "apiVersion: [\nclient-key-data: c2VjcmV0", there, "not valid YAML", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{kubeletConf: c.text}
			for p, b := range c.files {
				files[p] = b
			}
			l := at(t, tree(t, files))
			o := read(t, l, l.kubeconfigs)
			k := o.Kubelet.Kubeconfig
			if !strings.Contains(k.Error, c.err) || (c.err == "") != (k.Error == "") || !k.Exists {
				t.Errorf("%q, want %q", k.Error, c.err)
			}
			if c.err != "" && !strings.HasPrefix(k.Error, kubeletConf) {
				t.Errorf("it does not name the file: %s", k.Error)
			}
			if c.check != nil && !c.check(k) {
				t.Errorf("%+v", k)
			}
			if b, _ := json.Marshal(o); bytes.Contains(b, []byte("very-secret")) || bytes.Contains(b, []byte("c2VjcmV0")) {
				t.Errorf("a secret was taken along: %s", b)
			}
			if o.Kubelet.Bootstrap.Exists || o.Kubelet.Bootstrap.Error != "" {
				t.Errorf("bootstrap: %+v", o.Kubelet.Bootstrap)
			}
		})
	}
	l := at(t, tree(t, nil))
	if k := read(t, l, l.kubeconfigs).Kubelet.Kubeconfig; k.Exists || k.Error != "" || k.Path != kubeletConf {
		t.Errorf("none at all: %+v", k)
	}
}

func TestRegistries(t *testing.T) {
	ca, other := newAuthority(t, "ours"), newAuthority(t, "theirs")
	well := serve(t, ca.issue(t, -time.Hour, time.Hour, "127.0.0.1"))
	strange := serve(t, other.issue(t, -time.Hour, time.Hour, "127.0.0.1"))
	gone := unused(t)
	mirrored, elsewhere := unused(t), unused(t) // addresses: no name is looked up
	bare := serve(t, ca.issue(t, -time.Hour, time.Hour, "127.0.0.1"))
	odd := unused(t)
	const dir = "/etc/containerd/certs.d/"
	l := at(t, tree(t, map[string]string{
		dir + mirrored + "/hosts.toml": fmt.Sprintf("server = \"https://origin\"\nca = \"theirs.crt\"\n"+
			"[host.\"https://%s\"]\n  ca = \"ours.crt\"\n[host.\"https://%s\"]\n  ca = [\"ours.crt\", \"/gone.crt\"]\n[host.'https://%s']\n  skip_verify = true\n[host.\"http://%s\"]\n", well, strange, gone, gone),
		dir + mirrored + "/ours.crt":                             ca.pem(),
		dir + mirrored + "/theirs.crt":                           other.pem(),
		dir + well + "/hosts.toml":                               fmt.Sprintf("server = \"https://%s\"\nca = \"/etc/ours.crt\"\n", well),
		"/etc/ours.crt":                                          ca.pem(),
		dir + "broken/hosts.toml":                                "[host.\nAuthorization = \"Basic c2VjcmV0c2VjcmV0\"\n",
		dir + "without/":                                         "",
		dir + bare + "/ours.crt":                                 ca.pem(),
		dir + odd + "/hosts.toml":                                "server = \"https://not-this\"\n",
		dir + strings.Replace(odd, ":", "_", 1) + "_/hosts.toml": fmt.Sprintf("server = \"https://%s\"\nca = \"/etc/ours.crt\"\n", well),
		dir + "README":                                           "",
		dir + "idle/hosts.toml":                                  fmt.Sprintf("[host.\"https://%s\"]\n", well),
		dir + "_default/hosts.toml":                              fmt.Sprintf("[host.\"https://%s\"]\n", gone),
	}))
	for _, h := range []string{mirrored, well, strange, elsewhere, bare, odd} {
		l.failedPulls = append(l.failedPulls, failedPull{h, l.start})
	}
	by := map[string]v1alpha1.RegistryHost{}
	for _, r := range read(t, l, l.registries, l.reachRegistries).Registries {
		by[r.Host] = r
	}
	seen := func(host string) (out []string) {
		for _, m := range by[host].Mirrors {
			out = append(out, strings.TrimSpace(m.URL+" "+m.Reach))
		}
		return out
	}
	for host, want := range map[string][]string{
		// In the file's order. The CA of the server is not its mirrors'.
		mirrored:   {"https://" + well + " ok", "https://" + strange + " tls-untrusted", "https://" + gone + " refused", "http://" + gone},
		well:       {"https://" + well + " ok"},
		strange:    {"https://" + gone + " refused"}, // _default is for all that have nothing of their own
		elsewhere:  {"https://" + gone + " refused"},
		"_default": {"https://" + gone},
		bare:       {"https://" + bare + " ok"}, // without a hosts.toml the certificates beside it count, and _default does not
		odd:        {"https://" + well + " ok"}, // the directory with underscores comes first
		"idle":     {"https://" + well},         // nobody failed to pull from it, so nobody is asked
	} {
		if got := seen(host); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", host, got, want)
		}
	}
	m := by[mirrored]
	if m.Server != "https://origin" || !slices.Equal(m.MissingCAs, []string{"/gone.crt"}) || !m.Mirrors[2].SkipVerify || !slices.Contains(m.CAs, dir+mirrored+"/ours.crt") {
		t.Errorf("%+v", m)
	}
	if i := m.Mirrors[1]; i.Issuer != "CN=theirs" || i.NotAfter.IsZero() {
		t.Errorf("%+v", i)
	}
	if b := by["broken"]; !strings.HasPrefix(b.Error, dir+"broken/hosts.toml") || strings.Contains(b.Error, "c2Vj") {
		t.Errorf("%+v", b)
	}
	for _, no := range []string{"without", "README"} {
		if _, ok := by[no]; ok {
			t.Errorf("%s is no registry", no)
		}
	}

	l = at(t, tree(t, nil))
	l.failedPulls = []failedPull{{strange, l.start}}
	if r := read(t, l, l.registries, l.reachRegistries).Registries; len(r) != 1 || r[0].Mirrors[0].Reach != "tls-untrusted" || r[0].Path != "" {
		t.Errorf("no certs.d: %+v", r)
	}
}

// A CA counts for the host that it is kept for: that of another registry vouches for nobody else.
func TestKnownCA(t *testing.T) {
	ca := newAuthority(t, "theirs")
	host := serve(t, ca.issue(t, -time.Hour, time.Hour, "127.0.0.1"))
	const dir = "/etc/containerd/certs.d/"
	for file, want := range map[string]bool{
		dir + host + "/ca.crt":                               true,
		"/etc/docker/certs.d/" + host + "/x.pem":             true,
		"/etc/containers/certs.d/" + host + "/ca.crt":        true,
		"/usr/local/share/ca-certificates/ours.crt":          true,
		"/etc/pki/ca-trust/source/anchors/ours.pem":          true,
		"/etc/ours/named.crt.before":                         true,
		"/etc/ours/another.crt":                              false,
		dir + "another.example.test/ca.crt":                  false,
		dir + "_default/ca.crt":                              false,
		dir + "ca.crt":                                       false,
		"/etc/docker/certs.d/another.example.test/ca.crt":    false,
		"/etc/containers/certs.d/" + host + "0/ca.crt":       false,
		"/etc/containers/certs.d/" + host + "/x/ca.crt":      false,
		"/var/lib/kubelet/pods/1/volumes/etc/named.crt.else": false,
	} {
		l := at(t, tree(t, map[string]string{file: ca.pem(), "/etc/ours/named.crt": newAuthority(t, "ours").pem()}))
		m := v1alpha1.RegistryMirror{URL: "https://" + host, CAs: []string{"/etc/ours/named.crt"}}
		l.probe(t.Context(), &m)
		if got := m.Known != nil; got != want || m.Reach != "tls-untrusted" || got && m.Known.Path != file {
			t.Errorf("%s: %+v (%s)", file, m.Known, m.Reach)
		}
	}
}
