// Package chaos kills a run's process at each point of a run and measures that nothing is left behind: the kill matrix.
package chaos

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/retry"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/suites"
)

// Mode is what happens after a run's process was killed.
type Mode string

// Modes.
const (
	Wait    Mode = "wait"    // nothing: node and watchdog are on their own
	Recover Mode = "recover" // `sickbay recover`, at once
	// Interrupt is a Ctrl-C (SIGINT) in place of the kill: the process recovers by itself and exits with 130.
	Interrupt Mode = "interrupt"
)

// Modes lists them.
func Modes() []Mode { return []Mode{Wait, Recover, Interrupt} }

// healedWithin is the promise: the node is Ready and as it was this long after its lease has ended, or after recover.
const healedWithin = time.Minute

// silentWithin is how long after that detectors may still speak of the node: the kubelet reports every 10 s, and a pod that was
// ill for a while waits its back-off out.
const silentWithin = 2 * time.Minute

// recoverBound bounds undoing one run from outside.
const recoverBound = 4 * time.Minute

// reachBound bounds how long a run may take until its process is killed: the bounds of its steps together are half of it.
const reachBound = 12 * time.Minute

// KillCase is one field of the kill matrix.
type KillCase struct {
	Scenario string       `json:"scenario"`
	Point    suites.Point `json:"point"`
	Mode     Mode         `json:"mode"`
}

func (c KillCase) String() string { return fmt.Sprintf("%s/%s/%s", c.Scenario, c.Point, c.Mode) }

// Result is what became of it.
type Result struct {
	KillCase
	// Verdict is passed when the node healed in time, failed when it did not, unknown when the process did not end at the point as it
	// should, and unsupported when this host cannot host the fault.
	Verdict v1alpha1.Verdict `json:"verdict"`
	Reason  string           `json:"reason,omitempty"`
	Node    string           `json:"node"`
	Run     string           `json:"run"`
	// Healed is how many seconds after the end of the lease, or after recover was called, the node was Ready and equal.
	Healed float64 `json:"healed"`
	// Silent is how many seconds after that the detectors had nothing to say of the node.
	Silent float64 `json:"silent"`
	// Recovered is how many seconds recover took.
	Recovered float64   `json:"recovered,omitempty"`
	At        time.Time `json:"at"`
	Took      float64   `json:"took"` // seconds, of the whole cell
}

// Runner kills the processes of runs.
type Runner struct {
	Lab   suites.Testbed
	Lease time.Duration
	// Harness gives a process of sickbay's with these arguments.
	Harness func(ctx context.Context, args ...string) *exec.Cmd
	// Then, where it is set, happens right after the process was killed: a further disaster.
	Then func(ctx context.Context, node string) error
	// Judge are the detectors; nil: all of them.
	Judge diagnose.JudgeFunc
}

// Kill makes one cell of the kill matrix on a node: it starts a run in a process of its own that is killed at the cell's point, and
// then sees whether the node is Ready, its fingerprint and the host's equal, and nothing of the run left, in time. clean is false
// when the node could not be brought back even by `sickbay recover` afterwards.
func (c *Runner) Kill(ctx context.Context, node string, cell KillCase) (res Result, clean bool) {
	began := time.Now()
	res = Result{KillCase: cell, Node: node, Run: fault.NewRunID(cell.Scenario), Verdict: v1alpha1.VerdictUnknown, At: began.UTC().Truncate(time.Second)}
	defer func() { res.Took = time.Since(began).Seconds() }()
	w, err := suites.OpenPool(ctx, c.Lab)
	if err != nil {
		res.Reason = err.Error()
		return res, true
	}
	w.Adopt(node, res.Run)
	mark, err := c.Lab.Fingerprint(ctx, node, fault.RunNamespace(res.Run))
	if err != nil {
		res.Reason = fmt.Sprintf("take a fingerprint of node %s: %s", node, err)
		return res, true
	}
	out, code, err := c.harness(ctx, reachBound, "run", cell.Scenario, "--cluster", c.Lab.Cluster(), "--node", node, "--lease", c.Lease.String(),
		"--run-id", res.Run, "--kill-at", string(cell.Point), fmt.Sprintf("--interrupt=%t", cell.Mode == Interrupt), "--quiet")
	died := time.Now()
	if want := map[Mode]int{Wait: killed, Recover: killed, Interrupt: interrupted}[cell.Mode]; code != want {
		res.Reason = fmt.Sprintf("the run ended before %s: %v: %s", cell.Point, err, out)
		if strings.Contains(out, "is unsupported here") {
			res.Verdict = v1alpha1.VerdictUnsupported
		}
		return res, c.putRight(ctx, mark, &res)
	}
	if c.Then != nil {
		if err := c.Then(ctx, node); err != nil {
			res.Reason = err.Error()
			return res, c.putRight(ctx, mark, &res)
		}
	}
	from := died.Add(c.Lease)
	switch cell.Mode {
	case Interrupt:
		from = died
	case Recover:
		out, _, err := c.harness(ctx, recoverBound, "recover", "--cluster", c.Lab.Cluster(), "--run", res.Run, "--quiet")
		res.Recovered = time.Since(died).Seconds()
		if err != nil {
			res.Verdict, res.Reason = v1alpha1.VerdictFailed, fmt.Sprintf("sickbay recover: %s: %s", err, out)
			return res, c.putRight(ctx, mark, &res)
		}
		from = died
	}
	at, err := c.healed(ctx, mark, &res, from)
	if err != nil {
		res.Verdict, res.Reason = v1alpha1.VerdictFailed, err.Error()
		return res, c.putRight(ctx, mark, &res)
	}
	res.Healed = max(0, at.Sub(from).Seconds())
	said, err := c.silent(ctx, node)
	if err != nil {
		res.Verdict, res.Reason = v1alpha1.VerdictFailed, err.Error()
		return res, c.putRight(ctx, mark, &res)
	}
	res.Silent = said.Seconds()
	changes, err := w.Close(ctx, suites.Timings{})
	switch {
	case err != nil:
		res.Reason = err.Error()
	case len(changes) > 0:
		res.Verdict, res.Reason = v1alpha1.VerdictFailed, "left on the host: "+strings.Join(changes, "; ")
	default:
		res.Verdict = v1alpha1.VerdictPassed
	}
	return res, true
}

// How a harness ends that was struck.
const (
	killed      = -1 // by a signal
	interrupted = 130
)

// harness runs a process of sickbay's and tells the end of what it said, and its exit code.
func (c *Runner) harness(ctx context.Context, bound time.Duration, args ...string) (said string, code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	cmd := c.Harness(ctx, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second // clients of the engine that it has started may hold its streams
	err = cmd.Run()
	if cmd.ProcessState != nil {
		code = cmd.ProcessState.ExitCode()
	}
	if ctx.Err() != nil {
		code, err = 0, fmt.Errorf("it did not end within %s: %w", bound, err)
	}
	return text.Short(out.String(), 1200), code, err
}

// healed waits until nothing of the run is left and answers when that was. In mode wait the time counts from the end of the lease
// that the node's own journal knows: an injection that goes on after its harness has died moves it.
func (c *Runner) healed(ctx context.Context, mark suites.Fingerprint, res *Result, from time.Time) (time.Time, error) {
	end := from.Add(healedWithin)
	if res.Mode != Wait {
		end = time.Now().Add(healedWithin)
	} else if err := retry.Sleep(ctx, time.Until(from.Add(-c.Lease/2))); err != nil {
		return time.Time{}, err
	}
	for {
		at := time.Now()
		left, lease, err := c.left(ctx, mark, res)
		if err != nil {
			left = append(left, err.Error())
		}
		if len(left) == 0 {
			return at, nil
		}
		if by := lease.Add(healedWithin); res.Mode == Wait && by.After(end) {
			end = by
		}
		if at.After(end) {
			return at, fmt.Errorf("%s after the end of the lease, or after recover: %s", healedWithin, strings.Join(left, "; "))
		}
		if err := retry.Sleep(ctx, 2*time.Second); err != nil {
			return at, err
		}
	}
}

// silent asks as anybody would who runs `sickbay diagnose`, until the node is said to be well, and tells how long that took.
func (c *Runner) silent(ctx context.Context, node string) (time.Duration, error) {
	began := time.Now()
	for {
		d, err := diagnose.Once(ctx, c.Lab.Target().Only(node), diagnose.Options{}, c.Judge)
		switch {
		case err == nil && d.Healthy:
			return time.Since(began), nil
		case time.Since(began) < silentWithin:
		case err != nil:
			return 0, err
		default:
			var what []string
			for _, f := range d.Findings {
				what = append(what, f.Name()+" on "+f.Node+": "+f.Summary)
			}
			for _, u := range d.Unknown {
				what = append(what, u.What+": "+u.Why)
			}
			return 0, fmt.Errorf("%s after node %s was as before, sickbay diagnose does not say that it is well: %s", silentWithin, node, strings.Join(what, "; "))
		}
		if err := retry.Sleep(ctx, time.Second); err != nil {
			return 0, err
		}
	}
}

// left tells what of a run is left, the cheapest question first, and when the lease ends that the node knows.
func (c *Runner) left(ctx context.Context, mark suites.Fingerprint, res *Result) (left []string, lease time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	agent, err := c.Lab.Agent(ctx, res.Node)
	if err != nil {
		return nil, lease, err
	}
	open, err := agent.Status(ctx)
	if err != nil {
		return nil, lease, err
	}
	for _, s := range open {
		left = append(left, fmt.Sprintf("injection %s is %s", s.ID, s.State))
		if s.LeaseEnds.After(lease) {
			lease = s.LeaseEnds
		}
	}
	for _, r := range c.Lab.Records() {
		if r.Run == res.Run {
			left = append(left, "the run's record on the host")
		}
	}
	if _, err := c.Lab.Kube().CoreV1().Namespaces().Get(ctx, fault.RunNamespace(res.Run), metav1.GetOptions{}); err == nil {
		left = append(left, "namespace "+fault.RunNamespace(res.Run))
	} else if !apierrors.IsNotFound(err) {
		return left, lease, err
	}
	n, err := c.Lab.Kube().CoreV1().Nodes().Get(ctx, res.Node, metav1.GetOptions{})
	if err != nil {
		return left, lease, err
	}
	if why := fault.NotReady(n); why != "" {
		left = append(left, "node "+res.Node+" is not well: "+why)
	}
	if len(left) > 0 {
		return left, lease, nil
	}
	changes, err := mark.Changes(ctx)
	return changes, lease, err
}

// putRight cleans up after a cell that went wrong, so that the next one finds the node as this one did.
func (c *Runner) putRight(ctx context.Context, mark suites.Fingerprint, res *Result) bool {
	said, _, err := c.harness(ctx, recoverBound, "recover", "--cluster", c.Lab.Cluster(), "--node", res.Node, "--quiet")
	if err != nil {
		res.Reason += fmt.Sprintf("; and afterwards sickbay recover: %s: %s", err, said)
		return false
	}
	again := *res
	again.Mode = Recover
	if _, err := c.healed(ctx, mark, &again, time.Now()); err != nil {
		res.Reason += "; and afterwards: " + err.Error()
		return false
	}
	return true
}
