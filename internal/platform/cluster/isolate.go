package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// table is the nftables table that keeps packets of clusters on the machine. A table of its own, since a reject in any table
// is final, whatever docker's, podman's or a firewall's tables would accept, and since it can be removed without a trace.
const table = "sickbay"

// rules is the table. Until kube-proxy runs, packets to service addresses would follow the nodes' default route out of the
// machine, and so would every query of a name the engine's resolver does not know: that resolver asks from inside the node's
// network namespace, so its queries pass here too. Rejected, not dropped: what is tried fails at once instead of after minutes.
//
// From the nodes to the host only answers pass: the host's own resolver or proxy would carry packets out. Podman's resolver is on the
// host and must be reached; names that it does not know it asks of the host's resolvers.
// Priority -150 is behind connection tracking (-200) and before every filter (0). The last chain sees what leaves by any
// interface after routing and before masquerading: it must count nothing, and does not let it go either.
func rules(n network) string {
	var b, asks strings.Builder
	for _, a := range n.resolvers() {
		fmt.Fprintf(&asks, "\t\tiifname %q %s daddr %s meta l4proto { tcp, udp } th dport 53 accept\n", n.bridge(), family(a), a)
	}
	fmt.Fprintf(&b, "table inet %[1]s\ndelete table inet %[1]s\ntable inet %[1]s {\n", table)
	b.WriteString("\tcounter kept { }\n\tcounter refused { }\n\tcounter host { }\n\tcounter escaped { }\n")
	fmt.Fprintf(&b, `	chain forward {
		type filter hook forward priority -150; policy accept;
		iifname %[1]q oifname %[1]q accept
		iifname %[1]q counter name kept reject with icmpx type admin-prohibited
		oifname %[1]q counter name refused reject with icmpx type admin-prohibited
	}
	chain input {
		type filter hook input priority -150; policy accept;
		iifname %[1]q ct state established,related accept
%[2]s		iifname %[1]q counter name host reject with icmpx type admin-prohibited
	}
	chain postrouting {
		type filter hook postrouting priority 50; policy accept;
`, n.bridge(), asks.String())
	for _, s := range n.subnets() {
		fmt.Fprintf(&b, "\t\t%s saddr %s oifname != { %q, \"lo\" } counter name escaped drop\n", family(s), s, n.bridge())
	}
	b.WriteString("\t}\n}\n")
	return b.String()
}

func family(address string) string {
	if strings.Contains(address, ":") {
		return "ip6"
	}
	return "ip"
}

// noRules removes the table, also when it is not there.
func noRules() string { return fmt.Sprintf("table inet %[1]s\ndelete table inet %[1]s\n", table) }

// nftBound bounds one change of rules: 20 ms by the host's nft, a second by a container.
const nftBound = 30 * time.Second

// nft runs nftables' program on the engine's host: the host's own where this process may, else the node image's in a container
// on the host's network. That also reaches the virtual machine an engine on macOS hides in, and needs no root of the caller.
func nft(ctx context.Context, e *engine.Engine, image, script string, args ...string) ([]byte, error) {
	if program := hostNFT(e); program != "" {
		ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(nftBound))
		defer cancel()
		cmd := exec.CommandContext(ctx, program, args...)
		var stdout, stderr bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(script), &stdout, &stderr
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", cmd, ended(err), strings.TrimSpace(stderr.String()))
		}
		return stdout.Bytes(), nil
	}
	if image == "" {
		return nil, fmt.Errorf("change packet filter rules: this process may not, and there is no node image to do it in a container; as root: nft %s", strings.Join(args, " "))
	}
	words := append([]string{"run", "--rm", "--interactive", "--privileged", "--network", "host", "--label", ownedLabel + "=true", "--entrypoint", "nft", image}, args...)
	return runWith(ctx, e, nftBound, script, words...)
}

func hostNFT(e *engine.Engine) string {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 || e.Elsewhere || e.Host != "" && !strings.HasPrefix(e.Host, "unix://") {
		return ""
	}
	for _, p := range []string{"/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return ""
}

// isolate puts the rules in place; before any node exists.
func isolate(ctx context.Context, e *engine.Engine, image string, n network) error {
	if _, err := nft(ctx, e, image, rules(n), "-f", "-"); err != nil {
		return fmt.Errorf("keep the cluster's packets on this machine: %w; --online makes a cluster that may reach the network", err)
	}
	return nil
}

// unisolate takes the rules away.
func unisolate(ctx context.Context, e *engine.Engine, image string) error {
	if _, err := nft(ctx, e, image, noRules(), "-f", "-"); err != nil {
		return fmt.Errorf("remove the rules that kept packets on this machine: %w", err)
	}
	return nil
}

// Isolation is what the rules have seen since they were put in place.
type Isolation struct {
	InPlace bool `json:"inPlace"`
	// Kept counts packets that wanted to leave the machine and were refused, Refused those that wanted in from elsewhere, Host
	// those that nodes sent to the host itself unasked. Escaped counts packets on their way out in spite of it all; they are dropped.
	Kept    int64 `json:"kept"`
	Refused int64 `json:"refused"`
	Host    int64 `json:"host"`
	Escaped int64 `json:"escaped"`
}

// Isolation reads the rules' counters.
func (c *Cluster) Isolation(ctx context.Context) (Isolation, error) {
	out, err := nft(ctx, c.eng, c.Image, "", "-j", "list", "table", "inet", table)
	if err != nil {
		if strings.Contains(err.Error(), "No such file or directory") {
			return Isolation{}, nil
		}
		return Isolation{}, fmt.Errorf("read the rules that keep packets on this machine: %w", err)
	}
	return parseIsolation(out)
}

func parseIsolation(out []byte) (Isolation, error) {
	var list struct {
		NFTables []struct {
			Counter *struct {
				Name    string
				Packets int64
			}
			Rule *struct{ Chain string }
		}
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return Isolation{}, fmt.Errorf("decode what nft says: %w", err)
	}
	var i Isolation
	rules := 0
	for _, o := range list.NFTables {
		if o.Rule != nil {
			rules++
		}
		if o.Counter == nil {
			continue
		}
		switch o.Counter.Name {
		case "kept":
			i.Kept = o.Counter.Packets
		case "refused":
			i.Refused = o.Counter.Packets
		case "host":
			i.Host = o.Counter.Packets
		case "escaped":
			i.Escaped = o.Counter.Packets
		}
	}
	// Three of forward, two of input, one per subnet: a table that somebody emptied keeps nothing in.
	i.InPlace = rules >= 6
	return i, nil
}
