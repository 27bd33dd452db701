// Package remedy carries out the plans that findings come with, as an operator would: commands on the node, changes through the
// API.
//
// It knows nodes, the API and plans. It knows nothing of injectors: no remedy may ever call one's recovery.
package remedy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// Target is what a plan is carried out on.
type Target struct {
	// Nodes reaches a node by name; false when there is none of that name.
	Nodes func(name string) (node.Node, bool)
	// Kube and REST are the operator's access to the API; both nil when there is none, and then API steps fail.
	Kube kubernetes.Interface
	REST *rest.Config
	// Original fetches a file as the node's image or package has it. Nil where there is no such source.
	Original func(ctx context.Context, nodeName, path string) (*File, error)

	// Dynamic and Mapper are made from REST when nil.
	Dynamic dynamic.Interface
	Mapper  meta.RESTMapper
}

// File is a file as a node's image has it.
type File struct {
	Mode    uint32 // permission bits
	ModTime time.Time
	Link    string // target, when it is a symbolic link; Content is nil then
	Content []byte
}

// Options say how a plan is carried out.
type Options struct {
	// DryRun changes nothing and answers with the steps, none of them done.
	DryRun bool
	// Watch ends, with an error, when the signal plainly stays that the plan addresses, and else with the context. It runs beside
	// a step that waits, and ends it: what did not help is not waited for.
	Watch func(context.Context) error
	// OnStep hears of a step when it begins (Ended is zero) and when it has ended.
	OnStep func(StepResult)
	// Bounds of the steps; zero takes the default.
	Bounds Bounds
}

// Bounds limit each kind of step.
type Bounds struct {
	Exec      time.Duration // default 2m: systemd gives a unit 90 s to stop before it kills it
	Drain     time.Duration // default 60s, as the command shown says
	Delete    time.Duration // default 90s, on top of the grace period: a pod ends after its pull, and a server that is silent is given up after 30 s
	WaitReady time.Duration // default 3m: a restarted kubelet needs its status period and the runtime's first answers
	Successor time.Duration // default 2m: schedule, pull and pass the readiness probe
	Change    time.Duration // default 30s: patch, cordon, uncordon
	RenewCert time.Duration // default 60s
}

func (b Bounds) withDefaults() Bounds {
	for d, v := range map[*time.Duration]time.Duration{
		&b.Exec: 2 * time.Minute, &b.Drain: time.Minute, &b.Delete: 90 * time.Second,
		&b.WaitReady: 3 * time.Minute, &b.Change: 30 * time.Second, &b.Successor: 2 * time.Minute, &b.RenewCert: time.Minute,
	} {
		if *d == 0 {
			*d = timeoutscale.Bound(v)
		}
	}
	return b
}

// Result is what became of a plan.
type Result struct {
	Remedy string       `json:"remedy"`
	Steps  []StepResult `json:"steps"`
}

// StepResult is what became of one step.
type StepResult struct {
	Index   int           `json:"index"`
	Step    v1alpha1.Step `json:"step"`
	Started time.Time     `json:"started,omitzero"`
	Ended   time.Time     `json:"ended,omitzero"`
	Output  string        `json:"output,omitempty"` // its end
	Err     error         `json:"-"`
	Error   string        `json:"error,omitempty"`
	Skipped string        `json:"skipped,omitempty"` // why it was not run
	Undone  time.Time     `json:"undone,omitzero"`   // when it was taken back
	UndoErr string        `json:"undoError,omitempty"`
}

// Done tells whether the step was run and worked.
func (s StepResult) Done() bool { return !s.Ended.IsZero() && s.Err == nil && s.Skipped == "" }

// StepError is the step at which a plan stopped.
type StepError struct {
	Remedy string
	Number int // from 1
	Of     int
	Run    string
	Err    error
}

func (e *StepError) Error() string {
	return fmt.Sprintf("remedy %s, step %d of %d (%s): %v", e.Remedy, e.Number, e.Of, e.Run, e.Err)
}

func (e *StepError) Unwrap() error { return e.Err }

// Apply carries out a plan in order and stops at the first step that fails, with a *StepError. A node that the plan cordoned is
// uncordoned all the same, also after ctx has ended: a failed remedy must not take a node out of service.
func Apply(ctx context.Context, t Target, r v1alpha1.Remedy, o Options) (Result, error) {
	o.Bounds = o.Bounds.withDefaults()
	res := Result{Remedy: r.Name}
	for i, s := range r.Steps {
		res.Steps = append(res.Steps, StepResult{Index: i, Step: s, Skipped: "not reached"})
	}
	if err := check(r); err != nil {
		return res, err
	}
	if o.DryRun {
		for i := range res.Steps {
			res.Steps[i].Skipped = "dry run"
		}
		return res, nil
	}
	a := applier{t, o}
	var cordoned []string
	var failed error
	for i, s := range r.Steps {
		if failed == nil && ctx.Err() != nil {
			failed = &StepError{r.Name, i + 1, len(r.Steps), s.Run, context.Cause(ctx)}
		}
		closing := s.API != nil && s.API.Verb == v1alpha1.VerbUncordon && slices.Contains(cordoned, s.API.Object.Name)
		if failed != nil && !closing {
			continue
		}
		sctx := ctx
		if failed != nil {
			sctx = context.WithoutCancel(ctx)
		}
		res.Steps[i] = a.step(sctx, i, s)
		if err := res.Steps[i].Err; err != nil {
			failed = errors.Join(failed, &StepError{r.Name, i + 1, len(r.Steps), s.Run, err})
			continue
		}
		if s.API != nil && s.API.Verb == v1alpha1.VerbCordon {
			cordoned = append(cordoned, s.API.Object.Name)
		}
	}
	return res, failed
}

// Undo takes the steps of a result back that were done and can be taken back, the last one first, and then restarts what the plan
// had restarted since. It goes on after an error, and also after ctx has ended; what became of it stands in the steps.
func Undo(ctx context.Context, t Target, res *Result, o Options) {
	o.Bounds = o.Bounds.withDefaults()
	a := applier{t, o}
	ctx = context.WithoutCancel(ctx)
	run := func(s *StepResult, argv ...string) {
		var out output
		if err := a.exec(ctx, s.Step.On, argv, &out); err != nil {
			s.UndoErr = err.Error()
			return
		}
		s.Undone = time.Now()
	}
	first := len(res.Steps)
	for i, s := range slices.Backward(res.Steps) {
		if s.Done() && s.Step.Undo != "" {
			run(&res.Steps[i], "sh", "-ec", s.Step.Undo)
			first = i
		}
	}
	for i := first + 1; i < len(res.Steps); i++ {
		if s := &res.Steps[i]; s.Done() && len(s.Step.Exec) == 3 && s.Step.Exec[0] == "systemctl" && s.Step.Exec[1] == "restart" {
			run(s, s.Step.Exec...)
		}
	}
}

// Forget deletes what remedies moved aside or keep a copy of on a node, and the drop-in directories that are empty then.
func Forget(ctx context.Context, n node.Node) error {
	ctx, cancel := bound(ctx, Bounds{}.withDefaults().Change)
	defer cancel()
	_, err := n.Run(ctx, node.Sh(`find $(ls -d /etc /run /usr/lib/systemd /usr/local /opt/cni /var/lib/cni /var/lib/kubelet 2>/dev/null) -xdev -path /var/lib/kubelet/pods -prune -o -name '*`+v1alpha1.Aside+`*' -exec rm -rf {} +
find /etc/systemd/system /run/systemd/system -xdev -type d -name '*.service.d' -empty -delete`))
	return err
}

// check refuses a plan that cannot be carried out before any of it is.
func check(r v1alpha1.Remedy) error {
	if len(r.Steps) == 0 {
		return fmt.Errorf("remedy %q has no steps", r.Name)
	}
	for i, s := range r.Steps {
		kinds := 0
		for _, is := range []bool{len(s.Exec) > 0, s.API != nil, s.Restore != ""} {
			if is {
				kinds++
			}
		}
		switch {
		case !slices.Contains(v1alpha1.Classes(), s.Class):
			return fmt.Errorf("remedy %s, step %d (%s): it has no class", r.Name, i+1, s.Run)
		case kinds != 1:
			return fmt.Errorf("remedy %s, step %d: exactly one of a command, an API action and a file to restore is needed", r.Name, i+1)
		case s.API == nil && s.On == "":
			return fmt.Errorf("remedy %s, step %d (%s): it does not say on which node", r.Name, i+1, s.Run)
		case s.API != nil && s.API.Object == nil:
			return fmt.Errorf("remedy %s, step %d (%s): %s of nothing", r.Name, i+1, s.Run, s.API.Verb)
		}
	}
	return nil
}

type applier struct {
	Target
	o Options
}

func (a *applier) step(ctx context.Context, i int, s v1alpha1.Step) StepResult {
	r := StepResult{Index: i, Step: s, Started: time.Now()}
	a.tell(r)
	var out output
	switch {
	case s.API != nil && s.API.Verb == v1alpha1.VerbWaitReady && a.o.Watch != nil:
		watched, cancel := context.WithCancelCause(ctx)
		go func() {
			if err := a.o.Watch(watched); err != nil {
				cancel(err)
			}
		}()
		r.Err = a.api(watched, s.API, &out)
		cancel(nil)
	case s.API != nil:
		r.Err = a.api(ctx, s.API, &out)
	case s.Restore != "":
		r.Err = a.restore(ctx, s.On, s.Restore, &out)
	default:
		r.Err = a.exec(ctx, s.On, s.Exec, &out)
	}
	r.Ended, r.Output = time.Now(), out.String()
	if r.Err != nil {
		r.Error = r.Err.Error()
	}
	a.tell(r)
	return r
}

func (a *applier) tell(r StepResult) {
	if a.o.OnStep != nil {
		a.o.OnStep(r)
	}
}

func (a *applier) node(name string) (node.Node, error) {
	if a.Nodes == nil {
		return nil, fmt.Errorf("node %s cannot be reached: there is no way to any node", name)
	}
	n, ok := a.Nodes(name)
	if !ok {
		return nil, fmt.Errorf("there is no node %s", name)
	}
	return n, nil
}

func (a *applier) exec(ctx context.Context, on string, argv []string, out *output) error {
	n, err := a.node(on)
	if err != nil {
		return err
	}
	ctx, cancel := bound(ctx, a.o.Bounds.Exec)
	defer cancel()
	stdout, err := n.Run(ctx, node.Command{Argv: argv, Stderr: out})
	_, _ = out.Write(stdout)
	return err
}

// restore puts a file back with its mode and time.
func (a *applier) restore(ctx context.Context, on, path string, out *output) error {
	if a.Original == nil {
		return fmt.Errorf("restore %s on node %s: there is no image to take it from; reinstall the package it came with", path, on)
	}
	n, err := a.node(on)
	if err != nil {
		return err
	}
	ctx, cancel := bound(ctx, a.o.Bounds.Exec)
	defer cancel()
	f, err := a.Original(ctx, on, path)
	if err != nil {
		return fmt.Errorf("restore %s on node %s: %w", path, on, err)
	}
	if f.Link != "" {
		_, err := n.Run(ctx, node.Argv("ln", "-sfn", f.Link, path))
		return err
	}
	if err := n.Put(ctx, path, fileMode(f.Mode), bytesReader(f.Content)); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if _, err := n.Run(ctx, node.Argv("touch", "-d", f.ModTime.UTC().Format("2006-01-02T15:04:05Z"), path)); err != nil {
		return err
	}
	out.printf("%s: %d bytes, mode %04o\n", path, len(f.Content), f.Mode)
	return nil
}

func bound(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("not done within %s", d))
}

// output keeps the end of what a step printed.
type output struct{ b []byte }

const keepOutput = 8 << 10

func (o *output) Write(p []byte) (int, error) {
	o.b = append(o.b, p...)
	if over := len(o.b) - keepOutput; over > 0 {
		o.b = append(o.b[:0], o.b[over:]...)
	}
	return len(p), nil
}

func (o *output) printf(f string, a ...any) { _, _ = fmt.Fprintf(o, f, a...) }

func (o *output) String() string { return strings.TrimSpace(strings.ToValidUTF8(string(o.b), "�")) }
