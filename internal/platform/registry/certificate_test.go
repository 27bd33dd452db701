package registry

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"
)

// Each kind of certificate fails in its own way and in no other, and only the good one passes.
func TestCertificates(t *testing.T) {
	now := time.Now()
	ca, err := newAuthority(now)
	if err != nil {
		t.Fatal(err)
	}
	old, err := newAuthority(now.AddDate(0, -11, 0))
	if err != nil {
		t.Fatal(err)
	}
	const host = "registry.r.test"
	verify := func(kind Certificate, by *authority) error {
		chain, key, err := ca.certificate(now, kind, host)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(chain, key)
		if err != nil {
			t.Fatal(err)
		}
		if len(pair.Certificate) != 2 {
			t.Fatalf("the server shows %d certificates: want its own and the CA's", len(pair.Certificate))
		}
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(by.cert)
		_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now})
		return err
	}
	for _, c := range []struct {
		name string
		kind Certificate
		by   *authority
		want string
	}{
		{"good", Good, ca, ""},
		{"the CA of before", Good, old, "certificate signed by unknown authority"},
		{"expired", Expired, ca, "certificate has expired"},
		{"another name", OtherName, ca, "certificate is valid for old-registry.r.test"},
	} {
		err := verify(c.kind, c.by)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	if ca.cert.Subject.String() != old.cert.Subject.String() {
		t.Error("the two CAs can be told by their names")
	}
}
