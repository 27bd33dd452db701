package injectors

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"path"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var registryTrust = Mechanism{
	Name: "registry-trust",
	Doc:  "lets the node's runtime pull from a registry with a CA of its own: certs.d/HOST with ca.crt, and hosts.toml for containerd; undone, what was pulled goes too",
	New:  func() Params { return &RegistryTrust{} },
}

// RegistryTrust are the parameters of registry-trust.
type RegistryTrust struct {
	// Host is the registry, with its port unless that is 443.
	Host string `json:"host"`
	// CA is the PEM of who signed its certificate.
	CA string `json:"ca"`
	// Dir is where the runtime looks; empty for its own: containerd's config_path, or /etc/containers/certs.d of CRI-O.
	Dir string `json:"dir,omitempty"`
}

func (r *RegistryTrust) Validate() error {
	u, err := url.Parse("https://" + r.Host)
	if err != nil || r.Host == "" || u.Host != r.Host {
		return fmt.Errorf("host %q: want a registry's host, such as registry.example.com or registry.example.com:5000", r.Host)
	}
	if r.CA == "" {
		return fmt.Errorf("ca: want the PEM of who signed the certificate of %s", r.Host)
	}
	if r.Dir == "" {
		return nil
	}
	return absolute(r.Dir)
}

// Plan implements Params. The runtime reads both files at every pull: nothing is restarted. Whoever mends trust writes into the same
// folder: it goes as a whole.
func (r *RegistryTrust) Plan(_ context.Context, n Node) (*Plan, error) {
	cri := op.CRIOf(n.Sys)
	dir := path.Join(cmp.Or(r.Dir, cri.Certs), r.Host)
	ca := path.Join(dir, "ca.crt")
	hosts := fmt.Sprintf("server = \"https://%[1]s\"\n\n[host.\"https://%[1]s\"]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = [\"%[2]s\"]\n", r.Host, ca)
	p := &Plan{Ops: []op.Op{&op.Images{Registry: r.Host}, &op.OwnDir{Path: dir}, &op.File{Path: ca, Data: []byte(r.CA), Mode: 0o644}}}
	if cri == op.Containerd { // CRI-O trusts every *.crt in the folder
		p.Ops = append(p.Ops, &op.File{Path: path.Join(dir, "hosts.toml"), Data: []byte(hosts), Mode: 0o644})
	}
	return p, nil
}
