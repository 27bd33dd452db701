package notready

import (
	"cmp"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/facts"
)

// targets are the addresses and the port of the kubeconfig's server: by the dial, by /etc/hosts, or by the cluster where the name is a
// control-plane node's. Those of a load balancer's name are known by the dial only.
func targets(o *v1alpha1.Observation) []facts.Target {
	c := o.Kubelet.Kubeconfig
	u, err := url.Parse(c.Server)
	if err != nil || u.Hostname() == "" {
		return nil
	}
	dialled := facts.Targets(c.ReachError)
	addrs := []string{u.Hostname()}
	if len(dialled) == 0 && o.API != nil && slices.Contains(o.API.Endpoints, u.Hostname()) {
		addrs = append(addrs, o.API.Endpoints...)
	}
	for _, line := range o.Network.Hosts {
		if f := strings.Fields(line); len(f) > 1 && slices.Contains(f[1:], u.Hostname()) {
			addrs = append(addrs, f[0])
		}
	}
	for _, text := range addrs {
		if a, err := netip.ParseAddr(text); err == nil {
			dialled = append(dialled, facts.Target{Addr: a.Unmap(), Port: cmp.Or(u.Port(), "443"), Protocol: "tcp"})
		}
	}
	return dialled
}

// inTheWay are the rules that end a dial of the server as this one ended.
type inTheWay struct {
	named   []v1alpha1.Rule // they name its address or port
	every   []v1alpha1.Rule // they are for all that no rule before them accepts
	perhaps []v1alpha1.Rule // they also ask for what is not known of the dial
}

func rulesAgainst(o *v1alpha1.Observation) (out inTheWay) {
	to := targets(o)
	for _, r := range o.Network.RejectRules {
		if !r.Outgoing() || contradicts(r, o.Kubelet.Kubeconfig.Reach) {
			continue
		}
		if all := r; len(r.Destinations) == 0 && len(r.Ports) == 0 && len(to) > 0 {
			all.DefaultPolicy, all.Ports = false, []string{to[0].Port} // what else it asks for decides
			if meets(o, to, all) {
				out.every = append(out.every, r)
			}
			continue
		}
		plain := r
		plain.Text = strings.Join(strings.Fields(r.Text)[:2], " ") + " …"
		plain.Destinations = slices.DeleteFunc(slices.Clone(r.Destinations), func(d string) bool { return strings.Contains(d, "@") })
		if len(plain.Destinations)+len(plain.Ports) == 0 && len(to) > 0 {
			plain.Ports = []string{to[0].Port}
		}
		switch {
		case meets(o, to, r):
			out.named = append(out.named, r)
		case meets(o, to, plain):
			out.perhaps = append(out.perhaps, r)
		}
	}
	return out
}

func meets(o *v1alpha1.Observation, to []facts.Target, r v1alpha1.Rule) bool {
	return len(facts.RulesAgainst(&v1alpha1.Observation{API: o.API, Network: v1alpha1.Network{RejectRules: []v1alpha1.Rule{r}, DefaultRoute: o.Network.DefaultRoute, DefaultRoute6: o.Network.DefaultRoute6}}, to)) > 0
}

// contradicts tells that a dial which meets the rule ends otherwise than in reach: what is dropped is waited for, the rest is answered at once.
func contradicts(r v1alpha1.Rule, reach string) bool {
	drops := strings.HasPrefix(r.Text, "nft ") && strings.Contains(r.Text, "drop") || strings.HasSuffix(r.Text, "DROP")
	switch reach {
	case "timeout":
		return !drops
	case "refused", "no-route":
		return drops
	}
	return false
}

// letThrough is the step that has a chain accept what goes to the server before a rule or policy of it that is for everything; nil where
// the server's address is not known.
func letThrough(o *v1alpha1.Observation, r v1alpha1.Rule) *v1alpha1.Step {
	words := facts.RuleWords(r.Text)
	if len(words) < 4 || !facts.PlainRule(words[1], words[2], words[3]) && words[3] != "-P" || !facts.PlainRule(cmp.Or(r.Chain, words[3])) {
		return nil
	}
	var argv, undo []string
	for _, t := range targets(o) {
		a := t.Addr
		switch {
		case words[0] == "iptables" && a.Is4(), words[0] == "ip6tables" && a.Is6():
			match := []string{r.Chain, "-d", a.String(), "-p", "tcp", "--dport", t.Port, "-j", "ACCEPT"}
			argv = slices.Concat([]string{words[0], "-t", words[2], "-I"}, match)
			undo = slices.Concat([]string{words[0], "-t", words[2], "-D"}, match)
		case words[0] == "nft" && len(words) > 3:
			family := "ip"
			if a.Is6() {
				family = "ip6"
			}
			argv = slices.Concat([]string{"nft", "insert", "rule"}, words[1:4], []string{family, "daddr", a.String(), "tcp", "dport", t.Port, "accept", "comment", "sickbay"})
		default:
			continue
		}
		why := "this chain lets nothing out that no rule accepts: accept what goes to the API server"
		if r.Owner != "" {
			why += "; " + r.Owner + " writes its rules anew, so allow it there as well"
		}
		step := detectors.NodeStep(v1alpha1.Destructive, o.Node, why, argv...)
		if step.Undo = command(undo); undo == nil {
			list := command(words[1:4])
			step.Undo = "nft delete rule " + list + " handle \"$(nft -a list chain " + list + " | sed -nE 's/.*comment \"sickbay\" # handle ([0-9]+)/\\1/p' | head -n1)\""
		}
		step = detectors.Destructive(step, "opens the owner's firewall for "+a.String()+" port "+t.Port)
		return &step
	}
	return nil
}

func command(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = detectors.Quote(a)
	}
	return strings.Join(words, " ")
}

// proxied tells that the kubelet reaches its server through a proxy: a dial of this look says nothing of that.
func proxied(o *v1alpha1.Observation) string {
	c, e := o.Kubelet.Kubeconfig, o.Kubelet.Environment
	if c.ProxyURL != "" {
		return c.ProxyURL
	}
	u, err := url.Parse(c.Server)
	if err != nil || e.HTTPSProxy == "" {
		return ""
	}
	p, err := (&httpproxy.Config{HTTPSProxy: e.HTTPSProxy, NoProxy: e.NoProxy}).ProxyFunc()(u)
	if err != nil || p == nil {
		return ""
	}
	return e.HTTPSProxy
}
