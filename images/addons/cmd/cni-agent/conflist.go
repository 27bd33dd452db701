package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// The parts of a CNI configuration list that ptp, host-local and portmap read.
type (
	networkList struct {
		CNIVersion string   `json:"cniVersion"`
		Name       string   `json:"name"`
		Plugins    []plugin `json:"plugins"`
	}
	plugin struct {
		Type         string          `json:"type"`
		MTU          int             `json:"mtu,omitempty"`
		IPMasq       *bool           `json:"ipMasq,omitempty"`
		IPAM         *ipam           `json:"ipam,omitempty"`
		Capabilities map[string]bool `json:"capabilities,omitempty"`
	}
	ipam struct {
		Type    string         `json:"type"`
		DataDir string         `json:"dataDir"`
		Routes  []route        `json:"routes"`
		Ranges  [][]ipamSubnet `json:"ranges"`
	}
	route struct {
		Dst string `json:"dst"`
	}
	ipamSubnet struct {
		Subnet string `json:"subnet"`
	}
)

func conflist(cidrs []netip.Prefix, mtu int) networkList {
	// Masquerading is the agent's own: by plugin it would need an iptables rule for every pod.
	noMasq := false
	addresses := &ipam{
		Type: "host-local",
		// On tmpfs, as in kind: addresses must not outlive a restart of the node, when every pod is gone.
		DataDir: "/run/cni-ipam-state",
	}
	for _, c := range cidrs {
		addresses.Ranges = append(addresses.Ranges, []ipamSubnet{{Subnet: c.String()}})
		if c.Addr().Is4() {
			addresses.Routes = append(addresses.Routes, route{Dst: "0.0.0.0/0"})
		} else {
			addresses.Routes = append(addresses.Routes, route{Dst: "::/0"})
		}
	}
	return networkList{CNIVersion: "1.0.0", Name: "sickbay", Plugins: []plugin{
		{Type: "ptp", MTU: mtu, IPMasq: &noMasq, IPAM: addresses},
		{Type: "portmap", Capabilities: map[string]bool{"portMappings": true}},
	}}
}

// writeConflist replaces the file's content. The new content is complete before it gets its name, and a write in place
// follows the rename: containerd watches the directory but ignores renames into it, so the file must also see a write.
func writeConflist(path string, list networkList) error {
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the CNI configuration: %w", err)
	}
	data = append(data, '\n')
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making room for the CNI configuration: %w", err)
	}
	// The temporary name ends in nothing containerd loads.
	next := path + ".next"
	if err := os.WriteFile(next, data, 0o644); err != nil {
		return fmt.Errorf("writing the CNI configuration: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("placing the CNI configuration: %w", err)
	}
	// Same bytes over themselves: at no moment does a reader see anything but a whole file.
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("touching the CNI configuration: %w", err)
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		f.Close()
		return fmt.Errorf("touching the CNI configuration: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("touching the CNI configuration: %w", err)
	}
	return nil
}
