package injectors

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/sickbay-dev/sickbay/injectors/op"
)

var certificate = Mechanism{
	Name: "certificate",
	Doc:  "replaces the kubelet's client certificate, by one that has expired say, and restarts the kubelet",
	New: func() Params {
		return &Certificate{Path: "/var/lib/kubelet/pki/kubelet-client-current.pem", Restart: true}
	},
}

// Certificate are the parameters of certificate.
type Certificate struct {
	Path string `json:"path,omitempty"`
	// PEM is certificate and key. ExpiredClientCertificate makes it where the cluster's CA key is: on a control-plane node.
	PEM     string `json:"pem"`
	Restart bool   `json:"restart,omitempty"`
}

// Validate implements Params.
func (c *Certificate) Validate() error {
	if b, _ := pem.Decode([]byte(c.PEM)); b == nil {
		return errors.New("pem: want a certificate and its key in PEM form")
	}
	if err := notOurs(c.Path); err != nil {
		return err
	}
	return absolute(c.Path)
}

// Plan implements Params.
func (c *Certificate) Plan(_ context.Context, n Node) (*Plan, error) {
	if _, err := n.Sys.Stat(c.Path); err != nil {
		return nil, &UnsupportedError{Mechanism: certificate.Name, Reason: err.Error()}
	}
	f := &op.File{Path: c.Path, Data: []byte(c.PEM), Mode: 0o600, Rename: true}
	if !c.Restart {
		return &Plan{Ops: []op.Op{f}}, nil
	}
	return &Plan{Ops: restarting(kubeletUnit, f)}, nil
}

// ExpiredClientCertificate makes a kubelet's client certificate and key, signed by the cluster's CA (certificate and key in
// PEM form), that ended at notAfter.
func ExpiredClientCertificate(caCert, caKey []byte, node string, notAfter time.Time) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("making a client certificate for node %s: %w", node, err)
	}
	pair, err := tls.X509KeyPair(caCert, caKey)
	if err != nil {
		return fail(err)
	}
	ca, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return fail(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fail(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{Organization: []string{"system:nodes"}, CommonName: "system:node:" + node},
		NotBefore:    notAfter.AddDate(-1, 0, 0), NotAfter: notAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca, &key.PublicKey, pair.PrivateKey)
	if err != nil {
		return fail(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fail(err)
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(out, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})...), nil
}
