package collect

import (
	"net"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
)

// An old event may name any registry. One that does not resolve, one that refuses and one that swallows packets cost a look one bound
// together, and the rest of it nothing.
func TestRegistriesDoNotHoldTheLook(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes the call, and never a handshake
	must(t, err)
	defer silent.Close()
	refusing, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	refusing.Close()
	_, port, err := net.SplitHostPort(silent.Addr().String())
	must(t, err)
	// The bounds are long: nothing but the handshakes' own ends them.
	l := newLook(protocol.ObserveOptions{PerSource: 8 * time.Second, Overall: 9 * time.Second, Registries: []string{"gone.registry.invalid", refusing.Addr().String(), silent.Addr().String(), "localhost:" + port}},
		tree(t, map[string]string{"/proc/self/x": "", kubeletConfigFile: "maxPods: 7\n"}), noCommands)
	began := time.Now()
	o := l.run(t.Context())
	if took := time.Since(began); took > reachWait+slack {
		t.Errorf("the look took %s", took)
	}
	got := map[string]string{}
	for _, r := range o.Registries {
		got[r.Host] = r.Mirrors[0].Reach
	}
	if len(got) != 4 || got["gone.registry.invalid"] != "dns" || got[refusing.Addr().String()] != "refused" || got[silent.Addr().String()] != "timeout" || got["localhost:"+port] != "timeout" {
		t.Errorf("%v, unknown %+v", got, o.Unknown)
	}
	if o.Kubelet.Config.MaxPods != 7 {
		t.Errorf("what answers was not read: %+v", o.Kubelet)
	}
}
