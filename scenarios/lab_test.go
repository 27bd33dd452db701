package scenarios

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

const goodLab = `apiVersion: sickbay.dev/v1alpha1
kind: Lab
metadata: {name: try}
spec:
  code: L99
  level: 1
  topic: network
  minutes: 10
  story: {en: something is off}
  goals:
    - says: {en: it works}
      holds: {node: "true"}
  hints:
    - says: {en: look here}
      while: {match: {condition: {type: Ready, status: "False"}}}
    - says: {en: it is this}
  mutants:
    - name: cordon
    - name: wrong
      does: [{cluster: "true"}]
      refused: still-ill
  solve:
    - name: right
      does: [{node: "true"}]
`

func TestGoodLabLoads(t *testing.T) {
	l, err := ParseLab([]byte(goodLab), "lab.yaml", "try")
	if err != nil {
		t.Fatal(err)
	}
	if l.Spec.Hints[0].While.Match.Condition.Status != "False" || l.Spec.Mutants[1].Does[0].Cluster != "true" {
		t.Errorf("%+v", l.Spec)
	}
	if l.Spec.Story.In("ko") != "something is off" {
		t.Error("what is not translated is English")
	}
}

func TestBadLab(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"another scenario's", "{name: try}", "{name: other}", `metadata.name is "other"; it must be the scenario's, "try"`},
		{"a code that tells", "code: L99", "code: cni", `code "cni": write it like L07`},
		{"level", "level: 1", "level: 4", `level 4: want 1, 2 or 3`},
		{"topic", "topic: network", "topic: netwrok", `did you mean "network"?`}, //nolint:misspell // the mistake it is about
		{"two questions", `holds: {node: "true"}`, `holds: {node: "true", cluster: "true"}`, "exactly one of node, cluster, match; this one has 2"},
		{"no question", `holds: {node: "true"}`, `holds: {not: true}`, "exactly one of node, cluster, match; this one has 0"},
		{"a log line does not go away", `condition: {type: Ready, status: "False"}`, "log: {unit: kubelet, contains: something}", "a log line or an event does not go away"},
		{"unknown field", "hints:", "hint:", `unknown field "hint" in spec; did you mean "hints"?`},
		{"a reason that is none", "refused: still-ill", "refused: stil-ill", `did you mean "still-ill"?`},
		{"no reason", "      refused: still-ill\n", "", "needs refused"},
		{"a command on two machines", `does: [{cluster: "true"}]`, `does: [{cluster: "true", node: "true"}]`, "exactly one of node and cluster"},
		{"one hint", "    - says: {en: it is this}\n", "", "hints need at least two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(goodLab, c.old) {
				t.Fatal("nothing to replace")
			}
			_, err := ParseLab([]byte(strings.Replace(goodLab, c.old, c.new, 1)), "lab.yaml", "try")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// TestLabs holds the labs that come with sickbay to what a learner and a referee need of them.
func TestLabs(t *testing.T) {
	all, err := Courses()
	if err != nil {
		t.Fatal(err)
	}
	every, err := All()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range every {
		f, _ := failures.Lookup(s.Spec.Expect[0].Failure)
		if !f.Draft() && !slices.ContainsFunc(all, func(c Course) bool { return c.Metadata.Name == s.Metadata.Name }) {
			t.Errorf("scenario %s has no %s", s.Metadata.Name, LabName)
		}
	}
	codes := map[string]string{}
	for _, c := range all {
		l := c.Of.Spec
		t.Run(c.Metadata.Name, func(t *testing.T) {
			if other := codes[l.Code]; other != "" {
				t.Errorf("%s is the code of %s, too", l.Code, other)
			}
			codes[l.Code] = c.Metadata.Name
			secretive(t, c)
			for i, h := range l.Hints {
				if h.While == (v1alpha1.LabCheck{}) {
					t.Errorf("hint %d is not proven", i+1)
				}
			}
			if c.Spec.Profile != "core" {
				return
			}
			if l.Page == "" || len(l.Mutants) < 5 {
				t.Errorf("page %q, %d mutants: want five", l.Page, len(l.Mutants))
			}
			// Beside the finding's remedy.
			if len(l.Solve) == 0 {
				t.Error("there is one right fix alone")
			}
			texts := []v1alpha1.Text{l.Story}
			for _, g := range l.Goals {
				texts = append(texts, g.Says)
			}
			for _, h := range l.Hints {
				texts = append(texts, h.Says)
			}
			for _, x := range texts {
				if strings.TrimSpace(x.Ko) == "" || x.Ko == x.En {
					t.Errorf("no Korean for %q", x.En)
				}
			}
			// The one that takes everything away ends the fault: those after it have one of their own.
			at := slices.IndexFunc(l.Mutants, func(m v1alpha1.LabMutant) bool { return m.Name == "recover" })
			for i, m := range l.Mutants {
				if len(m.Does) > 0 && len(m.Undo) == 0 && i < at {
					t.Errorf("mutant %s cannot be undone and stands before recover", m.Name)
				}
			}
		})
	}
}

// secretive: what a learner sees before the first hint does not name the cause.
func secretive(t *testing.T, c Course) {
	seen := c.Of.Spec.Page + c.Of.Spec.Story.En + c.Of.Spec.Story.Ko
	for _, g := range c.Of.Spec.Goals {
		seen += g.Says.En + g.Says.Ko
	}
	seen = strings.ToLower(seen)
	for _, e := range c.Spec.Expect {
		for _, word := range []string{e.Cause, strings.ReplaceAll(e.Cause, "-", " ")} {
			if strings.Contains(seen, word) {
				t.Errorf("the briefing gives away %q", word)
			}
		}
	}
}

// TestLabScriptsAreShell: a script with a mistake would answer no, which is what a mutant or a proof may want.
func TestLabScriptsAreShell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	all, err := Courses()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		l := c.Of.Spec
		list := []string{l.Keeps}
		for _, g := range l.Goals {
			list = append(list, g.Holds.Node, g.Holds.Cluster)
		}
		for _, h := range l.Hints {
			list = append(list, h.While.Node, h.While.Cluster)
		}
		var does []v1alpha1.LabDo
		for _, m := range l.Mutants {
			does = append(append(does, m.Does...), m.Undo...)
		}
		for _, w := range l.Solve {
			does = append(does, w.Does...)
		}
		for _, d := range does {
			list = append(list, d.Node, d.Cluster)
		}
		for _, script := range list {
			if out, err := exec.CommandContext(t.Context(), sh, "-n", "-c", script).CombinedOutput(); err != nil {
				t.Errorf("%s: %s\n%s", c.Metadata.Name, script, out)
			}
		}
	}
}
