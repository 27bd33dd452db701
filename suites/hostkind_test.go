package suites

import (
	"testing"

	"github.com/sickbay-dev/sickbay/observation"
)

func TestHostKind(t *testing.T) {
	for _, c := range []struct {
		host observation.Host
		want string
	}{
		{observation.Host{CgroupVersion: 2, LSMs: []string{"landlock", "apparmor"}, Machine: "tcg", BootID: "b"}, "cgroup v2, LSMs landlock,apparmor, tcg"},
		// Another kernel's list is not asked here.
		{observation.Host{CgroupVersion: 1, Machine: "none", BootID: "b"}, "cgroup v1"},
		{observation.Host{CgroupVersion: 1}, "cgroup v1"},
	} {
		if got := kindOfHost(c.host).String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
