package lab

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/scenarios"
)

func TestStore(t *testing.T) {
	s := Store{Dir: filepath.Join(t.TempDir(), "labs")}
	if _, err := s.Load("c"); !errors.Is(err, ErrNone) {
		t.Fatal(err)
	}
	st := &State{Code: "L07", Cluster: "c", Phase: Running, Before: Snapshot{Nodes: map[string]Node{"w1": {UID: "1"}}}}
	st.Tell(time.Now(), "lab", "begun")
	if err := s.Save(st); err != nil {
		t.Fatal(err)
	}
	got, err := s.Load("c")
	if err != nil || asJSON(got) != asJSON(st) {
		t.Errorf("%s, %v", asJSON(got), err)
	}
	if fi, err := os.Stat(s.file("c")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: the state is its owner's alone", fi.Mode(), err)
	}
	if err := errors.Join(s.Remove(&State{Cluster: "c"}), s.Remove(&State{Cluster: "c"})); err != nil {
		t.Error(err)
	}
	if err := errors.Join(s.Append(Done{Code: "L07"}), s.Append(Done{Code: "L08"})); err != nil {
		t.Fatal(err)
	}
	// A line that a crash cut short hides no other.
	f, err := os.OpenFile(s.history(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"code":"L0`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if h, err := s.History(); err != nil || len(h) != 2 || h[1].Code != "L08" {
		t.Errorf("%v, %v", h, err)
	}
}

// TestClock: a pause does not count, and one that is still on neither.
func TestClock(t *testing.T) {
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	st := &State{Record: Record{Started: at}}
	st.Pause(at.Add(10 * time.Minute))
	if got := st.Clock(at.Add(time.Hour)); got != 10*time.Minute {
		t.Errorf("in a pause: %s", got)
	}
	st.Resume(at.Add(40 * time.Minute))
	if got := st.Clock(at.Add(50 * time.Minute)); got != 20*time.Minute {
		t.Errorf("after it: %s", got)
	}
	if got := (Record{}).Clock(at); got != 0 {
		t.Errorf("%s on the clock of a lab whose start was cut short", got)
	}
}

func TestGradeAndScore(t *testing.T) {
	expect := []v1alpha1.Expected{{Failure: "pleg", Cause: "runtime-io-stall"}, {Failure: "disk-pressure", Cause: "imagefs-full"}}
	for answer, want := range map[string]Grade{
		"pleg/runtime-io-stall": Right, "disk-pressure/imagefs-full": Right, "pleg": RightPart, "pleg/runtime-hung": Wrong, "cni": Wrong, "cni/imagefs-full": Wrong,
	} {
		if got := GradeAnswer(answer, expect); got != want {
			t.Errorf("%s: %s, want %s", answer, got, want)
		}
	}
	if n := Missing([]Answer{{Name: "pleg/runtime-io-stall", Grade: Right}, {Name: "cni/x", Grade: Wrong}}, expect); n != 1 {
		t.Errorf("%d causes are missing, want 1", n)
	}
	l := &v1alpha1.Lab{Spec: v1alpha1.LabSpec{Minutes: 10}}
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	r := Record{Started: at, Named: at.Add(5 * time.Minute), SolvedAt: at.Add(13 * time.Minute), Hints: 2, Answers: []Answer{{Grade: Wrong}, {Grade: Right}}, Refused: []string{"still-ill", "node-cordoned"}}
	if s := ScoreOf(r, l, nil); s.Points != 100-20-5-5-3 || s.Detect != 5*time.Minute || s.Mitigate != 13*time.Minute || !s.Solved || s.Disruption != 1 {
		t.Errorf("%+v", s)
	}
	r.Shown = 1
	if s := ScoreOf(r, l, nil); s.Points != 0 || s.Solved {
		t.Errorf("with the remedy shown: %+v", s)
	}
	if s := ScoreOf(Record{Started: at}, l, nil); s.Points != 0 || s.Solved {
		t.Errorf("never solved: %+v", s)
	}
}

func TestPickAndSeal(t *testing.T) {
	all, err := scenarios.Courses()
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewDrill(all, Filter{Core: true}, 7, 4, true)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewDrill(all, Filter{Core: true}, 7, 4, true)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(a.Codes, ",") != strings.Join(b.Codes, ",") {
		t.Errorf("one seed draws %v and %v", a.Codes, b.Codes)
	}
	// The salt keeps anybody from trying all sequences; without it one seed would have one seal.
	if a.Seal == b.Seal || a.Seal != Seal(a.Salt, 7, a.Codes) || a.Seal == Seal(a.Salt, 8, a.Codes) {
		t.Errorf("seals %s, %s", a.Seal, b.Seal)
	}
	list, err := Pick(all, Filter{Level: 1, Topic: "network"}, 1, 2)
	for _, c := range list {
		if c.Of.Spec.Level != 1 || c.Of.Spec.Topic != "network" {
			t.Errorf("%s is no such lab", c.Of.Spec.Code)
		}
	}
	if err != nil {
		t.Error(err)
	}
	if _, err := Pick(all, Filter{Level: 1, Topic: "devices"}, 1, 1); err == nil {
		t.Error("there is no such lab")
	}
	// The draw does not change the order of the list it draws from.
	if again, _ := scenarios.Courses(); again[0].Of.Spec.Code != all[0].Of.Spec.Code {
		t.Error("the list was shuffled")
	}
}

func TestDebrief(t *testing.T) {
	c, err := scenarios.FindCourse("L07")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	st := &State{Record: Record{Started: at, Refused: []string{"still-ill", "node-cordoned"}}}
	st.Tell(at.Add(90*time.Second), "command", "w1: echo <script>alert(1)</script> | cat")
	st.Tell(at.Add(30*time.Second), "hint", "hint 1 of 4")
	dir := t.TempDir()
	md, html, err := NewDebrief(*c, "ko", st.Record, Score{Points: 42}).Write(dir, "x")
	if err != nil {
		t.Fatal(err)
	}
	text, page := read(t, md), read(t, html)
	for _, want := range []string{"화요일", "cni/conflist-missing", "| 42 |", "00:01:30", `\| cat`, "node-cordoned", "sickbay lab start L07"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if strings.Index(text, "hint 1 of 4") > strings.Index(text, "alert(1)") {
		t.Error("the timeline is not in order")
	}
	if strings.Contains(page, "<script>") || !strings.Contains(page, "&lt;script&gt;") || !strings.Contains(page, "cni/conflist-missing") {
		t.Error("what was typed is markup in the page")
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestTwoTerminals: what one terminal writes while another has an older look at the lab is kept: a hint cannot be taken back by a shell
// that was open before it.
func TestTwoTerminals(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	if err := s.Save(&State{Code: "L07", Cluster: "c", Run: "l07-a"}); err != nil {
		t.Fatal(err)
	}
	shell, err := s.Load("c")
	if err != nil {
		t.Fatal(err)
	}
	hint, err := s.Load("c")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), hint, func(st *State) { st.Hints++ }); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), shell, func(st *State) { st.Tell(time.Now(), "command", "ls") }); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Load("c"); err != nil || got.Hints != 1 || len(got.Timeline) != 1 || shell.Hints != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	// Another lab by now is not written over.
	if err := s.Save(&State{Code: "L09", Cluster: "c", Run: "l09-b"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), shell, func(st *State) { st.Hints++ }); err == nil || !strings.Contains(err.Error(), "lab L07") {
		t.Errorf("%v", err)
	}
}
