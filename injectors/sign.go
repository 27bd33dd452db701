package injectors

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/sickbay-dev/sickbay/internal/op"
)

// SignRequest asks for a copy of a kubelet's client certificate that has ended: same name, same public key, no private key
// anywhere near.
type SignRequest struct {
	Certificate string    `json:"certificate"` // PEM of the certificate to copy
	NotAfter    time.Time `json:"notAfter"`
}

// Where kubeadm keeps the cluster's CA; only a control-plane node has the key.
const (
	caCertFile = "/etc/kubernetes/pki/ca.crt"
	caKeyFile  = "/etc/kubernetes/pki/ca.key"
)

// life of a kubelet's client certificate, as the controller manager signs it.
const life = 365 * 24 * time.Hour

// Sign signs with the CA of the node it runs on. It makes nothing that anybody could use: only copies of kubelets' client
// certificates, and only such as have ended.
func (r SignRequest) Sign(files interface {
	op.Files
	op.Filesystems
}) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("signing a client certificate that ended %s: %w", r.NotAfter.Format(time.RFC3339), err)
	}
	if err := Marked(files); err != nil {
		return fail(err)
	}
	block, _ := pem.Decode([]byte(r.Certificate))
	if block == nil || block.Type != "CERTIFICATE" {
		return fail(&RequestError{errors.New("there is no certificate to copy")})
	}
	old, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fail(&RequestError{err})
	}
	if !slices.Contains(old.Subject.Organization, "system:nodes") {
		return fail(&RequestError{fmt.Errorf("%s is no kubelet's", old.Subject)})
	}
	if !r.NotAfter.Before(time.Now()) {
		return fail(&RequestError{errors.New("it must have ended")})
	}
	caCert, err := files.Read(caCertFile)
	if err != nil {
		return fail(certificate.unsupported(err.Error()))
	}
	caKey, err := files.Read(caKeyFile)
	if err != nil {
		return fail(certificate.unsupported("the cluster's CA key is not on the control plane: " + err.Error()))
	}
	pair, err := tls.X509KeyPair(caCert, caKey)
	if err != nil {
		return fail(err)
	}
	ca, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return fail(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: old.Subject, NotBefore: r.NotAfter.Add(-life), NotAfter: r.NotAfter,
		KeyUsage: old.KeyUsage, ExtKeyUsage: old.ExtKeyUsage, BasicConstraintsValid: true,
	}, ca, old.PublicKey, pair.PrivateKey)
	if err != nil {
		return fail(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
