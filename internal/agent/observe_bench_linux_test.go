package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
	"github.com/sickbay-dev/sickbay/internal/collect"
	"github.com/sickbay-dev/sickbay/internal/node"
)

type docker struct{}

func (docker) Command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "docker", args...)
}

// BenchmarkObserve looks at a quiet node, a container named by SICKBAY_BENCH_NODE of the engine that DOCKER_HOST names. A look may
// cost the node 150 ms of CPU, so that one a second leaves a node of one core its work, and take 300 ms there.
func BenchmarkObserve(b *testing.B) {
	name := os.Getenv("SICKBAY_BENCH_NODE")
	if name == "" {
		b.Skip("SICKBAY_BENCH_NODE names no node")
	}
	n := node.Container(docker{}, name)
	c, err := Install(b.Context(), n)
	if err != nil {
		b.Fatal(err)
	}
	first, err := c.Observe(b.Context(), protocol.ObserveOptions{})
	if err != nil {
		b.Fatal(err)
	}
	opts := protocol.ObserveOptions{Cursor: first.Journal.Cursor}

	var took int64
	for b.Loop() {
		o, err := c.Observe(b.Context(), opts)
		if err != nil {
			b.Fatal(err)
		}
		took += o.TookMS
	}
	wall := float64(took) / float64(b.N)

	// The looking child itself, since whoever leaves a child behind has not waited for it and is not charged for it.
	in, err := json.Marshal(opts)
	if err != nil {
		b.Fatal(err)
	}
	const rounds = 5
	out, err := n.Run(b.Context(), node.Command{
		Argv:  []string{"bash", "-c", fmt.Sprintf(`exec 2>&1; read -r in; TIMEFORMAT='%%U %%S'; time for i in {1..%d}; do "$0" %s <<<"$in" >/dev/null; done`, rounds, collect.VerbLook), c.Path()},
		Stdin: bytes.NewReader(append(in, '\n')),
	})
	if err != nil {
		b.Fatal(err)
	}
	var user, system float64
	if _, err := fmt.Sscan(string(out), &user, &system); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	cpu := (user + system) * 1000 / rounds

	b.ReportMetric(wall, "node-ms/op")
	b.ReportMetric(cpu, "node-cpu-ms/op")
	if cpu > 150 || wall > 300 {
		b.Errorf("a look at %s took %.0f ms and %.0f ms of CPU; at most 300 and 150 are allowed", name, wall, cpu)
	}
}
