package detectorstest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// pending are the checks that are red today, by "failure: name", and what is wrong. One that turns green must be taken off: it is then
// held like every other.
var pending = map[string]string{}

// Pending tells whether a check is red today.
func Pending(failure, name string) bool { return pending[failure+": "+name] != "" }

// Stale fails for names of the failure in pending that no check has.
func Stale(t *testing.T, failure string, names []string) {
	for name := range pending {
		if name, mine := strings.CutPrefix(name, failure+": "); mine && !slices.Contains(names, name) {
			t.Errorf("pending has %q, which is no check of %s", name, failure)
		}
	}
}

// Expect runs a check as a subtest. One that is pending must fail.
func Expect(t *testing.T, failure, name string, check func(t testing.TB)) {
	t.Run(name, func(t *testing.T) {
		why, red := pending[failure+": "+name]
		if !red {
			check(t)
			return
		}
		r := &recorder{TB: t}
		r.run(check)
		if len(r.said) == 0 {
			t.Fatalf("%q is green: take it off pending", failure+": "+name)
		}
		t.Skipf("pending: %s\n%s", why, r.said)
	})
}

// recorder keeps what a check says.
type recorder struct {
	testing.TB
	said []string
}

// stop ends a check where a test would end.
type stop struct{}

func (r *recorder) run(check func(t testing.TB)) {
	defer func() {
		if p := recover(); p != nil && p != (stop{}) {
			panic(p)
		}
	}()
	check(r)
}

func (r *recorder) Error(args ...any)            { r.said = append(r.said, fmt.Sprintln(args...)) }
func (r *recorder) Errorf(form string, a ...any) { r.Error(fmt.Sprintf(form, a...)) }
func (r *recorder) Fatal(args ...any)            { r.Error(args...); panic(stop{}) }
func (r *recorder) Fatalf(form string, a ...any) { r.Fatal(fmt.Sprintf(form, a...)) }
