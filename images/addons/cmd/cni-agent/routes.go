package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// routeProtocol marks the agent's own routes (rt_protos gives no meaning to it), so that it removes no others.
const routeProtocol = netlink.RouteProtocol(0x5b)

// syncRoutes keeps one route per podCIDR of every other node, through that node's address.
func syncRoutes(self string, nodes []*corev1.Node) error {
	wanted := map[string]bool{}
	var errs []error
	for _, n := range nodes {
		if n.Name == self {
			continue
		}
		cidrs, err := podCIDRs(n)
		if err != nil {
			continue // it will be seen again when it has one
		}
		for _, c := range cidrs {
			via, ok := nodeAddr(n, c)
			if !ok {
				continue
			}
			wanted[c.String()] = true
			if err := netlink.RouteReplace(&netlink.Route{Dst: ipNet(c), Gw: via, Protocol: routeProtocol}); err != nil {
				errs = append(errs, fmt.Errorf("route to %s via %s (node %s): %w", c, via, n.Name, err))
			}
		}
	}
	present, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("listing routes: %w", err))...)
	}
	for _, r := range present {
		if r.Dst == nil || wanted[r.Dst.String()] {
			continue
		}
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("removing the route to %s: %w", r.Dst, err))
		}
	}
	return errors.Join(errs...)
}

// uplinkMTU is the MTU of the interface that holds the default route, or of a plain Ethernet where there is none.
func uplinkMTU() (int, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return 0, fmt.Errorf("looking for the default route: %w", err)
	}
	for _, r := range routes {
		if r.Dst != nil && !r.Dst.IP.IsUnspecified() || r.LinkIndex == 0 {
			continue
		}
		link, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			return 0, fmt.Errorf("reading the uplink: %w", err)
		}
		return link.Attrs().MTU, nil
	}
	return 1500, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
