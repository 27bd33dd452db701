package injectors

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var sysctl = Mechanism{
	Name: "sysctl",
	Doc:  "sets a network setting of the node, such as net.bridge.bridge-nf-call-iptables",
	New:  func() Params { return &Sysctl{Name: "net.bridge.bridge-nf-call-iptables", Value: "0"} },
}

// Sysctl are the parameters of sysctl.
type Sysctl struct {
	// Name begins with net.: those belong to the node's network namespace, others to the whole host.
	Name  string `json:"name,omitempty"`
	Value string `json:"value,omitempty"`
}

var sysctlName = regexp.MustCompile(`^net(\.[a-z0-9_-]+)+$`)

func (s *Sysctl) Validate() error {
	switch {
	case !sysctlName.MatchString(s.Name):
		return fmt.Errorf("name %q: want a setting below net., such as net.ipv4.ip_forward; others are the whole host's", s.Name)
	case s.Value == "" || strings.ContainsAny(s.Value, "\n"):
		return fmt.Errorf("value %q: want one line", s.Value)
	}
	return nil
}

// hostWideNet are settings below net. that nevertheless are the whole host's.
var hostWideNet = []string{"net.core.rmem_max", "net.core.wmem_max", "net.core.netdev_max_backlog", "net.netfilter.nf_conntrack_max", "net.nf_conntrack_max"}

func (s *Sysctl) Plan(_ context.Context, n Node) (*Plan, error) {
	p := "/proc/sys/" + strings.ReplaceAll(s.Name, ".", "/")
	if _, err := n.Sys.Read(p); err != nil {
		return nil, sysctl.unsupported(err.Error())
	}
	if slices.Contains(hostWideNet, s.Name) {
		return nil, &RequestError{fmt.Errorf("%s belongs to the whole host, not to the node", s.Name)}
	}
	return &Plan{Ops: []op.Op{&op.Setting{Path: p, Value: s.Value}}}, nil
}
