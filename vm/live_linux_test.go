package vm

import (
	"os"
	"testing"

	"github.com/sickbay-dev/sickbay/parts"
	"github.com/sickbay-dev/sickbay/progress"
)

// live skips a test that builds disks and boots guests unless it is asked for:
//
//	SICKBAY_VM=1 go test ./vm -run Live -v -timeout 60m
//
// The disks go into the cache that the command uses.
func live(t *testing.T) Options {
	t.Helper()
	if os.Getenv("SICKBAY_VM") == "" {
		t.Skip("SICKBAY_VM is not set")
	}
	o, err := Options{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestLiveBase(t *testing.T) {
	o := live(t)
	p, err := basePart()
	if err != nil {
		t.Fatal(err)
	}
	c := parts.Cache{Dir: o.Dir, What: "guest"}
	if err := c.Ensure(progress.Into(t.Context(), progress.NewPlain(os.Stderr)), p); err != nil {
		t.Fatal(err)
	}
	t.Log(c.Path(p), c.Times())
}
