package injectors_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/injectors"
)

// authority puts a CA on a node and returns a certificate of it for a subject.
func authority(t *testing.T, n *Node, subject pkix.Name) (ca *x509.Certificate, certPEM string) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, NotBefore: time.Now(), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, root, root, &caKey.PublicKey, caKey)
	must(err)
	ca, err = x509.ParseCertificate(der)
	must(err)
	keyDER, err := x509.MarshalECPrivateKey(caKey)
	must(err)
	must(n.MkdirAll("/etc/kubernetes/pki", 0o755))
	must(n.Write("/etc/kubernetes/pki/ca.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	must(n.Write("/etc/kubernetes/pki/ca.key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	der, err = x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: subject, NotBefore: time.Now(), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, ca, &key.PublicKey, caKey)
	must(err)
	return ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestSign(t *testing.T) {
	n := newNode()
	ca, old := authority(t, n, pkix.Name{Organization: []string{"system:nodes"}, CommonName: "system:node:a"})
	end := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	out, err := injectors.SignRequest{Certificate: old, NotAfter: end}.Sign(n)
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(out)
	if block == nil || block.Type != "CERTIFICATE" || len(rest) > 0 {
		t.Fatalf("not one certificate alone: %s", out)
	}
	got, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := pem.Decode([]byte(old))
	was, err := x509.ParseCertificate(before.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if !got.NotAfter.Equal(end) || got.Subject.String() != was.Subject.String() || !was.PublicKey.(*ecdsa.PublicKey).Equal(got.PublicKey) {
		t.Errorf("%s until %s", got.Subject, got.NotAfter)
	}
	if err := got.CheckSignatureFrom(ca); err != nil {
		t.Error(err)
	}
}

// TestSignMakesNothingUsable: an agent on a control-plane node must be no way to a credential.
func TestSignMakesNothingUsable(t *testing.T) {
	n := newNode()
	_, admin := authority(t, n, pkix.Name{Organization: []string{"system:masters"}, CommonName: "admin"})
	var wrong *injectors.RequestError
	past := time.Now().Add(-time.Hour)
	if _, err := (injectors.SignRequest{Certificate: admin, NotAfter: past}).Sign(n); !errors.As(err, &wrong) {
		t.Errorf("an administrator's: %v", err)
	}
	_, kubelet := authority(t, n, pkix.Name{Organization: []string{"system:nodes"}, CommonName: "system:node:a"})
	if _, err := (injectors.SignRequest{Certificate: kubelet, NotAfter: time.Now().Add(time.Hour)}).Sign(n); !errors.As(err, &wrong) {
		t.Errorf("one that is valid: %v", err)
	}
	var unsupported *injectors.UnsupportedError
	if err := n.Remove("/etc/kubernetes/pki/ca.key"); err != nil {
		t.Fatal(err)
	}
	if _, err := (injectors.SignRequest{Certificate: kubelet, NotAfter: past}).Sign(n); !errors.As(err, &unsupported) {
		t.Errorf("without the key: %v", err)
	}
}

// TestCertificateKeepsTheKeyOutOfTheRecord: a node's key is in its own files and in the journal's backup of them, nowhere else.
func TestCertificateKeepsTheKeyOutOfTheRecord(t *testing.T) {
	n := newNode()
	in := injectors.New(parts(n), "/agent")
	inj := injectors.Injection{ID: "a", Run: "r", Mechanism: "certificate"}
	st, err := in.Check(t.Context(), inj)
	if err != nil || st.Sign == nil || strings.Contains(st.Sign.Certificate, "PRIVATE KEY") {
		t.Fatalf("check: %+v, %v", st.Sign, err)
	}
	if _, err := in.Inject(t.Context(), inj); err == nil {
		t.Error("it was injected without a signed certificate")
	}
	inj.Signed = signed
	if _, err := in.Inject(t.Context(), inj); err != nil {
		t.Fatal(err)
	}
	now, err := n.Read("/var/lib/kubelet/pki/kubelet-client-1.pem")
	if err != nil || !strings.Contains(string(now), "Q0ND") || !strings.Contains(string(now), "EC PRIVATE KEY") {
		t.Errorf("the file has %q, %v", now, err)
	}
	record, err := n.Read(injectors.Root + "/journal/a/record.json")
	if err != nil || strings.Contains(string(record), "PRIVATE KEY") || strings.Contains(string(record), `"data"`) {
		t.Errorf("record: %v, %s", err, record)
	}
}
