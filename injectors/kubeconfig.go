package injectors

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"time"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var kubeconfig = Mechanism{
	Name: "kubeconfig",
	Doc:  "damages the kubelet's kubeconfig: removes it, cuts it in half, or gives it another server or CA; restarts the kubelet",
	New: func() Params {
		return &Kubeconfig{Action: "corrupt", Path: "/etc/kubernetes/kubelet.conf", Restart: true}
	},
}

// Kubeconfig are the parameters of kubeconfig.
type Kubeconfig struct {
	// Action: remove, corrupt (cut in half), server (another address), ca (another CA of the same name).
	Action string `json:"action,omitempty" jsonschema:"enum=remove,enum=corrupt,enum=server,enum=ca"`
	// Server is the address for action server, such as https://127.0.0.1:1.
	Server string `json:"server,omitempty"`
	Path   string `json:"path,omitempty"`
	// Restart lets the kubelet read it: a running one has read it long ago.
	Restart bool `json:"restart,omitempty"`
}

func (k *Kubeconfig) Validate() error {
	switch {
	case !slices.Contains([]string{"remove", "corrupt", "server", "ca"}, k.Action):
		return fmt.Errorf("action %q: want remove, corrupt, server or ca", k.Action)
	case (k.Action == "server") != (k.Server != ""):
		return fmt.Errorf("server belongs to action server, and is wanted there")
	}
	return absolute(k.Path)
}

var (
	serverLine = regexp.MustCompile(`(?m)^(\s*server:\s*).*$`)
	caLine     = regexp.MustCompile(`(?m)^(\s*certificate-authority-data:\s*).*$`)
)

func (k *Kubeconfig) Plan(_ context.Context, n Node) (*Plan, error) {
	text, err := n.Sys.Read(k.Path)
	if err != nil {
		return nil, kubeconfig.unsupported(err.Error())
	}
	f := &op.File{Path: k.Path}
	switch k.Action {
	case "remove":
		f.Absent = true
	case "corrupt":
		f.Data = append(slices.Clip(text[:len(text)/2]), "\n  : [broken\n"...)
	case "server":
		if !serverLine.Match(text) {
			return nil, kubeconfig.unsupported(k.Path + " names no server")
		}
		f.Data = serverLine.ReplaceAll(text, []byte("${1}"+k.Server))
	case "ca":
		if !caLine.Match(text) {
			return nil, kubeconfig.unsupported(k.Path + " has no certificate-authority-data")
		}
		ca, err := strangeCA()
		if err != nil {
			return nil, err
		}
		f.Data = caLine.ReplaceAll(text, []byte("${1}"+base64.StdEncoding.EncodeToString(ca)))
	}
	if !k.Restart {
		return &Plan{Ops: []op.Op{f}}, nil
	}
	return &Plan{Ops: restarting(kubeletUnit, f)}, nil
}

// strangeCA makes a CA certificate of the cluster CA's name that has signed nothing.
func strangeCA() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a CA: %w", err)
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "kubernetes"},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("making a CA: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
