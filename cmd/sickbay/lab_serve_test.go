package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/internal/lab"
	"github.com/sickbay-dev/sickbay/internal/lab/web"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
)

// TestServeIsRefused: nothing listens beyond this machine by mistake, and no two learners share a cluster.
func TestServeIsRefused(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--listen", ":8010"}, "--host NAME"},
		{[]string{"--listen", "0.0.0.0:8010"}, "--host NAME"},
		{[]string{"--listen", "192.0.2.1:8010"}, "a link is a root shell"},
		{[]string{"--listen", "8010"}, "ADDRESS:PORT"},
		{[]string{"--cluster", "a,a"}, "is there twice"},
		{[]string{"--for", "1m"}, "--for"},
	} {
		l := newLearner(t)
		if code, _, errs := l.types(append([]string{"serve"}, c.args...)...); code != exitUsage || !strings.Contains(errs, c.want) {
			t.Errorf("%q: exit code %d, %s", c.args, code, errs)
		}
	}
}

// TestServe: without a flag only this machine is listened to, under its own names; the pages come, and the end is at once.
func TestServe(t *testing.T) {
	newLearner(t)
	ctx, stop := context.WithCancel(t.Context())
	out := file(t)
	a := newApp(strings.NewReader(""), out, file(t))
	a.deps = &fakeDeps{t: t}
	code := make(chan int)
	go func() { code <- a.execute(ctx, []string{"lab", "serve", "--listen", "127.0.0.1:0"}) }()
	var links []string
	for len(links) < 2 {
		select {
		case c := <-code:
			t.Fatalf("it ended with %d", c)
		case <-time.After(5 * time.Millisecond):
		}
		links = nil
		for w := range strings.FieldsSeq(content(t, out)) {
			if strings.HasPrefix(w, "http://127.0.0.1:") {
				links = append(links, w)
			}
		}
	}
	for _, link := range links {
		a, err := http.Get(link) //nolint:gosec,noctx // our own
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if a.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", link, a.Status)
		}
	}
	stop()
	if c := <-code; c != exitInterrupted {
		t.Errorf("it ended with %d", c)
	}
}

func TestHostsOfPages(t *testing.T) {
	got := hostsAt("[::]:8010", "8010", []string{"Lab.example.com", "ssh.example.com:9000"})
	for _, want := range []string{"lab.example.com", "lab.example.com:8010", "ssh.example.com:9000", "localhost:8010", "[::1]:8010"} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in %q", want, got)
		}
	}
	if got[0] != "lab.example.com" || slices.Contains(got, "ssh.example.com") {
		t.Errorf("%q", got)
	}
	if got := hostsAt("127.0.0.1:8010", "8010", nil); got[0] != net.JoinHostPort("127.0.0.1", "8010") {
		t.Errorf("%q", got)
	}
}

// TestDesk: a page's verbs are those of the terminal, refusals and their ways out included.
func TestDesk(t *testing.T) {
	l, ctx := newLearner(t), t.Context()
	a := newApp(strings.NewReader(""), file(t), file(t))
	a.deps = &fakeDeps{t: t, engine: func() (*engine.Engine, error) { return nil, errors.New("none") }}
	d := &desk{a: a, o: labStarting{clusterOptions: clusterOptions{cluster: "sickbay"}, lease: time.Hour, language: "en"}}
	if got, err := d.Lab(ctx); got != nil || err != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := d.Hint(ctx); err == nil || !strings.Contains(err.Error(), "sickbay lab start") {
		t.Errorf("%v", err)
	}
	if told, err := d.Stop(ctx, "en"); told != nil || err != nil {
		t.Errorf("%+v, %v", told, err)
	}
	l.begin("L07", nil)
	if err := d.Hint(ctx); err != nil {
		t.Fatal(err)
	}
	if err := d.Answer(ctx, "cni/conflist-mising"); err == nil || !strings.Contains(err.Error(), "did you mean conflist-missing?") {
		t.Errorf("%v", err)
	}
	if err := d.Answer(ctx, "pleg/runtime-io-stall"); err != nil {
		t.Fatal(err)
	}
	got, err := d.Lab(ctx)
	if err != nil || got.Code != "L07" || len(got.Hints) != 1 || got.Rungs < 2 || len(got.Answers) != 1 || got.Answers[0].Grade != lab.Wrong || got.Left != 1 || got.Seconds < 299 || got.Over != "" {
		t.Errorf("%+v, %v", got, err)
	}
	// They reach for the cluster, and say what is missing; the clock does not stand for it.
	for name, do := range map[string]func() error{
		"pause": func() error { return d.Pause(ctx) }, "reset": func() error { return d.Reset(ctx) },
		"step": func() error { _, err := d.Step(ctx); return err },
	} {
		if err := do(); err == nil || !strings.Contains(err.Error(), "none") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if st, err := l.store.Load("sickbay"); err != nil || st.Phase != lab.Running || st.Shown != 0 {
		t.Errorf("%+v, %v", st, err)
	}
	for _, x := range []lab.Done{{Learner: "sickbay", Score: lab.Score{Points: 80}}, {Learner: "two", Score: lab.Score{Points: 50}}} {
		if err := l.store.Append(x); err != nil {
			t.Fatal(err)
		}
	}
	if labs, points := d.Progress(); labs != 1 || points != 80 {
		t.Errorf("%d labs, %d points", labs, points)
	}
	if _, out, _ := l.types("progress", "--learner", "two"); !strings.Contains(out, "two") || strings.Contains(out, "80") {
		t.Error(out)
	}
	for _, bad := range []web.Choice{{Code: "cni-conflist"}, {Code: "../../scenarios/cni/scenario.yaml"}, {Level: 9}} {
		if list, err := drawn(bad); err == nil {
			t.Errorf("%+v starts %d labs", bad, len(list))
		}
	}
	one, err := drawn(web.Choice{Level: 1, Seed: 3})
	same, _ := drawn(web.Choice{Level: 1, Seed: 3})
	if err != nil || len(one) == 0 || one[0].Of.Spec.Code != same[0].Of.Spec.Code {
		t.Errorf("%v", err)
	}
}
