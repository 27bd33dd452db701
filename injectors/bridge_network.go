package injectors

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"path"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var bridgeNetwork = Mechanism{
	Name: "bridge-network",
	Doc:  "gives new pods of the node a port on a Linux bridge, as many networks do; kind's own gives each a link of its own (a preparation)",
	New:  func() Params { return &BridgeNetwork{} },
}

// BridgeNetwork has no parameters: the pods' range is a part of the node's own, so that routes to it are there.
type BridgeNetwork struct{}

const (
	bridgeName  = "cni0"
	bridgeState = "/run/cni-bridge"
	// bridgeBits makes a block of 13 pods' addresses; a scenario has six. A subnet of its own and not the node's: pods that have
	// their network by other means would be looked for on the bridge.
	bridgeBits = 28
	// bridgeOriginal is where the network's agent would have its configuration from.
	bridgeOriginal = "/usr/local/share/cni-bridge/00-bridge.conflist"
)

// bridgePlugin is a CNI plugin of type bridge, for kind's node image, which has none; sickbay's has the reference one.
//
//go:embed bridge_plugin.sh
var bridgePlugin []byte

func (*BridgeNetwork) Validate() error { return nil }

func (*BridgeNetwork) Plan(ctx context.Context, n Node) (*Plan, error) {
	unsupported := bridgeNetwork.unsupportedf
	for _, tool := range []string{"ip", "jq", "nsenter"} {
		if err := haveTool(ctx, n, tool); err != nil {
			return nil, unsupported("the node has no %s", tool)
		}
	}
	if _, err := n.Sys.Stat("/proc/sys/net/bridge/bridge-nf-call-iptables"); err != nil {
		return nil, unsupported("the kernel has no br_netfilter: %v", err)
	}
	conf, err := readConflist(n, cniDir)
	if err != nil {
		return nil, unsupported("%v", err)
	}
	ranges, err := conf.hostLocal(n)
	if err != nil {
		return nil, unsupported("%v", err)
	}
	block, ok := freeBlock(ranges[0])
	if !ok {
		return nil, unsupported("the node's pod subnet %s has no free block of %d addresses", ranges[0].subnet, 1<<(32-bridgeBits))
	}
	text, err := json.MarshalIndent(bridgeConflist(block), "", "  ")
	if err != nil {
		return nil, err
	}
	text = append(text, '\n')

	p := &Plan{}
	if _, err := n.Sys.Stat("/opt/cni/bin/bridge"); errors.Is(err, fs.ErrNotExist) {
		p.Ops = append(p.Ops, &op.File{Path: "/opt/cni/bin/bridge", Data: bridgePlugin, Mode: 0o755, Rename: true})
	} else if err != nil {
		return nil, err
	}
	p.Ops = append(p.Ops,
		&op.Bridge{Name: bridgeName, Address: netip.PrefixFrom(block.Addr().Next(), bridgeBits).String(), State: bridgeState},
		&op.OwnDir{Path: path.Dir(bridgeOriginal)},
		&op.File{Path: bridgeOriginal, Data: text, Mode: 0o644},
		// Before whatever the node's own is called.
		&op.File{Path: path.Join(cniDir, "00-bridge.conflist"), Data: text, Mode: 0o600, Theirs: true},
	)
	return p, nil
}

// freeBlock is the highest block of the subnet in which no address is taken: reservations grow from below. The subnet's last
// block has its broadcast address.
func freeBlock(r addressRange) (netip.Prefix, bool) {
	var best netip.Prefix
	for a := r.subnet.Addr(); r.subnet.Contains(a); {
		block := netip.PrefixFrom(a, bridgeBits)
		free := true
		next := a
		for ; block.Contains(next); next = next.Next() {
			free = free && !r.taken[next.String()]
		}
		if free && r.subnet.Contains(next) && a != r.subnet.Addr() {
			best = block
		}
		a = next
	}
	return best, best.IsValid()
}

func bridgeConflist(block netip.Prefix) any {
	type object map[string]any
	return object{
		"cniVersion": "1.0.0", "name": "bridge-net",
		"plugins": []object{{
			"type": "bridge", "bridge": bridgeName, "isGateway": true, "hairpinMode": true,
			"ipam": object{
				"type": "host-local", "dataDir": bridgeState, "routes": []object{{"dst": "0.0.0.0/0"}},
				"ranges": [][]object{{{"subnet": block.String(), "gateway": block.Addr().Next().String()}}},
			},
		}},
	}
}
