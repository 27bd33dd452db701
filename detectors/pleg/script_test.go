package pleg

import (
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestEnable(t *testing.T) {
	const rest = "\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"registry.k8s.io/pause:3.10\"\n"
	for in, want := range map[string]string{
		"version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n":                                            "version = 2\ndisabled_plugins = []\n",
		"disabled_plugins = ['cri', \"io.containerd.snapshotter.v1.btrfs\"]\n":                                         "disabled_plugins = [ \"io.containerd.snapshotter.v1.btrfs\"]\n",
		"disabled_plugins = [\n  \"io.containerd.cri.v1.images\",\n  \"io.containerd.cri.v1.runtime\",\n  \"x\",\n]\n": "disabled_plugins = [\n  \n  \n  \"x\",\n]\n",
		"# disabled_plugins = [\"cri\"]\n":                                                                             "# disabled_plugins = [\"cri\"]\n",
	} {
		if got, why := detectorstest.Edit(t, in+rest, "", func(file string) v1alpha1.Step { return enable("n", []string{file}) }); got != want+rest {
			t.Errorf("%q became %q, not %q %s", in, got, want, why)
		}
	}
}
