package injectors

import (
	"context"
	"fmt"
	"net/netip"
	"path"
	"strings"

	"github.com/sickbay-dev/sickbay/injectors/op"
)

var ipamFill = Mechanism{
	Name: "ipam-fill",
	Doc:  "reserves the rest of the node's pod addresses for containers that do not exist, as a leak of host-local does",
	New:  func() Params { return &IPAMFill{} },
}

// IPAMFill are the parameters of ipam-fill.
type IPAMFill struct {
	// Leave is how many addresses stay free.
	Leave int `json:"leave,omitempty"`
}

// mostAddresses bounds the files that are made: a /20.
const mostAddresses = 4096

// Validate implements Params.
func (i *IPAMFill) Validate() error {
	if i.Leave < 0 || i.Leave > mostAddresses {
		return fmt.Errorf("leave %d: want 0 to %d", i.Leave, mostAddresses)
	}
	return nil
}

// Plan implements Params.
func (i *IPAMFill) Plan(_ context.Context, n Node) (*Plan, error) {
	unsupported := func(format string, args ...any) error {
		return &UnsupportedError{Mechanism: ipamFill.Name, Reason: fmt.Sprintf(format, args...)}
	}
	conf, err := readConflist(n, cniDir)
	if err != nil {
		return nil, unsupported("%v", err)
	}
	plan := &Plan{}
	for _, p := range conf.Plugins {
		if p.IPAM.Type != "host-local" {
			continue
		}
		data := p.IPAM.DataDir
		if data == "" {
			data = "/var/lib/cni/networks"
		}
		subnets := []string{p.IPAM.Subnet}
		for _, r := range p.IPAM.Ranges {
			for _, s := range r {
				subnets = append(subnets, s.Subnet)
			}
		}
		for _, s := range subnets {
			net, err := netip.ParsePrefix(s)
			if err != nil || !net.Addr().Is4() {
				continue
			}
			if net.Bits() < 20 {
				return nil, unsupported("the pod subnet %s has more than %d addresses", net, mostAddresses)
			}
			dir := path.Join(data, conf.Name)
			taken, err := n.Sys.List(dir)
			if err != nil {
				return nil, unsupported("host-local's state: %v", err)
			}
			plan.Ops = append(plan.Ops, &op.Litter{Dir: dir, Names: i.free(net, taken), Content: strings.Repeat("0ddba11", 10)[:64] + "\r\neth0"})
		}
	}
	if len(plan.Ops) == 0 {
		return nil, unsupported("the CNI configuration %s has no host-local IPv4 range", conf.Name)
	}
	return plan, nil
}

// free lists the addresses of the subnet that are not taken, but for those to leave. The first is the gateway's, and the
// last the broadcast's; host-local gives out neither.
func (i *IPAMFill) free(net netip.Prefix, taken []string) []string {
	used := map[string]bool{}
	for _, t := range taken {
		used[t] = true
	}
	var out []string
	for a := net.Masked().Addr().Next().Next(); net.Contains(a.Next()); a = a.Next() {
		if !used[a.String()] {
			out = append(out, a.String())
		}
	}
	return out[:max(0, len(out)-i.Leave)]
}
