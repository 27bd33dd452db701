package main

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

const tableName = "sickbay-cni"

// masquerade gives pod traffic that leaves the cluster the node's address: source in a pod subnet, destination in none.
// One transaction replaces the whole table, so that no packet meets half a rule set.
func masquerade(subnets []netip.Prefix) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("opening netfilter: %w", err)
	}
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		var own []netip.Prefix
		for _, s := range subnets {
			if s.Addr().Is4() == (family == nftables.TableFamilyIPv4) {
				own = append(own, s)
			}
		}
		if len(own) == 0 {
			continue
		}
		table := &nftables.Table{Name: tableName, Family: family}
		conn.AddTable(table) // deleting a table that is not there would fail the transaction
		conn.DelTable(table)
		conn.AddTable(table)
		chain := conn.AddChain(&nftables.Chain{
			Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
		})
		for _, source := range own {
			match := inSubnet(source, sourceOffset(source), expr.CmpOpEq)
			for _, destination := range own {
				match = append(match, inSubnet(destination, destinationOffset(destination), expr.CmpOpNeq)...)
			}
			conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(match, &expr.Counter{}, &expr.Masq{Random: true, FullyRandom: true})})
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("writing nftables table %s: %w", tableName, err)
	}
	return nil
}

// Offsets of the addresses in the IPv4 and IPv6 headers.
func sourceOffset(p netip.Prefix) uint32 {
	if p.Addr().Is4() {
		return 12
	}
	return 8
}

func destinationOffset(p netip.Prefix) uint32 {
	if p.Addr().Is4() {
		return 16
	}
	return 24
}

func inSubnet(p netip.Prefix, offset uint32, op expr.CmpOp) []expr.Any {
	size := uint32(p.Addr().BitLen() / 8)
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()), Xor: make([]byte, size)},
		&expr.Cmp{Op: op, Register: 1, Data: p.Addr().AsSlice()},
	}
}
