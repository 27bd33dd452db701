// Package detector is what sickbay asks of other people's detectors, and those that it can ask by itself: programs that speak the protocol of
// docs/detectors.md, agents that write node conditions and events, and two baselines.
//
// A detector is asked blind. It is told which nodes to look at and since when, and nothing of what was injected. It may fail in any way:
// Ask bounds it, and what it does to itself stays with it.
package detector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/report"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// Detector says what is wrong with nodes. One value sees the looks of one run, one after the other; where it is an io.Closer, it is closed
// at the run's end.
type Detector interface {
	// Diagnose looks once at look.Nodes. An error means that nothing could be told, which is not the same as that all is well. With
	// look.Act it remedies what look.Diagnosis has, and its answer is not judged.
	Diagnose(ctx context.Context, look Look) (v1alpha1.Diagnosis, error)
}

// Func makes a Detector of a function.
type Func func(ctx context.Context, look Look) (v1alpha1.Diagnosis, error)

// Diagnose calls the function.
func (f Func) Diagnose(ctx context.Context, look Look) (v1alpha1.Diagnosis, error) {
	return f(ctx, look)
}

// Look is one request, with what a detector in the same process may use as well.
type Look struct {
	v1alpha1.DetectorRequest
	// Kube is the API client. Its calls end with their context.
	Kube kubernetes.Interface
	// Run runs a command on a node and returns its standard output.
	Run func(ctx context.Context, node string, argv ...string) ([]byte, error)
}

// Asks tells whether the look is at a node.
func (l Look) Asks(node string) bool {
	return slices.ContainsFunc(l.Nodes, func(n v1alpha1.DetectorNode) bool { return n.Name == node })
}

// Entry is a detector as a suite has it. Name and Open are needed.
type Entry struct {
	Name string
	Spec string // as --detector has it
	Role v1alpha1.DetectorRole
	// Acts lets it remedy what it found: each scenario is run once more, for its remedy.
	Acts bool
	// Timeout bounds one look; zero takes DefaultTimeout.
	Timeout time.Duration
	// Mapping translates what it says; nil takes it as it is.
	Mapping *Mapping
	// Open is called for each run of a scenario; several runs are made at a time. It is nil only for sickbay's own detectors, which
	// the runner asks itself.
	Open func() (Detector, error)
}

// New is the entry of a detector that keeps nothing between looks.
func New(name string, d Detector) Entry {
	return Entry{Name: name, Spec: name, Role: v1alpha1.RoleContestant, Open: func() (Detector, error) { return d, nil }}
}

// Own are sickbay's own detectors and their remedies.
func Own() Entry {
	return Entry{Name: OwnName, Spec: OwnName, Role: v1alpha1.RoleContestant, Acts: true}
}

// OwnName names sickbay's own detectors.
const OwnName = report.OwnDetector

// IsOwn tells whether the entry is sickbay's own.
func (e Entry) IsOwn() bool { return e.Open == nil }

// None is the control: it finds nothing.
func None() Entry {
	e := New("none", Func(func(context.Context, Look) (v1alpha1.Diagnosis, error) { return v1alpha1.Diagnosis{}, nil }))
	e.Role = v1alpha1.RoleControl
	return e
}

// DefaultTimeout bounds one look: three times what sickbay allows itself for a cluster with a dead node, and room for a script that asks
// nodes one after the other.
const DefaultTimeout = 30 * time.Second

// Bound is how long one look may take on this machine.
func (e Entry) Bound() time.Duration {
	if e.Timeout > 0 {
		return timeoutscale.Bound(e.Timeout)
	}
	return timeoutscale.Bound(DefaultTimeout)
}

// Session is a detector that was opened for a run.
type Session struct {
	Entry
	d Detector
}

// Start opens the detector.
func (e Entry) Start() (*Session, error) {
	d, err := e.Open()
	if err != nil {
		return nil, fmt.Errorf("start detector %s: %w", e.Name, err)
	}
	return &Session{e, d}, nil
}

// Ask makes one look, for at most the bound, whatever the detector does. What it said is translated and checked.
func (s *Session) Ask(ctx context.Context, look Look, bound time.Duration) (v1alpha1.Diagnosis, error) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	look.APIVersion, look.Kind, look.Protocol = v1alpha1.APIVersion, v1alpha1.KindDetectorRequest, v1alpha1.DetectorProtocol
	look.Deadline, _ = ctx.Deadline()
	type answer struct {
		v1alpha1.Diagnosis
		error
	}
	done := make(chan answer, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- answer{error: fmt.Errorf("it panicked: %v", p)}
			}
		}()
		d, err := s.d.Diagnose(ctx, look)
		done <- answer{d, err}
	}()
	var a answer
	select {
	case a = <-done:
	case <-ctx.Done():
		// A program is killed at its deadline and then says so itself; what runs in this process cannot be ended, only left.
		select {
		case a = <-done:
		case <-time.After(grace):
			a.error = ctx.Err()
		}
	}
	if a.error != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			a.error = fmt.Errorf("it did not answer within %s", bound)
		}
		return v1alpha1.Diagnosis{}, a.error
	}
	return s.checked(a.Diagnosis, look)
}

// grace is how long a program that was killed has to be gone.
const grace = 3 * time.Second

// maxFindings bounds what one answer may say: more is noise.
const maxFindings = 500

func (s *Session) checked(d v1alpha1.Diagnosis, look Look) (v1alpha1.Diagnosis, error) {
	if len(d.Findings) > maxFindings {
		return v1alpha1.Diagnosis{}, fmt.Errorf("it gave %d findings: at most %d are read", len(d.Findings), maxFindings)
	}
	out := make([]v1alpha1.Finding, 0, len(d.Findings))
	for i, f := range d.Findings {
		if f.Node == "" && len(look.Nodes) == 1 {
			f.Node = look.Nodes[0].Name
		}
		switch {
		case f.Failure == "":
			return v1alpha1.Diagnosis{}, fmt.Errorf("finding %d of its answer has no failure", i+1)
		case f.Node == "":
			return v1alpha1.Diagnosis{}, fmt.Errorf("finding %d of its answer (%s) has no node", i+1, Name(f))
		}
		f.Failure, f.Cause, f.Node = text.Short(f.Failure, 100), text.Short(f.Cause, 100), text.Short(f.Node, 100)
		if s.Mapping == nil || s.Mapping.finding(&f) {
			out = append(out, f)
		}
	}
	d.Findings = out
	return d, nil
}

// Close ends the session; what the detector still runs is ended with it.
func (s *Session) Close() error {
	if c, ok := s.d.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Name is failure/cause, or the failure alone where no cause is named.
func Name(f v1alpha1.Finding) string { return strings.TrimSuffix(f.Name(), "/") }
