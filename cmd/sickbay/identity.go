package main

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// plainHost is a host's name or address in the one form that others are compared in: lower case, without brackets, zone or the root's dot.
func plainHost(host string) string {
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().WithZone("").String()
	}
	return host
}

// nodeName is a name as Kubernetes has it; flag says where it was given.
func nodeName(flag, name string) (string, error) {
	plain := plainHost(name)
	if len(validation.IsDNS1123Subdomain(plain)) > 0 {
		return "", usagef("%s %q is no node's name: `kubectl get nodes` lists them", flag, text.Short(name, 80))
	}
	return plain, nil
}

// namesOfNodes refuses what can be no name or address: most likely a variable that is not set, or several in one.
func namesOfNodes(names []string) error {
	for _, n := range names {
		if plainHost(n) == "" {
			return usagef("the name of a node is empty")
		}
		if strings.ContainsFunc(n, unicode.IsSpace) {
			return usagef("%q is no node's name: name each node as a word of its own", text.Short(n, 80))
		}
	}
	return nil
}

// among finds the node that was meant: by its name, else by another way to write it, else as the API server knows it.
func among(want string, have []string, listed []corev1.Node) (string, bool) {
	if slices.Contains(have, want) {
		return want, true
	}
	var found []string
	for _, name := range have {
		if plainHost(name) == plainHost(want) {
			found = append(found, name)
		}
	}
	if len(found) == 1 {
		return found[0], true
	}
	name, ok := nodeAt(want, listed)
	return name, ok && slices.Contains(have, name)
}

// localName is the Kubernetes name of this machine: the one given, else its host name, as the kubelet has it.
func localName(given []string) (string, error) {
	if runtime.GOOS != "linux" {
		return "", usagef("--local: this machine runs %s and cannot be a node", runtime.GOOS)
	}
	if len(given) == 1 {
		return nodeName("--node", given[0])
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("find this machine's name: %w", err)
	}
	return strings.ToLower(name), nil
}

// sshName takes NODE=DESTINATION apart. Without NODE= the host is all that is known of the node's name, without the port of an
// ssh:// address.
func sshName(s string) (name, dest string, given bool) {
	if name, dest, ok := strings.Cut(s, "="); ok {
		return name, dest, true
	}
	if u, err := url.Parse(s); err == nil && u.Scheme == "ssh" {
		return u.Hostname(), s, false
	}
	return strings.Trim(s[strings.LastIndexByte(s, '@')+1:], "[]"), s, false
}

// withPort is HOST:PORT, which ssh takes for a host's name.
var withPort = regexp.MustCompile(`^([^@/]*@)?[^@/:\[\]]+:[0-9]+$`)

// nameOf is the Node of the API server that a host is, by its name, hostname label, addresses or provider ID. Where there is none, or no
// API server, the host's own name is a guess, and the kubelet's certificate will tell.
func (s *target) nameOf(ctx context.Context, host string, guessed map[string]bool) string {
	if s.kube != nil {
		ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(4*time.Second))
		defer cancel()
		if list, err := s.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); err == nil {
			if name, ok := nodeAt(host, list.Items); ok {
				return name
			}
		}
	}
	host = plainHost(host)
	guessed[host] = true
	return host
}

// nodeAt finds the one Node that a host is. The surest sign wins; one that fits several nodes is none.
func nodeAt(host string, nodes []corev1.Node) (string, bool) {
	host = plainHost(host)
	short, _, _ := strings.Cut(host, ".")
	if _, err := netip.ParseAddr(host); err == nil {
		short = host
	}
	if short == "" {
		return "", false
	}
	is := func(s string) bool { return plainHost(s) == host }
	for _, fits := range []func(n *corev1.Node) bool{
		func(n *corev1.Node) bool { return is(n.Name) },
		func(n *corev1.Node) bool { return is(n.Labels[corev1.LabelHostname]) },
		func(n *corev1.Node) bool {
			return slices.ContainsFunc(n.Status.Addresses, func(a corev1.NodeAddress) bool { return is(a.Address) })
		},
		func(n *corev1.Node) bool { return is(path.Base(n.Spec.ProviderID)) },
		func(n *corev1.Node) bool { return n.Name == short || n.Labels[corev1.LabelHostname] == short },
	} {
		var found []string
		for i := range nodes {
			if fits(&nodes[i]) {
				found = append(found, nodes[i].Name)
			}
		}
		if len(found) > 0 {
			return found[0], len(found) == 1
		}
	}
	return "", false
}

// noNode is the error of a node that a cluster does not have.
func noNode(c *cluster.Cluster, name string) error {
	var have []string
	for _, n := range c.Nodes() {
		have = append(have, n.Name)
	}
	return noName("cluster "+c.Name+" has no node", name, have)
}

// noName is the error of a name that is not among those there are, with the nearest ones and the first of all.
func noName(what, name string, have []string) *usageError {
	const most = 20
	list := strings.Join(have[:min(most, len(have))], ", ")
	if more := len(have) - most; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return &usageError{text: fmt.Sprintf("%s %q%s", what, text.Short(name, 80), text.Near(name, have, 2)), hint: "It has " + list + "."}
}
