package injectors

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var certificate = Mechanism{
	Name: "certificate",
	Doc:  "replaces the kubelet's client certificate by one of the same key that has expired, signed by the cluster's CA; restarts the kubelet",
	New: func() Params {
		return &Certificate{Path: "/var/lib/kubelet/pki/kubelet-client-current.pem", Ended: "24h", Restart: true}
	},
}

// Certificate are the parameters of certificate.
type Certificate struct {
	// Path is certificate and key, or a link to them as the kubelet itself makes it.
	Path string `json:"path,omitempty"`
	// Ended is how long ago the certificate ended, such as "24h".
	Ended string `json:"ended,omitempty"`
	// Restart lets the kubelet read it: a running one holds the certificate it has read.
	Restart bool `json:"restart,omitempty"`
}

func (c *Certificate) Validate() error {
	if d, err := time.ParseDuration(c.Ended); err != nil || d < time.Minute || d > 10*365*24*time.Hour {
		return fmt.Errorf("ended %q: want a time between a minute and ten years, such as 24h", c.Ended)
	}
	if err := notOurs(c.Path); err != nil {
		return err
	}
	return absolute(c.Path)
}

// Plan implements Params. The key stays where it is: the CA signs the public key that the node's certificate has now.
func (c *Certificate) Plan(_ context.Context, n Node) (*Plan, error) {
	var text []byte
	target, _, err := op.LinkTarget(n.Sys, c.Path)
	if err == nil {
		text, err = n.Sys.Read(target)
	}
	if err != nil {
		return nil, certificate.unsupported(err.Error())
	}
	var cert []byte
	for rest := text; cert == nil; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, certificate.unsupported(c.Path + " holds no certificate")
		} else if block.Type == "CERTIFICATE" {
			cert = pem.EncodeToMemory(block)
		}
	}
	o := &op.ClientCert{Link: c.Path, Signed: bytes.TrimSpace([]byte(n.Signed))}
	p := &Plan{Ops: []op.Op{o}}
	if c.Restart {
		p.Ops = restarting(kubeletUnit, o)
	}
	if n.Signed == "" {
		ended, err := time.ParseDuration(c.Ended)
		if err != nil {
			return nil, err
		}
		p.Sign = &SignRequest{Certificate: string(cert), NotAfter: time.Now().Add(-ended).UTC().Truncate(time.Second)}
	}
	return p, nil
}
