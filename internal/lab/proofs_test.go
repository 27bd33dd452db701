package lab

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/scenarios"
)

func courses(t *testing.T, names ...string) (out []scenarios.Course) {
	t.Helper()
	for _, n := range names {
		c, err := scenarios.FindCourse(n)
		if err != nil {
			t.Fatal(err)
		}
		one := *c
		sc := *c.Scenario
		one.Scenario = &sc
		out = append(out, one)
	}
	return out
}

// TestProveAll: labs run side by side, one a worker; one that claims the host runs alone; a worker that was left ill gets no more.
func TestProveAll(t *testing.T) {
	list := courses(t, "L07", "L04", "L05", "L02", "L08")
	list[1].Scenario.Spec.Claims = []string{"host"}
	list[0].Scenario.Spec.Claims, list[2].Scenario.Spec.Claims, list[3].Scenario.Spec.Claims, list[4].Scenario.Spec.Claims = nil, nil, nil, nil
	var mu sync.Mutex
	busy, most, alone := map[string]string{}, 0, true
	both := make(chan struct{}, 2) // the first two meet
	k := Class{Workers: []string{"w1", "w2"}, Usable: func(string) bool { return true }}
	k.Prove = func(_ context.Context, c scenarios.Course, w string) Proof {
		mu.Lock()
		if busy[w] != "" {
			t.Errorf("%s has %s and %s", w, busy[w], c.Of.Spec.Code)
		}
		busy[w] = c.Of.Spec.Code
		n := 0
		for _, code := range busy {
			if code != "" {
				n++
			}
		}
		most = max(most, n)
		alone = alone && (c.Of.Spec.Code != "L04" || n == 1)
		mu.Unlock()
		if c.Of.Spec.Code == "L07" || c.Of.Spec.Code == "L05" {
			both <- struct{}{}
			for len(both) < 2 {
				time.Sleep(time.Millisecond)
			}
		}
		mu.Lock()
		busy[w] = ""
		mu.Unlock()
		return Proof{Code: c.Of.Spec.Code}
	}
	var done []string
	k.Done = func(p Proof) { done = append(done, p.Code) }
	k.ProveAll(t.Context(), list)
	if len(done) != 5 || done[4] != "L04" || most != 2 || !alone {
		t.Errorf("%v were proven, %d at a time; L04 alone: %v", done, most, alone)
	}

	done = nil
	k.Usable = func(w string) bool { return w == "w1" && len(done) < 2 }
	k.Prove = func(_ context.Context, c scenarios.Course, _ string) Proof {
		return Proof{Code: c.Of.Spec.Code, Checks: []Check{{OK: true}}}
	}
	var unproven []string
	k.Done = func(p Proof) {
		done = append(done, p.Code)
		if p.Unproven != "" {
			unproven = append(unproven, p.Code)
		}
	}
	k.Workers = []string{"w1"}
	k.ProveAll(t.Context(), list)
	if len(done) != 5 || len(unproven) != 2 {
		t.Errorf("%v; %v had no worker", done, unproven)
	}
}

// TestProveAllInterrupted: what was cut short is neither proven nor disproven.
func TestProveAllInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	k := Class{Workers: []string{"w1"}, Usable: func(string) bool { return true }, Done: func(p Proof) { t.Errorf("%+v", p) }}
	k.Prove = func(context.Context, scenarios.Course, string) Proof { cancel(); return Proof{Unproven: "interrupted"} }
	k.ProveAll(ctx, courses(t, "L07", "L04"))
}

// TestProofs: a killed run keeps its rows; a lab that was changed since has none.
func TestProofs(t *testing.T) {
	list := courses(t, "L07", "L04", "L05")
	p := Proofs{File: filepath.Join(t.TempDir(), "labs", "proofs.jsonl")}
	for _, x := range []Proof{
		{Code: "L07", Of: Hash(list[0]), Checks: []Check{{Name: "unsolved"}}},
		{Code: "L07", Of: Hash(list[0]), Checks: []Check{{Name: "unsolved", OK: true}}}, // the last counts
		{Code: "L04", Of: "of before"},
	} {
		if err := p.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(p.File, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(`{"code":"L05","of":"` + Hash(list[2])) // killed
		_ = f.Close()
	}
	had, err2 := p.Of(list)
	if err != nil || err2 != nil || len(had) != 1 || !had["L07"].OK() {
		t.Errorf("%v, %v, %v", had, err, err2)
	}
	if table := Table([]Proof{{Code: "L07", Version: "v1"}, {Code: "L04", Version: "v2"}}); strings.Index(table, "| L04") > strings.Index(table, "| L07") || !strings.Contains(table, "sickbay v2 and v1.") {
		t.Error(table)
	}
}
