package lease

import (
	"sync"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/internal/op"
)

// TestExtendBesideOthers: the harness renews a lease while an injection extends it and a sweep drops those of other runs. None of
// them fails, and whoever looks meanwhile sees a whole lease.
func TestExtendBesideOthers(t *testing.T) {
	l := &Leases{Sys: op.Host(), Dir: t.TempDir()}
	if err := l.Extend("r1.json", time.Hour); err != nil {
		t.Fatal(err)
	}
	const n = 200
	var wg sync.WaitGroup
	beside := func(what string, do func(i int) error) {
		wg.Go(func() {
			for i := range n {
				if err := do(i); err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
			}
		})
	}
	longer := func(i int) error { return l.Extend("r1.json", time.Hour+time.Duration(i)*time.Minute) }
	beside("renew", longer)
	beside("inject", longer)
	beside("sweep", func(int) error { return l.Drop(map[string]bool{"r1.json": true}) })
	beside("look", func(int) error {
		if left := l.Left("r1.json"); left < 59*time.Minute {
			t.Errorf("a lease of an hour has %s left", left)
		}
		return nil
	})
	wg.Wait()
	if err := l.Drop(nil); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := l.get("r1.json"); ok {
		t.Error("a dropped lease is there")
	}
}
