package lab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/scenarios"
)

func (f *fakeCluster) verifier(t *testing.T, ended *int) *Verifier {
	v := &Verifier{Timings: quick, Signs: 300 * time.Millisecond, Refusal: 100 * time.Millisecond}
	v.Timings.Settle = 200 * time.Millisecond
	v.Place = func(ctx context.Context) (*Fault, error) {
		fresh := newFakeCluster(t)
		// A look that took too long may still be under way on the one of before.
		fresh.unfixable, fresh.returns, fresh.hidden = f.unfixable, f.returns, f.hidden
		w := fresh.world(t)
		v.Course = w.Course
		before, err := w.Snapshot(ctx)
		return &Fault{World: w, Before: before, End: func(context.Context) error { *ended++; return nil }}, err
	}
	v.Course = f.world(t).Course
	return v
}

// TestVerify: a lab that is as it should be is proven: unsolved, two hints twice, eight wrong fixes, two right ones.
func TestVerify(t *testing.T) {
	f, ended := newFakeCluster(t), 0
	p := f.verifier(t, &ended).Verify(t.Context())
	if !p.OK() || len(p.Checks) != 1+2*2+8+2 {
		t.Fatalf("%d checks: %s", len(p.Checks), asJSON(p))
	}
	// One for what can be taken back, the first right fix and recover; one for the second right fix; one for what destroys.
	if ended != 3 || p.Faults != 3 {
		t.Errorf("%d faults were made, %d undone", p.Faults, ended)
	}
	table := Table([]Proof{p})
	for _, want := range []string{"| L99 | try | 1 of 1 | 4 of 4 | 8 of 8 | 2 of 2 | 3 |", "| L99 | cordon | node-cordoned |"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in:\n%s", want, table)
		}
	}
	if strings.Contains(table, "Not as it should be") {
		t.Error(table)
	}
}

// TestVerifyWaitsForTheFault: a goal is unmet before all of the fault shows, and a fix that comes so early finds nothing to fix.
func TestVerifyWaitsForTheFault(t *testing.T) {
	f, ended := newFakeCluster(t), 0
	f.hidden = 3
	if p := f.verifier(t, &ended).Verify(t.Context()); !p.OK() {
		t.Fatal(asJSON(p))
	}
}

// TestVerifySeesABadLab: each flaw of a lab shows.
func TestVerifySeesABadLab(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		change   func(*fakeCluster)
		want     string
	}{
		"a goal that holds from the start": {`holds: {node: "well?"}`, `holds: {node: "true"}`, nil, "unsolved"},
		"a hint that proves nothing":       {`while: {node: "ill?"}`, `while: {node: "true"}`, nil, "hint 1 once it is well"},
		"a hint that is never true":        {`while: {node: "ill?"}`, `while: {node: "well?"}`, nil, "hint 1 while it is ill"},
		"a wrong fix that is right":        {`does: [{cluster: "true"}]`, `does: [{cluster: "fix"}]`, nil, "mutant nothing"},
		"a right fix that is none":         {"", "", func(f *fakeCluster) { f.unfixable = true }, "solved by by-hand"},
		"a fix that does not last":         {"", "", func(f *fakeCluster) { f.returns = true }, "solved by by-hand"},
	} {
		t.Run(name, func(t *testing.T) {
			f, ended := newFakeCluster(t), 0
			v := f.verifier(t, &ended)
			place := v.Place
			v.Place = func(ctx context.Context) (*Fault, error) {
				x, err := place(ctx)
				if err != nil || c.old == "" {
					return x, err
				}
				if !strings.Contains(fakeLab, c.old) {
					t.Fatal("nothing to replace")
				}
				l, err := scenarios.ParseLab([]byte(strings.Replace(fakeLab, c.old, c.new, 1)), "lab.yaml", "try")
				if err != nil {
					t.Fatal(err)
				}
				v.Course.Of, x.Course.Of = l, l
				return x, nil
			}
			if c.change != nil {
				c.change(f)
			}
			p := v.Verify(t.Context())
			if p.OK() {
				t.Fatal("it was proven")
			}
			found := false
			for _, x := range p.Checks {
				found = found || x.Name == c.want && !x.OK
			}
			if !found {
				t.Errorf("%q is not among what is wrong: %s", c.want, asJSON(p))
			}
		})
	}
}

// TestVerifyMakesItIllAgain: a wrong fix that leaves something behind takes the fault of the right ones away, which is then made anew.
func TestVerifyMakesItIllAgain(t *testing.T) {
	f, ended := newFakeCluster(t), 0
	v := f.verifier(t, &ended)
	place := v.Place
	v.Place = func(ctx context.Context) (*Fault, error) {
		x, err := place(ctx)
		if err != nil {
			return x, err
		}
		// Its undo cures.
		l, err := scenarios.ParseLab([]byte(strings.Replace(fakeLab, `undo: [{node: "true"}]`, `undo: [{node: fix}]`, 1)), "lab.yaml", "try")
		v.Course.Of, x.Course.Of = l, l
		return x, err
	}
	if p := v.Verify(t.Context()); !p.OK() || p.Faults != 4 || ended != 4 {
		t.Errorf("%d faults: %s", p.Faults, asJSON(p))
	}
}

func TestAsIll(t *testing.T) {
	verdict := func(goals string, why ...v1alpha1.Refusal) (v Verdict) {
		for _, g := range goals {
			v.Goals = append(v.Goals, GoalState{Met: g == '+'})
		}
		for _, r := range why {
			v.Refused = append(v.Refused, refuse(r, "x"))
		}
		return v
	}
	was := verdict("+--+", v1alpha1.RefusedStillIll) // two of the lab's own
	for _, c := range []struct {
		is   Verdict
		want bool
	}{
		{was, true},
		{verdict("+---", v1alpha1.RefusedStillIll), true},
		{verdict("+-++", v1alpha1.RefusedStillIll), false},
		{verdict("++-+", v1alpha1.RefusedStillIll), false},
		{verdict("---+", v1alpha1.RefusedStillIll), false},
		{verdict("+--+", v1alpha1.RefusedStillIll, v1alpha1.RefusedNodeCordoned), false},
		{Verdict{}, false},
	} {
		if asIll(was, c.is, 2) != c.want {
			t.Errorf("%s is not %t", asJSON(c.is), c.want)
		}
	}
}

// TestDiagnoseVouches: who runs the lab's registry knows its CA, without which no remedy has a node trust it.
func TestDiagnoseVouches(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	f := newFakeCluster(t)
	w := f.world(t)
	seen := 0
	w.Judge = func(h v1alpha1.History) []v1alpha1.Finding {
		seen = len(h.Last().TrustedCAs)
		return nil
	}
	for _, ca := range []string{"", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))} {
		w.Vouched = ca
		if _, err := w.Diagnose(t.Context()); err != nil || seen != min(len(ca), 1) {
			t.Errorf("%d CAs are vouched for, %v", seen, err)
		}
	}
}

// TestKnew: the debrief tells when the detectors had named the cause, and waits for it.
func TestKnew(t *testing.T) {
	f := newFakeCluster(t)
	f.ill = false
	w := f.world(t)
	looks := 0
	w.Judge = func(h v1alpha1.History) []v1alpha1.Finding {
		if looks++; looks == 3 {
			f.mu.Lock()
			f.ill = true
			f.mu.Unlock()
		}
		return detector(h)
	}
	at, err := w.Knew(t.Context(), func() bool { return true })
	if err != nil || at.IsZero() || looks < 4 {
		t.Fatalf("%s after %d looks, %v", at, looks, err)
	}
	if _, err := w.Knew(t.Context(), func() bool { return false }); err == nil {
		t.Error("it looks at a lab that is over")
	}
	r := Record{Started: at.Add(-90 * time.Second), Knew: at}
	d := NewDebrief(scenarios.Course{Scenario: w.Course.Scenario, Of: w.Course.Of}, "en", r, Score{})
	if !strings.Contains(d.Markdown(), "`sickbay diagnose` knew after 1m30s.") {
		t.Error(d.Markdown())
	}
	if none := NewDebrief(*w.Course, "en", Record{}, Score{}); strings.Contains(none.Markdown(), "knew after") {
		t.Error("nobody looked, and it says so")
	}
}
