package testbed

import (
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

func TestHostKind(t *testing.T) {
	for _, c := range []struct {
		host v1alpha1.Host
		want string
	}{
		{v1alpha1.Host{CgroupVersion: 2, LSMs: []string{"landlock", "apparmor"}, Machine: "tcg", BootID: "b"}, "cgroup v2, LSMs landlock,apparmor, tcg"},
		// Another kernel's list is not asked here.
		{v1alpha1.Host{CgroupVersion: 1, Machine: "none", BootID: "b"}, "cgroup v1"},
		{v1alpha1.Host{CgroupVersion: 1}, "cgroup v1"},
	} {
		if got := kindOfHost(c.host).String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
