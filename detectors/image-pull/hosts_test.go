package imagepull

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

const host = "registry.example.test:5000"

// Each form of a hosts.toml gets what it needs, keeps the rest, and is the same after a second time.
func TestHostsEdit(t *testing.T) {
	const (
		own    = "https://" + host
		mirror = "https://mirror.example.test"
	)
	trust := hostsEdit{url: own, orServer: true, cas: []string{"/c/ca.crt"}}
	atMirror := hostsEdit{url: mirror, cas: []string{"/c/ca.crt"}}
	without := hostsEdit{drop: []string{mirror}}
	for name, c := range map[string]struct {
		edit     hostsEdit
		in, want string // want "" is a refusal
	}{
		"only server":           {trust, "server = \"" + own + "\"\n", "ca = [\"/c/ca.crt\"]\nserver = \"" + own + "\"\n"},
		"only a comment":        {trust, "# [host.\"" + own + "\"]\n", "ca = [\"/c/ca.crt\"]\n# [host.\"" + own + "\"]\n"},
		"empty":                 {trust, "", "ca = [\"/c/ca.crt\"]\n"},
		"server with ca":        {trust, "server = \"" + own + "\"\nca = \"old.crt\"\n", "ca = [\"/c/ca.crt\"]\nserver = \"" + own + "\"\n"},
		"a host of its own":     {trust, "server = \"x\"\n\n[host.\"" + own + "\"] # ours\n  capabilities = [\"pull\"]\n", "server = \"x\"\n\n[host.\"" + own + "\"] # ours\n  ca = [\"/c/ca.crt\"]\n  capabilities = [\"pull\"]\n"},
		"single quotes":         {trust, "[ host . '" + own + "' ]\n", "[ host . '" + own + "' ]\n  ca = [\"/c/ca.crt\"]\n"},
		"ca as a list of lines": {trust, "[host.\"" + own + "\"]\nca = [\n  \"a\",\n  \"b\"\n]\nskip_verify = false\n", "[host.\"" + own + "\"]\n  ca = [\"/c/ca.crt\"]\nskip_verify = false\n"},
		"client pairs": {trust, "[host.\"" + own + "\"]\nclient = [\n  [\"a\", \"b\"],\n]\nca = \"x\"\n",
			"[host.\"" + own + "\"]\n  ca = [\"/c/ca.crt\"]\nclient = [\n  [\"a\", \"b\"],\n]\n"},
		"not another host's":   {atMirror, "ca = \"o\"\n[host.\"" + own + "\"]\n ca = \"x\"\n[host.\"" + mirror + "\"]\n", "ca = \"o\"\n[host.\"" + own + "\"]\n ca = \"x\"\n[host.\"" + mirror + "\"]\n  ca = [\"/c/ca.crt\"]\n"},
		"not a header's table": {atMirror, "[host.\"" + mirror + "\".header]\n  ca = \"x\"\n", ""},
		"no such host":         {atMirror, "server = \"x\"\n", ""},
		"a longer name":        {atMirror, "[host.\"" + mirror + ":8443\"]\n", ""},
		"a mirror out": {without, "server = \"x\"\n[host.\"" + mirror + "\"]\n ca = [\n \"a\"]\n[host.\"" + mirror + "\".header]\n k = \"v\"\n[host.\"http://two\"]\n skip_verify = true\n",
			"server = \"x\"\n[host.\"http://two\"]\n skip_verify = true\n"},
		"and the server with it": {hostsEdit{drop: []string{mirror}, dropServer: true, cas: []string{"/c/ca.crt"}}, "# ours\nserver = \"" + mirror + "\"\n[host.\"" + mirror + "\"]\n[host.\"http://two\"]\n",
			"ca = [\"/c/ca.crt\"]\n# ours\n[host.\"http://two\"]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, refused := detectorstest.Edit(t, c.in, "", func(file string) v1alpha1.Step { return c.edit.step("n", "w", file, "") })
			if c.want == "" && c.in != "" {
				if !strings.Contains(refused, "by hand") {
					t.Errorf("it did not refuse: %q %s", got, refused)
				}
			} else if got != c.want {
				t.Errorf("got\n%s\nwant\n%s%s", got, c.want, refused)
			}
		})
	}
}

// What the remedy of an untrusted certificate does to the forms that certs.d may have.
func TestTrustRemedy(t *testing.T) {
	const dir = certsDir + "/" + host
	file := func(d string) string { return certsDir + "/" + d + "/hosts.toml" }
	at := func(u string, cas ...string) v1alpha1.RegistryMirror {
		return v1alpha1.RegistryMirror{URL: u, CAs: cas, Reach: "tls-untrusted", Chain: []v1alpha1.ShownCertificate{{SHA256: "1111"}}}
	}
	for name, c := range map[string]struct {
		hosts    *v1alpha1.RegistryHost
		asked    string
		has, not []string
	}{
		"no certs.d":                 {nil, host, []string{"on " + dir + "/ca.crt", "on " + dir + "/hosts.toml", `cas='"` + dir + `/ca.crt"'`}, []string{"host=registry"}},
		"docker.io keeps its server": {nil, "registry-1.docker.io", []string{"connect registry-1.docker.io:443", "on " + dir + "/hosts.toml"}, []string{"host=registry"}},
		"certificates in a directory without hosts.toml": {&v1alpha1.RegistryHost{Host: host, CAs: []string{dir + "/own.crt"}, Mirrors: []v1alpha1.RegistryMirror{at("https://"+host, dir+"/own.crt")}}, host,
			[]string{"on " + dir + "/own.crt"}, []string{"hosts.toml"}},
		"the CA that is named": {&v1alpha1.RegistryHost{Host: host, Path: file(host), CAs: []string{dir + "/ours.crt"}, Mirrors: []v1alpha1.RegistryMirror{at("https://"+host, dir+"/ours.crt")}}, host,
			[]string{"on " + dir + "/ours.crt"}, []string{"url="}},
		"a CA that is not there": {&v1alpha1.RegistryHost{Host: host, Path: file(host), CAs: []string{dir + "/a.crt", dir + "/gone.crt"}, MissingCAs: []string{dir + "/gone.crt"}, Mirrors: []v1alpha1.RegistryMirror{at("https://"+host, dir+"/a.crt", dir+"/gone.crt")}}, host,
			[]string{"on " + dir + "/gone.crt"}, []string{"url="}},
		"two that are not there": {&v1alpha1.RegistryHost{Host: host, Path: file(host), CAs: []string{dir + "/b.crt", "/gone.crt"}, MissingCAs: []string{dir + "/b.crt", "/gone.crt"}, Mirrors: []v1alpha1.RegistryMirror{at("https://"+host, dir+"/b.crt", "/gone.crt")}}, host,
			[]string{"on " + dir + "/b.crt", `ca='["` + dir + `/b.crt"]'`}, nil},
		"a CA of the system's is not written over": {&v1alpha1.RegistryHost{Host: host, Path: file(host), CAs: []string{"/etc/ssl/x.crt"}, Mirrors: []v1alpha1.RegistryMirror{at("https://"+host, "/etc/ssl/x.crt")}}, host,
			[]string{"on " + dir + "/ca.crt", `ca='["/etc/ssl/x.crt", "` + dir + `/ca.crt"]'`, "orserver=1"}, nil},
		"the mirror's CA is not the server's": {&v1alpha1.RegistryHost{Host: host, Path: file(host), Server: "https://" + host, CAs: []string{dir + "/mirror.crt"}, Mirrors: []v1alpha1.RegistryMirror{at("https://mirror", dir+"/mirror.crt")}}, host,
			[]string{"on " + dir + "/ca.crt", "url=https://" + host, "orserver=1"}, []string{"on " + dir + "/mirror.crt"}},
		"a mirror without a CA": {&v1alpha1.RegistryHost{Host: host, Path: file(host), Mirrors: []v1alpha1.RegistryMirror{at("https://mirror")}}, "mirror",
			[]string{"url=https://mirror", "orserver=''", "on " + file(host)}, nil},
		"a mirror of _default": {&v1alpha1.RegistryHost{Host: host, Path: file("_default"), Mirrors: []v1alpha1.RegistryMirror{at("https://mirror")}}, "mirror",
			[]string{"on " + certsDir + "/_default/ca.crt", "on " + file("_default")}, []string{dir}},
		"a registry behind _default": {&v1alpha1.RegistryHost{Host: host, Path: file("_default"), Mirrors: []v1alpha1.RegistryMirror{at("https://mirror")}}, host,
			[]string{"from=" + certsDir + "/_default\n", "on " + dir + "/hosts.toml", "on " + dir + "/server.crt"}, []string{"on " + file("_default")}},
		"an address of version 6": {nil, "[fd00::1]:5000", []string{"connect '[fd00::1]:5000' -servername fd00::1"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := &v1alpha1.Observation{Node: "n", API: &v1alpha1.API{}}
			ask := pull{image: host + "/x:1", host: host, message: "x509: certificate signed by unknown authority"}
			if f := untrusted(v1alpha1.History{*o}, ask, c.hosts, c.asked); f.Remedy != nil || !strings.Contains(f.ManualAction, "--trust-ca sha256:") {
				t.Fatalf("trusted because it answered: %+v %s", f.Remedy, f.ManualAction)
			}
			o.TrustedCAs = []v1alpha1.TrustedCA{{SHA256: "1111"}}
			f := untrusted(v1alpha1.History{*o}, pull{image: host + "/x:1", host: host, message: "x509: certificate signed by unknown authority"}, c.hosts, c.asked)
			if f.Remedy == nil {
				t.Fatalf("no remedy: %+v", f)
			}
			script := ""
			for _, s := range f.Remedy.Steps {
				script += detectorstest.Expanded(s) + "\n"
			}
			for _, want := range c.has {
				if !strings.Contains(script, want) {
					t.Errorf("no %q in\n%s", want, script)
				}
			}
			for _, not := range c.not {
				if strings.Contains(script, not) {
					t.Errorf("%q in\n%s", not, script)
				}
			}
		})
	}
}

// Taking a mirror out leaves the good ones, and the files of other registries, as they are.
func TestRemoveMirror(t *testing.T) {
	const dir = certsDir + "/" + host
	bad, good := v1alpha1.RegistryMirror{URL: "https://bad"}, v1alpha1.RegistryMirror{URL: "https://good"}
	o := &v1alpha1.Observation{Node: "n"}
	for name, c := range map[string]struct {
		hosts    v1alpha1.RegistryHost
		has, not []string
	}{
		"the only one":            {v1alpha1.RegistryHost{Path: dir + "/hosts.toml", Mirrors: []v1alpha1.RegistryMirror{bad}}, []string{"mv -T --backup=numbered -- " + dir + "/hosts.toml"}, nil},
		"the only one, with a CA": {v1alpha1.RegistryHost{Path: dir + "/hosts.toml", Server: "https://bad", CAs: []string{"/c"}, Mirrors: []v1alpha1.RegistryMirror{bad}}, []string{"host=" + host, `cas='"/c"'`}, nil},
		"one of two":              {v1alpha1.RegistryHost{Path: dir + "/hosts.toml", Mirrors: []v1alpha1.RegistryMirror{bad, good}}, []string{"drop=' https://bad '", "dropserver=''"}, []string{"rm -f --"}},
		"one of two, and server":  {v1alpha1.RegistryHost{Path: dir + "/hosts.toml", Server: "https://bad", CAs: []string{"/c", "/gone"}, MissingCAs: []string{"/gone"}, Mirrors: []v1alpha1.RegistryMirror{bad, good}}, []string{"dropserver=1", `ca='["/c"]'`}, nil},
		"the only one of _default": {v1alpha1.RegistryHost{Path: certsDir + "/_default/hosts.toml", CAs: []string{"/c"}, Mirrors: []v1alpha1.RegistryMirror{bad}},
			[]string{"mv -T --backup=numbered -- " + certsDir + "/_default/hosts.toml"}, []string{host}},
		"one of two of _default": {v1alpha1.RegistryHost{Path: certsDir + "/_default/hosts.toml", CAs: []string{"/c"}, Mirrors: []v1alpha1.RegistryMirror{bad, good}}, []string{"drop=' https://bad '", "ca=''\n"}, []string{host}},
		"unreadable":             {v1alpha1.RegistryHost{Path: dir + "/hosts.toml", Error: "line 2"}, []string{"mv -T --backup=numbered -- " + dir + "/hosts.toml"}, []string{"rm -f --"}},
	} {
		t.Run(name, func(t *testing.T) {
			step := detectorstest.Expanded(removeMirror(o, &c.hosts, host, []string{"bad"}))
			for _, want := range c.has {
				if !strings.Contains(step, want) {
					t.Errorf("no %q in\n%s", want, step)
				}
			}
			for _, not := range c.not {
				if strings.Contains(step, not) {
					t.Errorf("%q in\n%s", not, step)
				}
			}
		})
	}
}

// trustCA against a real TLS server: the CA comes into the file, by its fingerprint and from where it is known, one that was renewed in
// the place of the old one; asked twice the file is the same.
func TestTrustCA(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip(err)
	}
	t.Setenv("SSL_CERT_FILE", "/dev/null") // the system's CAs have no part in it
	ca := func(name string) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		c, _ = x509.ParseCertificate(der)
		return c, key
	}
	text := func(c *x509.Certificate) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	signer, key := ca("registry CA")
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "registry"}, NotBefore: signer.NotBefore, NotAfter: signer.NotAfter, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, signer, leafKey.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der, signer.Raw}, PrivateKey: leafKey}}}
	server.StartTLS()
	defer server.Close()
	sum := func(c *x509.Certificate) string {
		s := sha256.Sum256(c.Raw)
		return hex.EncodeToString(s[:])
	}
	known := filepath.Join(t.TempDir(), "known.crt")
	word := v1alpha1.TrustedCA{SHA256: sum(signer)}
	old, _ := ca("registry CA")
	other, _ := ca("another CA")
	for name, c := range map[string]struct{ in, want string }{
		"new":            {"", text(signer)},
		"renewed":        {text(old), text(signer)},
		"beside another": {text(other) + text(old), text(other) + text(signer)},
		"no certificate": {"not yet\n", text(signer)},
		"there already":  {text(other) + text(signer), text(other) + text(signer)},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "certs.d", "x", "ca.crt")
			if c.in != "" {
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(c.in), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(known, []byte("# ours\n"+text(other)+text(signer)), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, word := range []v1alpha1.TrustedCA{{SHA256: sum(signer)}, {SHA256: sum(signer)}, {SHA256: sum(signer), Path: known}, {SHA256: sum(signer), DER: base64.StdEncoding.EncodeToString(signer.Raw)}} {
				if out, err := detectorstest.Script(t, trustCA("n", "w", server.Listener.Addr().String(), "127.0.0.1", word, file).Exec, ""); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				if got, _ := os.ReadFile(file); string(got) != c.want {
					t.Errorf("got\n%s\nwant\n%s", got, c.want)
				}
			}
		})
	}
	// What is shown and nobody vouched for is not trusted.
	if out, err := detectorstest.Script(t, trustCA("n", "w", server.Listener.Addr().String(), "127.0.0.1", v1alpha1.TrustedCA{SHA256: sum(other)}, filepath.Join(t.TempDir(), "ca.crt")).Exec, ""); err == nil {
		t.Errorf("another certificate is trusted: %s", out)
	}
	// The file is as it was where the server does not verify with what it shows: here another CA stands above its certificate.
	file := filepath.Join(t.TempDir(), "ca.crt")
	liar := httptest.NewUnstartedServer(http.NotFoundHandler())
	liar.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der, other.Raw}, PrivateKey: leafKey}}}
	liar.StartTLS()
	defer liar.Close()
	if err := os.WriteFile(file, []byte(text(old)), 0o600); err != nil {
		t.Fatal(err)
	}
	edit := trustCA("n", "w", liar.Listener.Addr().String(), "127.0.0.1", v1alpha1.TrustedCA{SHA256: sum(other)}, file)
	if out, err := detectorstest.Script(t, edit.Exec, ""); err == nil {
		t.Errorf("it does not verify, and all is well: %s", out)
	}
	if got, _ := os.ReadFile(file); string(got) != text(old) {
		t.Errorf("the file is not as it was: %s", got)
	}
	file = filepath.Join(t.TempDir(), "ca.crt")
	server.Close()
	if out, err := detectorstest.Script(t, trustCA("n", "w", server.Listener.Addr().String(), "127.0.0.1", word, file).Exec, ""); err == nil {
		t.Errorf("nobody listens, and all is well: %s", out)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("and a file was written")
	}
}

func TestWriteHosts(t *testing.T) {
	for at, want := range map[string]string{
		"":   "ca = [\"/a%s.crt\", \"/b.crt\"]\n",
		host: "server = \"https://" + host + "\"\n\n[host.\"https://" + host + "\"]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = [\"/a%s.crt\", \"/b.crt\"]\n",
	} {
		got, why := detectorstest.Edit(t, "was = 1\n", "", func(file string) v1alpha1.Step {
			return writeHosts("n", "w", file, at, []string{"/a%s.crt", "/b.crt"})
		})
		if got != want {
			t.Errorf("got\n%s\nwant\n%s%s", got, want, why)
		}
	}
}
