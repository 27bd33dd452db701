package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/internal/lab"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
)

// audited is a cluster of one control plane, whose API server may have an audit log, and what is asked of it.
type audited struct {
	deps *fakeDeps
	dir  string
}

const fakeKubeconfig = `{"kind":"Config","apiVersion":"v1","current-context":"x","contexts":[{"name":"x","context":{"cluster":"x","user":"x"}}],` +
	`"clusters":[{"name":"x","cluster":{"server":"https://c:6443"}}],"users":[{"name":"x","user":{"username":"WHO","password":"p"}}]}`

func newAudited(t *testing.T, log string) *audited {
	t.Helper()
	w := &audited{dir: t.TempDir()}
	cli := filepath.Join(w.dir, "docker")
	files := map[string]string{
		"inspect.json": `[{"Id":"0123456789abcdef","Name":"/sickbay-control-plane","State":{"Status":"running"},"Config":{"Labels":{"io.x-k8s.kind.cluster":"sickbay","io.x-k8s.kind.role":"control-plane"}},` +
			`"Mounts":[{"Type":"bind","Destination":"` + cluster.Mark + `/small.quick.ab"}],"NetworkSettings":{"Ports":{"6443/tcp":[{"HostIp":"127.0.0.1","HostPort":"7000"}]}}}]`,
		"admin.conf": strings.ReplaceAll(fakeKubeconfig, "WHO", "admin"), "oncall.conf": strings.ReplaceAll(fakeKubeconfig, "WHO", "oncall"),
		"docker": `#!/bin/sh
cd ` + w.dir + `
case $1 in
ps) echo 0123456789abcdef;;
container) cat inspect.json;;
exec) echo "sickbay-pid 7 (sh) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 42 0" >&2
	echo "$*" >>asked
	case $* in
	*kubeadm*) [ -e audit.log ] || exit 3; cat oncall.conf;;
	*audit*) [ -e audit.log ] || exit 3; cat audit.log;;
	*admin.conf) cat admin.conf;;
	esac;;
esac
`}
	if log != "" {
		files["audit.log"] = log
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	e := &engine.Engine{Provider: engine.Docker, CLI: cli}
	w.deps = &fakeDeps{t: t, engine: func() (*engine.Engine, error) { return e, nil },
		cluster: func(name string) (*cluster.Cluster, error) { return cluster.Find(t.Context(), e, name) }}
	return w
}

// asked is what was run on the control plane.
func (w *audited) asked() string {
	raw, _ := os.ReadFile(filepath.Join(w.dir, "asked"))
	return string(raw)
}

func change(at time.Time, name string) string {
	return `{"verb":"delete","user":{"username":"oncall"},"objectRef":{"resource":"pods","namespace":"default","name":"` + name + `"},"requestReceivedTimestamp":"` + at.UTC().Format("2006-01-02T15:04:05.000000Z07:00") + `"}` + "\n"
}

// TestChangesNeedConsent: who did not agree has the administrator's credentials, whose doings nobody writes down, and nothing is read of
// the log. Who agreed has others from then on.
func TestChangesNeedConsent(t *testing.T) {
	began := time.Now().Add(-5 * time.Minute)
	log := change(began.Add(time.Minute), "early") + change(began.Add(time.Hour), "late")
	for _, c := range []struct {
		name          string
		change        func(*lab.State)
		record, audit bool
		conf, note    string
		want          []string
	}{
		{name: "no consent", audit: true, conf: "admin.conf"},
		{name: "no consent and no audit", conf: "admin.conf"},
		{name: "a shell", record: true, audit: true, conf: "oncall.conf", want: []string{"delete pods default/late"}},
		{name: "the whole lab", change: func(s *lab.State) { s.Recorded, s.Consent = true, began }, record: true, audit: true, conf: "oncall.conf", want: []string{"delete pods default/early", "delete pods default/late"}},
		{name: "no audit", record: true, conf: "admin.conf", want: []string{"what was changed through the API is not known: its API server keeps no audit log"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLearner(t)
			l.begin("L07", c.change)
			w := newAudited(t, map[bool]string{true: log}[c.audit])
			a := newApp(strings.NewReader(""), file(t), file(t))
			a.deps = w.deps
			le, err := lessonOn("sickbay", "")
			if err != nil {
				t.Fatal(err)
			}
			on, err := a.ours(t.Context(), "sickbay")
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			sh, err := le.shell(t.Context(), on, "sickbay-control-plane", false, c.record)
			if err != nil || !slices.Contains(sh.Args, "KUBECONFIG=/etc/kubernetes/"+c.conf) {
				t.Errorf("%v, %v", sh, err)
			}
			if st, err := l.store.Load("sickbay"); err != nil || st.Consent.IsZero() == c.record {
				t.Errorf("%+v, %v", st, err)
			}
			le.st.Timeline = nil
			a.changes(t.Context(), le, start.Add(2*time.Hour))
			var got []string
			for _, e := range le.st.Timeline {
				got = append(got, e.Text)
			}
			if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
				t.Errorf("%q, want %q", got, c.want)
			}
			if asked := w.asked(); !c.record && asked != "" {
				t.Errorf("without consent this was asked: %s", asked)
			}
		})
	}
}

// TestStatusShowsChanges: what kubectl changed so far is there to be seen before the debrief, by who agreed to it; nothing of it is kept.
func TestStatusShowsChanges(t *testing.T) {
	began := time.Now().Add(-5 * time.Minute)
	var log strings.Builder
	for i := range 12 {
		log.WriteString(change(began.Add(time.Duration(i+1)*time.Second), fmt.Sprintf("web-%d", i)))
	}
	for _, recorded := range []bool{false, true} {
		l := newLearner(t)
		l.begin("L07", func(s *lab.State) {
			if s.Recorded = recorded; recorded {
				s.Consent = began
			}
		})
		w := newAudited(t, log.String())
		out := file(t)
		a := newApp(nil, out, file(t))
		a.deps = w.deps
		a.execute(t.Context(), []string{"lab", "status"})
		stdout := content(t, out)
		if !strings.Contains(stdout, "on the clock") || strings.Contains(stdout, "delete pods default/web-11\n") != recorded || strings.Contains(stdout, "and 2 before") != recorded || strings.Contains(stdout, "web-1\n") {
			t.Errorf("recorded %t: %s", recorded, stdout)
		}
		if st, err := l.store.Load("sickbay"); err != nil || slices.ContainsFunc(st.Timeline, func(e lab.Entry) bool { return e.Kind == "api" }) {
			t.Errorf("%+v, %v", st, err)
		}
		if asked := w.asked(); !recorded && strings.Contains(asked, "audit") {
			t.Error(asked)
		}
	}
}

// TestBriefingNamesTheKubeconfig: kubectl on this machine is written down where the learner agreed, and the briefing says so.
func TestBriefingNamesTheKubeconfig(t *testing.T) {
	for _, recorded := range []bool{false, true} {
		l := newLearner(t)
		l.begin("L07", func(s *lab.State) { s.Recorded = recorded })
		w := newAudited(t, "\n")
		out := file(t)
		a := newApp(nil, out, file(t))
		a.deps = w.deps
		le, err := lessonOn("sickbay", "")
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.ours(t.Context(), "sickbay")
		if err != nil {
			t.Fatal(err)
		}
		if inside := le.onCall(t.Context(), c); inside != "/etc/kubernetes/oncall.conf" {
			t.Error(inside)
		}
		a.briefing(out, le, c)
		shown := content(t, out)
		if strings.Contains(shown, "kubeconfig-oncall    # what it changes will be in the debrief") != recorded {
			t.Error(shown)
		}
		file, err := c.OnCallKubeconfig()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(file)
		if info, serr := os.Stat(file); err != nil || serr != nil || info.Mode().Perm() != 0o600 || !strings.Contains(string(raw), "https://127.0.0.1:7000") {
			t.Errorf("%v, %v: %s", err, serr, raw)
		}
	}
}
