package registry

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// caName is on every CA made here: one that replaced another cannot be told by its name.
const caName = "Registry CA"

// authority is a CA that lives as long as a run does.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	t, err := template(now)
	if err != nil {
		return nil, err
	}
	t.Subject = pkix.Name{CommonName: caName}
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	return &authority{cert, key}, nil
}

// template is valid from yesterday, so that clocks which differ do not matter, for a year.
func template(now time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return &x509.Certificate{SerialNumber: serial, NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(1, 0, 0)}, nil
}

// certificate is what a server shows and the key to it, as PEM: the chain as well, as a server should.
func (a *authority) certificate(now time.Time, kind Certificate, host string) (chain, key []byte, err error) {
	t, err := template(now)
	if err != nil {
		return nil, nil, err
	}
	t.Subject = pkix.Name{CommonName: host}
	t.DNSNames = []string{host}
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	switch kind {
	case Expired:
		t.NotBefore, t.NotAfter = now.AddDate(-1, 0, 0), now.Add(-time.Hour)
	case OtherName:
		t.Subject.CommonName, t.DNSNames = "old-"+host, []string{"old-" + host}
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make the key of %s: %w", host, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, k.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("make the certificate of %s: %w", host, err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, nil, fmt.Errorf("write the key of %s: %w", host, err)
	}
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
	return bytes.Join([][]byte{certPEM(der), certPEM(a.cert.Raw)}, nil), key, nil
}

func (a *authority) pem() string { return string(certPEM(a.cert.Raw)) }

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
