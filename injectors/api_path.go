package injectors

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var apiPath = Mechanism{
	Name: "api-path",
	Doc:  "blocks the node's way to the API server, or to another address, in the node's own network namespace",
	New:  func() Params { return &APIPath{Verdict: "reject"} },
}

// APIPath are the parameters of api-path.
type APIPath struct {
	// Verdict: reject (connection refused) or drop (timeouts).
	Verdict string `json:"verdict,omitempty" jsonschema:"enum=reject,enum=drop"`
	// To is host:port. Empty: the server in the kubelet's kubeconfig.
	To string `json:"to,omitempty"`
}

func (a *APIPath) Validate() error {
	if !slices.Contains([]string{"reject", "drop"}, a.Verdict) {
		return fmt.Errorf("verdict %q: want reject or drop", a.Verdict)
	}
	if a.To != "" {
		if _, _, err := net.SplitHostPort(a.To); err != nil {
			return fmt.Errorf("to: %w", err)
		}
	}
	return nil
}

func (a *APIPath) Plan(ctx context.Context, n Node) (*Plan, error) {
	if haveTool(ctx, n, "nft") != nil {
		return nil, apiPath.unsupported("the node has no nft")
	}
	to := a.To
	if to == "" {
		text, err := n.Sys.Read("/etc/kubernetes/kubelet.conf")
		if err != nil {
			return nil, apiPath.unsupported(err.Error())
		}
		line := serverLine.Find(text)
		u, err := url.Parse(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(string(line)), "server:")))
		if err != nil || u.Host == "" {
			return nil, apiPath.unsupported("the kubelet's kubeconfig names no server")
		}
		to = u.Host
		if u.Port() == "" {
			to = net.JoinHostPort(u.Hostname(), "443")
		}
	}
	host, port, err := net.SplitHostPort(to)
	if err != nil {
		return nil, err
	}
	addrs, err := n.Sys.LookupHost(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("finding the address of %s: %w", host, err)
	}
	verdict := "drop"
	if a.Verdict == "reject" {
		verdict = "reject with tcp reset"
	}
	// forward too: pods, the network agent among them, are routed through the node.
	t := &op.Table{Family: "inet", Name: "api_path", Rules: []string{
		"add chain TABLE out { type filter hook output priority -10 ; policy accept ; }",
		"add chain TABLE through { type filter hook forward priority -10 ; policy accept ; }",
	}}
	for _, addr := range addrs {
		family := "ip"
		if strings.Contains(addr, ":") {
			family = "ip6"
		}
		for _, chain := range []string{"out", "through"} {
			t.Rules = append(t.Rules, fmt.Sprintf("add rule TABLE %s %s daddr %s tcp dport %s %s", chain, family, addr, port, verdict))
		}
	}
	return &Plan{Ops: []op.Op{t}}, nil
}
