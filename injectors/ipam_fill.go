package injectors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/op"
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

func (i *IPAMFill) Validate() error {
	if i.Leave < 0 || i.Leave > mostAddresses {
		return fmt.Errorf("leave %d: want 0 to %d", i.Leave, mostAddresses)
	}
	return nil
}

func (i *IPAMFill) Plan(_ context.Context, n Node) (*Plan, error) {
	unsupported := ipamFill.unsupportedf
	conf, err := readConflist(n, cniDir)
	if err != nil {
		return nil, unsupported("%v", err)
	}
	ranges, err := conf.hostLocal(n)
	if err != nil {
		return nil, unsupported("%v", err)
	}
	plan := &Plan{}
	for _, r := range ranges {
		if r.subnet.Bits() < 20 {
			return nil, unsupported("the pod subnet %s has more than %d addresses", r.subnet, mostAddresses)
		}
		plan.Ops = append(plan.Ops, &op.Litter{Dir: r.dir, Names: i.free(r), Content: strings.Repeat("0ddba11", 10)[:64] + "\r\neth0"})
	}
	return plan, nil
}

// addressRange is one IPv4 subnet that host-local gives addresses from.
type addressRange struct {
	subnet netip.Prefix
	dir    string // of its reservations
	taken  map[string]bool
}

// hostLocal lists the IPv4 ranges of a configuration, at least one.
func (c conflist) hostLocal(n Node) ([]addressRange, error) {
	var out []addressRange
	for _, p := range c.Plugins {
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
			r := addressRange{subnet: net.Masked(), dir: path.Join(data, c.Name), taken: map[string]bool{}}
			// The plugin makes its folder with the first address it gives.
			names, err := n.Sys.List(r.dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("host-local's state: %w", err)
			}
			for _, t := range names {
				r.taken[t] = true
			}
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the CNI configuration %s has no host-local IPv4 range", c.Name)
	}
	return out, nil
}

// free lists the addresses of the subnet that are not taken, but for those to leave. The first is the gateway's, and the
// last the broadcast's; host-local gives out neither.
func (i *IPAMFill) free(r addressRange) []string {
	var out []string
	for a := r.subnet.Addr().Next().Next(); r.subnet.Contains(a.Next()); a = a.Next() {
		if !r.taken[a.String()] {
			out = append(out, a.String())
		}
	}
	return out[:max(0, len(out)-i.Leave)]
}
