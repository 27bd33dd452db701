package registry_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/platform/registry"
)

// TestLive starts a registry on a real engine beside a cluster that is there, and takes it away by its labels alone.
func TestLive(t *testing.T) {
	name := os.Getenv("SICKBAY_E2E_CLUSTER")
	if os.Getenv("SICKBAY_E2E") == "" || name == "" {
		t.Skip("SICKBAY_E2E or SICKBAY_E2E_CLUSTER is not set")
	}
	ctx := t.Context()
	e, err := engine.Ensure(ctx, engine.Options{NoInstall: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Setenv(); err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Find(ctx, e, name)
	if err != nil {
		t.Fatal(err)
	}
	image, err := c.WorkloadImage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	base, err := c.ExportImages(ctx, c.Nodes()[0].Name, image)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []registry.Certificate{registry.Good, registry.Expired, registry.OtherName} {
		run := strings.TrimSuffix("live-"+string(kind), "-")
		place := registry.Place{
			Run: run, Network: cluster.Network, Image: "sickbay.dev/registry:3.1.2", Base: base,
			Labels: map[string]string{cluster.Label: name, cluster.RunLabel: run},
		}
		t.Cleanup(func() {
			if err := c.RemoveServices(context.WithoutCancel(ctx), run, ""); err != nil {
				t.Error(err)
			}
		})
		if _, err := registry.Start(ctx, place, registry.Spec{Images: []string{"shop/app:1.0"}, Private: true, Certificate: kind}); err != nil {
			out, _ := e.Command(ctx, "logs", registry.ContainerName(run)).CombinedOutput()
			t.Fatalf("%v\n%s", err, out)
		}
		if err := c.RemoveServices(ctx, run, ""); err != nil {
			t.Fatal(err)
		}
		out, err := e.Command(ctx, "ps", "--all", "--quiet", "--filter", "label="+cluster.RunLabel+"="+run).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Fatalf("left behind: %s, %v", out, err)
		}
	}
}
