package web

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/lab"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// fakeDesk is a world with one fault: a file that is missing, and whose shells are this machine's.
type fakeDesk struct {
	mu      sync.Mutex
	dir     string // of the shells; a file "fixed" in it is the fix
	st      *lab.State
	chosen  []Choice
	fixed   func() bool
	stopped int
	hold    chan struct{} // a check waits for it
}

var course = scenarios.Course{Scenario: &scenarios.Scenario{}, Of: &v1alpha1.Lab{}}

func init() {
	course.Spec.Title = "the CNI configuration is gone"
	course.Spec.Expect = []v1alpha1.Expected{{Failure: "cni", Cause: "conflist-missing"}}
	course.Of.Spec = v1alpha1.LabSpec{
		Code: "L99", Level: 1, Topic: "network", Minutes: 10, Page: "KubeNodeNotReady (critical): one worker",
		Story: v1alpha1.Text{En: "A worker went NotReady after a clean-up.", Ko: "정리 작업 뒤 워커 하나가 NotReady가 되었다."},
		Hints: []v1alpha1.LabHint{
			{Says: v1alpha1.Text{En: "Read the node's Ready condition.", Ko: "노드의 Ready 조건을 읽어 보자."}},
			{Says: v1alpha1.Text{En: "/etc/cni/net.d is empty."}},
		},
	}
}

func (d *fakeDesk) Lab(context.Context) (*Lab, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.st == nil {
		return nil, nil
	}
	s := course.Of.Spec
	l := &Lab{Code: s.Code, Topic: s.Topic, Level: s.Level, Minutes: s.Minutes, Page: s.Page, Story: s.Story, Phase: d.st.Phase, Rungs: len(s.Hints),
		Seconds: int(d.st.Clock(time.Now()).Seconds()), Answers: d.st.Answers, Left: lab.Missing(d.st.Answers, course.Spec.Expect), Nodes: []string{"cp", "w1"}, Home: "cp"}
	for _, h := range s.Hints[:d.st.Hints] {
		l.Hints = append(l.Hints, h.Says)
	}
	return l, nil
}

func (d *fakeDesk) well() bool { return d.fixed != nil && d.fixed() }

func (d *fakeDesk) Symptoms(context.Context) (lab.Symptoms, error) {
	ready := lab.Condition{Node: "w1", Type: "Ready", Status: "False", Reason: "KubeletNotReady", Message: "cni plugin not initialized", Bad: true, Since: time.Now().Add(-time.Minute)}
	pod := lab.Pod{Name: "shop/web-0", Node: "w1", Status: "ContainerCreating", Bad: true}
	if d.well() {
		ready.Status, ready.Bad, ready.Message, pod.Status, pod.Bad = "True", false, "kubelet is posting ready status", "Running", false
	}
	cp := lab.Condition{Node: "cp", Type: "Ready", Status: "True", Reason: "KubeletReady", Since: time.Now().Add(-time.Hour)}
	return lab.Symptoms{Conditions: []lab.Condition{cp, ready}, Pods: []lab.Pod{pod},
		Events: []lab.Event{{At: time.Now(), Object: "Pod/web-0", Reason: "FailedCreatePodSandBox", Message: `plugin type="loopback" failed: <b>not found</b>`, Bad: true}}}, nil
}

func (d *fakeDesk) Start(_ context.Context, c Choice) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.st != nil {
		return errors.New("lab L99 is on the cluster already")
	}
	d.chosen = append(d.chosen, c)
	now := time.Now()
	d.st = &lab.State{Code: "L99", Phase: lab.Running, Record: lab.Record{Started: now, Knew: now.Add(12 * time.Second)}}
	d.st.Tell(now, "lab", "the fault is in place")
	return nil
}

var errNoLab = errors.New("no lab is running")

func (d *fakeDesk) change(do func(*lab.State)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.st == nil {
		return errNoLab
	}
	do(d.st)
	return nil
}

func (d *fakeDesk) Hint(context.Context) error {
	return d.change(func(st *lab.State) {
		if st.Hints < len(course.Of.Spec.Hints) {
			st.Hints++
			st.Tell(time.Now(), "hint", "hint %d", st.Hints)
		}
	})
}

func (d *fakeDesk) Answer(_ context.Context, name string) error {
	if name == "cni/conflist-mising" {
		return errors.New("unknown cause of cni, did you mean conflist-missing?")
	}
	return d.change(func(st *lab.State) {
		g := lab.GradeAnswer(name, course.Spec.Expect)
		st.Answers = append(st.Answers, lab.Answer{At: time.Now(), Name: name, Grade: g})
		if g == lab.Right {
			st.Named = time.Now()
		}
		st.Tell(time.Now(), "answer", "%s: %s", name, g)
	})
}

func (d *fakeDesk) Check(ctx context.Context, detail func(string)) (lab.Verdict, error) {
	detail("the node is asked")
	if d.hold != nil {
		select {
		case <-d.hold:
		case <-ctx.Done():
			return lab.Verdict{}, ctx.Err()
		}
	}
	well := d.well()
	v := lab.Verdict{Solved: well, Goals: []lab.GoalState{{Says: v1alpha1.Text{En: "The runtime has a network for pods.", Ko: "런타임에 파드 네트워크가 있다."}, Met: well}}}
	if !well {
		v.Goals[0].Why = "not met"
		v.Refused = []lab.Refused{{Reason: v1alpha1.RefusedStillIll, Text: "a goal is not met"}}
	}
	return v, d.change(func(st *lab.State) { st.Judged(time.Now(), v) })
}

func (d *fakeDesk) Pause(context.Context) error {
	return d.change(func(st *lab.State) { st.Pause(time.Now()) })
}

func (d *fakeDesk) Resume(context.Context) error {
	return d.change(func(st *lab.State) { st.Resume(time.Now()) })
}

func (d *fakeDesk) Reset(context.Context) error {
	return d.change(func(st *lab.State) { st.Phase, st.Record = lab.Running, lab.Record{Started: time.Now()} })
}

func (d *fakeDesk) Step(context.Context) (s Step, err error) {
	err = d.change(func(st *lab.State) {
		st.Shown++
		s = Step{N: st.Shown, Of: 2, Name: "write-conflist", Why: "the agent writes it", On: "w1", Run: fmt.Sprintf("touch <step-%d>", st.Shown)}
	})
	return s, err
}

func (d *fakeDesk) Progress() (labs, points int) { return d.stopped, 90 * d.stopped }

func (d *fakeDesk) Stop(_ context.Context, language string) (*lab.Debrief, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped++
	if d.st == nil {
		return nil, nil
	}
	d.st.Tell(time.Now(), "lab", "stopped")
	b := lab.NewDebrief(course, language, d.st.Record, lab.ScoreOf(d.st.Record, course.Of, nil))
	d.st = nil
	return &b, nil
}

func (d *fakeDesk) Shell(ctx context.Context, node string, record bool) (*exec.Cmd, func(), error) {
	if node != "cp" && node != "w1" {
		return nil, nil, fmt.Errorf("there is no node %q", node)
	}
	sh := exec.CommandContext(ctx, "bash", "--noprofile", "--norc")
	sh.Dir, sh.Env = d.dir, []string{"PS1=" + node + ":~# ", "PATH=/usr/bin:/bin", "HISTFILE="}
	return sh, func() {
		if record {
			_ = d.change(func(st *lab.State) { st.Tell(time.Now(), "command", "%s: what was typed", node) })
		}
	}, nil
}
