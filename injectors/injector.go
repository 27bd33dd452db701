package injectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/journal"
	"github.com/sickbay-dev/sickbay/internal/lease"
	"github.com/sickbay-dev/sickbay/internal/op"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// Root is where everything of sickbay's is on a node. On a kind node /var is a volume on the host's disk, so no fault fills
// or freezes it.
const Root = "/var/lib/sickbay"

const (
	// lockWait is how long an injection waits for another agent on the node before it refuses. A preparation that copies a
	// runtime's gigabyte takes under a minute.
	lockWait = 2 * time.Minute
	// rollbackBound bounds the recovery of an injection that failed half-way. It has a time of its own, because the caller's
	// may be what ran out.
	rollbackBound = 3 * time.Minute
)

// Injector injects into and recovers the node it runs on.
type Injector struct {
	Sys   op.Sys
	Agent string // path of the agent on the node, for the lease's timer
	Root  string // Root, but in tests

	// KeepFailed leaves an injection that failed half-way as it is instead of recovering it at once; for tests.
	KeepFailed bool
}

// New returns the node's Injector.
func New(sys op.Sys, agent string) *Injector { return &Injector{Sys: sys, Agent: agent, Root: Root} }

func (in *Injector) journal() *journal.Journal {
	return &journal.Journal{Files: in.Sys, Root: path.Join(in.Root, "journal")}
}

// all reads the journal; its operations are for this node.
func (in *Injector) all() (records []*journal.Record, remains []string, err error) {
	records, remains, err = in.journal().All()
	for _, r := range records {
		for _, e := range r.Ops {
			op.Attach(e.Op, in.Sys)
		}
	}
	return records, remains, err
}

func (in *Injector) leases() *lease.Leases {
	return &lease.Leases{Sys: in.Sys, Dir: path.Join(in.Root, "leases"), Agent: in.Agent}
}

func (in *Injector) lock(ctx context.Context, verb string) (func(), error) {
	release, err := in.Sys.Lock(ctx, path.Join(in.Root, "lock"), fmt.Sprintf("agent %s, process %d", verb, os.Getpid()))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	return release, nil
}

func (in *Injector) made() ([]*op.LoopFS, error) {
	records, _, err := in.all()
	var out []*op.LoopFS
	for _, r := range records {
		for _, e := range r.Ops {
			if l, ok := e.Op.(*op.LoopFS); ok && (e.Step == journal.Doing || e.Step == journal.Done || e.Step == journal.Undoing) {
				out = append(out, l)
			}
		}
	}
	if len(out) == 0 {
		return nil, err
	}
	return out, nil
}

func (in *Injector) env(r *journal.Record, index int) op.Env {
	j := in.journal()
	return op.Env{Dir: j.Dir(r.ID), Index: index, Persist: func() error { return j.Save(r) }, Made: in.made}
}

// Mark is the folder in a node below which a mount tells that sickbay made the node: kind puts it there with the container.
const Mark = "/etc/sickbay/cluster"

// Marked refuses a node that sickbay did not make. Whoever is on a node may run the agent there; what it does to one is done to nobody's.
func Marked(fsys op.Filesystems) error {
	mounts, err := fsys.Mounts(0)
	if err != nil {
		return fmt.Errorf("looking for sickbay's mark: %w", err)
	}
	if !slices.ContainsFunc(mounts, func(m *op.Mount) bool { return strings.HasPrefix(m.Mountpoint, Mark+"/") }) {
		return &RequestError{errors.New("this node has no mark of sickbay's (no mount below " + Mark + "): faults are only put on nodes of clusters that `sickbay cluster up` made")}
	}
	return nil
}

// plan decodes and plans; a RequestError is the caller's fault, an UnsupportedError the node's.
func (in *Injector) plan(ctx context.Context, inj Injection) (*Plan, error) {
	if err := Marked(in.Sys); err != nil {
		return nil, err
	}
	if err := journal.CheckID(inj.ID); err != nil {
		return nil, &RequestError{err}
	}
	if err := journal.CheckID(inj.Run); err != nil {
		return nil, &RequestError{fmt.Errorf("run: %w", err)}
	}
	if inj.Lease < 0 {
		return nil, &RequestError{fmt.Errorf("lease %s is negative", inj.Lease)}
	}
	m, err := find(inj.Mechanism)
	if err != nil {
		return nil, &RequestError{err}
	}
	params, err := m.Decode(inj.Params)
	if err != nil {
		return nil, &RequestError{err}
	}
	p, err := params.Plan(ctx, Node{Sys: in.Sys, Dir: in.journal().Dir(inj.ID), Run: inj.Run, Agent: in.Agent, Made: in.made, Signed: inj.Signed})
	if err != nil {
		return nil, fmt.Errorf("planning %s: %w", inj.Mechanism, err)
	}
	for _, o := range p.Ops {
		op.Attach(o, in.Sys)
	}
	return p, nil
}

// Check tells what Inject would do and whether this node can host it. It changes nothing.
func (in *Injector) Check(ctx context.Context, inj Injection) (Status, error) {
	p, err := in.plan(ctx, inj)
	if err != nil {
		return Status{}, err
	}
	st := Status{Injection: inj, State: Planned, Sign: p.Sign}
	st.Fidelity, st.Differs = p.fidelity()
	for _, o := range p.Ops {
		st.Notes = append(st.Notes, o.Describe())
	}
	return st, nil
}

func (p *Plan) fidelity() (string, string) {
	if p.Differs != "" {
		return "contained", p.Differs
	}
	return "real", ""
}

// Inject makes the node ill. Before the first change the journal has what it displaces, on disk, and the lease is armed.
// It ends with measuring its effect, Status.Active: that every call went well does not mean that anything changed.
// What fails half-way is taken back at once; what cannot be is told, stays in the journal, and is the lease's to heal.
func (in *Injector) Inject(ctx context.Context, inj Injection) (Status, error) {
	lctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(lockWait))
	defer cancel()
	release, err := in.lock(lctx, "inject")
	if err != nil {
		return Status{}, err
	}
	defer release()
	p, err := in.plan(ctx, inj)
	if err != nil {
		return Status{}, err
	}
	if p.Sign != nil {
		return Status{}, &RequestError{fmt.Errorf("%s wants a certificate that a control-plane node has signed: ask check what for", inj.Mechanism)}
	}
	// The switch first: a record that nothing watches would stay where the agent dies right after it (seen live).
	if err := in.arm(ctx, inj); err != nil {
		return Status{}, errors.Join(err, in.settle(ctx))
	}
	r, err := in.begin(inj, p)
	if err != nil {
		return Status{}, errors.Join(err, in.settle(ctx))
	}
	if err = in.apply(ctx, inj, r); err == nil {
		st := in.status(r)
		if st.Active, err = in.effect(ctx, r); err == nil {
			return st, nil
		}
	}
	err = fmt.Errorf("injecting %s: %w", inj.Mechanism, err)
	if in.KeepFailed {
		return in.status(r), err
	}
	rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeoutscale.Bound(rollbackBound))
	defer cancel()
	st := in.recover(rctx, r)
	if st.Error != "" {
		err = errors.Join(err, fmt.Errorf("taking it back: %s", st.Error))
	}
	return st, errors.Join(err, in.settle(rctx))
}

// begin writes the first record.
func (in *Injector) begin(inj Injection, p *Plan) (*journal.Record, error) {
	j := in.journal()
	records, _, err := in.all()
	if err != nil {
		return nil, err
	}
	seq := 1
	for _, r := range records {
		seq = max(seq, r.Seq+1)
		if r.ID == inj.ID {
			return nil, &RequestError{fmt.Errorf("injection %s exists already, %s: recover it first", inj.ID, r.State)}
		}
		// On what is half done nothing can be built: what would be saved is neither the node nor a whole fault.
		if r.Run != inj.Run || r.State != string(Injected) {
			return nil, &NotCleanError{Run: r.Run, ID: r.ID, State: State(r.State), Since: r.Since}
		}
	}
	raw, err := json.Marshal(inj)
	if err != nil {
		return nil, err
	}
	r := &journal.Record{
		Version: journal.Version, Seq: seq, ID: inj.ID, Run: inj.Run, Injection: raw, State: string(Planned), Since: time.Now().UTC(), Sealed: inj.Secret,
	}
	r.Fidelity, r.Differs = p.fidelity()
	for _, o := range p.Ops {
		r.Ops = append(r.Ops, journal.Entry{Op: o, Step: journal.Planned})
	}
	return r, j.Save(r)
}

func (in *Injector) apply(ctx context.Context, inj Injection, r *journal.Record) error {
	j := in.journal()
	if frozen, err := in.frozen(ctx, r, false); err != nil {
		return err
	} else if frozen != "" {
		return &RequestError{fmt.Errorf("%s would wait for ever on the filesystem of %s, which is frozen: inject it before the freeze", inj.Mechanism, frozen)}
	}
	for i := range r.Ops {
		e := &r.Ops[i]
		if err := e.Op.Save(ctx, in.env(r, i)); err != nil {
			return fmt.Errorf("%s: saving what is there: %w", e.Op.Describe(), err)
		}
		e.Step = journal.Saved
	}
	r.State = string(Injecting)
	if err := j.Save(r); err != nil {
		return err
	}
	for i := range r.Ops {
		e := &r.Ops[i]
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		e.Step = journal.Doing
		if err := j.Save(r); err != nil {
			return err
		}
		if err := e.Op.Do(ctx, in.env(r, i)); err != nil {
			r.Error = fmt.Sprintf("%s: %v", e.Op.Describe(), err)
			return errors.Join(fmt.Errorf("%s: %w", e.Op.Describe(), err), j.Save(r))
		}
		e.Step = journal.Done
	}
	r.State = string(Injected)
	if err := j.Save(r); err != nil {
		return err
	}
	// A long preparation must not have used up the time the harness has to renew.
	return in.extend(inj)
}

// stopsRuntime tells whether doing or undoing the injection stops the runtime.
func stopsRuntime(r *journal.Record) bool {
	for _, e := range r.Ops {
		switch o := e.Op.(type) {
		case *op.Halt, *op.Freezer: // act on the process as it is
		case op.Toucher:
			if slices.ContainsFunc(o.Touches(), func(what string) bool { return what == op.Containerd.Unit || what == op.CRIO.Unit }) {
				return true
			}
		}
	}
	return false
}

// frozen finds a filesystem that an injection here has frozen and on which r would block, and thaws it when asked to.
func (in *Injector) frozen(ctx context.Context, r *journal.Record, thaw bool) (string, error) {
	records, _, err := in.all()
	if err != nil {
		return "", err
	}
	stops := stopsRuntime(r)
	found := ""
	for _, other := range records {
		for i, e := range other.Ops {
			f, ok := e.Op.(*op.Freeze)
			if !ok || e.Step == journal.Planned || other.ID == r.ID || !stops && !touchesBelow(r, f.Path) {
				continue
			}
			rest, err := f.Pending(ctx, in.env(other, i))
			if err != nil {
				return "", err
			}
			if rest.Todo == "" {
				continue
			}
			found = f.Path
			if thaw {
				if err := f.Undo(ctx, in.env(other, i)); err != nil {
					return found, err
				}
			}
		}
	}
	return found, nil
}

func touchesBelow(r *journal.Record, dir string) bool {
	for _, e := range r.Ops {
		if t, ok := e.Op.(op.Toucher); ok && slices.ContainsFunc(t.Touches(), func(p string) bool { return under(p, dir) }) {
			return true
		}
	}
	return false
}

func (in *Injector) arm(ctx context.Context, inj Injection) error {
	if err := in.extend(inj); err != nil {
		return err
	}
	return in.leases().Arm(ctx)
}

func (in *Injector) extend(inj Injection) error {
	d := inj.Lease
	if d == 0 {
		d = lease.Default
	}
	return in.leases().Extend(inj.Run, d)
}

// Recover takes the chosen injections back, newest first, whatever state they are in, and verifies that they are gone. It
// goes on past what fails; the error joins all failures. Choosing what is not there is no error.
func (in *Injector) Recover(ctx context.Context, sel Selector) ([]Status, error) {
	release, err := in.lock(ctx, "recover")
	if err != nil {
		return nil, err
	}
	defer release()
	return in.recoverAll(ctx, func(r *journal.Record) bool { return sel.matches(r.Run, r.ID) })
}

func (in *Injector) recoverAll(ctx context.Context, chosen func(*journal.Record) bool) ([]Status, error) {
	records, _, err := in.all()
	errs := []error{err}
	var out []Status
	take := cascade(records, chosen)
	var failed []*journal.Record
	for i, r := range slices.Backward(records) {
		if !take[i] {
			continue
		}
		if top := blocking(r, failed); top != nil {
			failed = append(failed, r)
			errs = append(errs, fmt.Errorf("recovering %s: %s, which changed the same thing later, must go first", r.ID, top.ID))
			out = append(out, in.status(r))
			continue
		}
		st := in.recover(ctx, r)
		if st.Error != "" {
			failed = append(failed, r)
		}
		out = append(out, st)
		if st.Error != "" {
			errs = append(errs, fmt.Errorf("recovering %s: %s", st.ID, st.Error))
		}
	}
	errs = append(errs, in.settle(ctx))
	return out, errors.Join(errs...)
}

// cascade adds to the chosen records every newer one that changed the same thing: what lies on top goes first.
func cascade(records []*journal.Record, chosen func(*journal.Record) bool) []bool {
	take := make([]bool, len(records))
	for i, r := range records {
		take[i] = chosen(r)
		for j, older := range records[:i] {
			take[i] = take[i] || take[j] && overlap(older, r)
		}
	}
	return take
}

// blocking finds a newer injection that could not be recovered and stands on something r changed: to undo r now would hand
// the newer one's backup, taken from r's change, the last word. Only the filesystem below it may go all the same, and takes
// with it whatever the newer one changed there.
func blocking(r *journal.Record, failed []*journal.Record) *journal.Record {
	for _, top := range failed {
		for _, y := range top.Ops {
			for _, x := range r.Ops {
				if _, ok := x.Op.(*op.LoopFS); !ok && touchSame(x.Op, y.Op) {
					return top
				}
			}
		}
	}
	return nil
}

func overlap(a, b *journal.Record) bool {
	for _, x := range a.Ops {
		for _, y := range b.Ops {
			if touchSame(x.Op, y.Op) {
				return true
			}
		}
	}
	return false
}

func touchSame(a, b op.Op) bool {
	p, ok1 := a.(op.Toucher)
	q, ok2 := b.(op.Toucher)
	if !ok1 || !ok2 {
		return false
	}
	for _, x := range p.Touches() {
		for _, y := range q.Touches() {
			if under(x, y) || under(y, x) {
				return true
			}
		}
	}
	return false
}

func under(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// settle removes what no injection needs any more: remains in the journal, leases, and at last the timer.
func (in *Injector) settle(ctx context.Context) error {
	j := in.journal()
	records, remains, err := in.all()
	errs := []error{}
	for _, id := range remains {
		errs = append(errs, j.Remove(id))
	}
	if err != nil {
		return errors.Join(errs...) // a record that cannot be read keeps the switch armed; who asked has the error already
	}
	runs := map[string]bool{}
	for _, r := range records {
		runs[r.Run] = true
	}
	errs = append(errs, in.leases().Drop(runs))
	if len(records) == 0 {
		errs = append(errs, in.leases().Disarm(ctx))
	}
	return errors.Join(errs...)
}

// recover takes one injection back.
func (in *Injector) recover(ctx context.Context, r *journal.Record) Status {
	j := in.journal()
	var errs []error
	r.State, r.Error = string(Recovering), ""
	full, todo := in.measure(ctx, r, &errs)
	for _, t := range todo {
		if !slices.Contains(r.Undone, t) {
			r.Undone = append(r.Undone, t)
		}
	}
	if err := j.Save(r); err != nil {
		errs = append(errs, err) // an undo that cannot be written down is still better than none
	}
	if full {
		// Thaw first, whoever froze: no file changes there before, and a runtime that waits for its disk does not stop.
		if _, err := in.frozen(ctx, r, true); err != nil {
			errs = append(errs, err)
		}
	}
	for i := range slices.Backward(r.Ops) {
		e := &r.Ops[i]
		if e.Step == journal.Planned {
			continue // its Save never ended, so nothing at all was changed
		}
		if b, ok := e.Op.(op.Bracket); ok && b.Closing() && !full {
			continue
		}
		if err := e.Op.Undo(ctx, in.env(r, i)); err != nil {
			errs = append(errs, fmt.Errorf("undo of %q: %w", e.Op.Describe(), err))
			continue
		}
		e.Step = journal.Undone
	}
	// Measured once more: that nothing returned an error does not mean that nothing is left.
	if len(errs) == 0 {
		if _, left := in.measure(ctx, r, &errs); len(left) > 0 {
			errs = append(errs, fmt.Errorf("still there after undoing: %s", strings.Join(left, "; ")))
		}
	}
	if len(errs) == 0 {
		r.State = string(Recovered)
		st := in.status(r)
		if err := j.Remove(r.ID); err != nil {
			st.Error = err.Error()
		}
		return st
	}
	r.Error = errors.Join(errs...).Error()
	if err := j.Save(r); err != nil {
		r.Error = errors.Join(append(errs, err)...).Error()
	}
	return in.status(r)
}

// measure asks every operation what is left of it. full tells that something between brackets must be undone, so that the
// bracketed units stop for it.
func (in *Injector) measure(ctx context.Context, r *journal.Record, errs *[]error) (full bool, todo []string) {
	for i, e := range r.Ops {
		if e.Step == journal.Planned {
			continue
		}
		rest, err := e.Op.Pending(ctx, in.env(r, i))
		if err != nil {
			*errs = append(*errs, fmt.Errorf("measuring %q: %w", e.Op.Describe(), err))
			full = true
			continue
		}
		_, bracket := e.Op.(op.Bracket)
		if rest.Todo != "" {
			todo = append(todo, rest.Todo)
			full = full || !bracket
		}
		full = full || rest.Framed
		for _, n := range []string{rest.Tidy, rest.Note} {
			if n != "" && !slices.Contains(r.Notes, n) {
				r.Notes = append(r.Notes, n)
			}
		}
	}
	return full, todo
}

func (in *Injector) status(r *journal.Record) Status {
	st := Status{
		State: State(r.State), Since: r.Since, Error: r.Error, Fidelity: r.Fidelity, Differs: r.Differs, Undone: r.Undone, Notes: r.Notes,
	}
	if err := json.Unmarshal(r.Injection, &st.Injection); err != nil {
		st.ID, st.Run = r.ID, r.Run
	}
	if st.State != Recovered {
		st.LeaseLeft = max(0, in.leases().Left(r.Run))
		st.LeaseEnds = time.Now().Add(st.LeaseLeft).UTC()
	}
	return st
}

// List tells what is injected here, oldest first. With active every injection's effect is measured.
func (in *Injector) List(ctx context.Context, active bool) ([]Status, error) {
	records, _, err := in.all()
	errs := []error{err}
	var out []Status
	for _, r := range records {
		st := in.status(r)
		if active {
			var err error
			st.Active, err = in.effect(ctx, r)
			errs = append(errs, err)
		}
		out = append(out, st)
	}
	return out, errors.Join(errs...)
}

// effect measures an injection's changes, but for the brackets around them.
func (in *Injector) effect(ctx context.Context, r *journal.Record) (*Effect, error) {
	var errs []error
	var texts []string
	for i, e := range r.Ops {
		if _, ok := e.Op.(op.Bracket); ok || e.Step == journal.Planned {
			continue
		}
		rest, err := e.Op.Pending(ctx, in.env(r, i))
		if err != nil {
			errs = append(errs, fmt.Errorf("measuring %q: %w", e.Op.Describe(), err))
		}
		if rest.Todo != "" {
			texts = append(texts, e.Op.Describe()+": in effect ("+rest.Todo+" would end it)")
		} else if once, ok := e.Op.(op.OneOff); ok && e.Step == journal.Done {
			text, err := once.Effect()
			errs = append(errs, err)
			if text != "" {
				texts = append(texts, e.Op.Describe()+": "+text)
			}
		}
	}
	return &Effect{Present: len(texts) > 0, Text: strings.Join(texts, "; ")}, errors.Join(errs...)
}

// Renew moves the deadline of a run's lease to d from now, and answers how many injections it covers. A run that has none
// gets no lease.
func (in *Injector) Renew(_ context.Context, run string, d time.Duration) (int, error) {
	if err := journal.CheckID(run); err != nil {
		return 0, &RequestError{fmt.Errorf("run: %w", err)}
	}
	if d <= 0 {
		return 0, &RequestError{fmt.Errorf("a lease of %s", d)}
	}
	// No lock: while an injection is at work its lease must be renewable.
	records, _, err := in.all()
	n := 0
	for _, r := range records {
		if r.Run == run {
			n++
		}
	}
	if n == 0 {
		return 0, err
	}
	err = in.leases().Extend(run, d)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // whoever recovers has dropped it this moment
	}
	return n, err
}

// preparedGrace is how much longer than the faults a preparation stays when the lease has run out. The run's pods stand on it, a
// storage driver's for instance, and whoever looks after the run from outside needs 15 s to end them.
const preparedGrace = 30 * time.Second

// Sweep recovers every injection whose lease has run out; the lease's timer runs it. While another agent is at work it does
// nothing: the timer comes again.
func (in *Injector) Sweep(ctx context.Context) ([]Status, error) {
	once, cancel := context.WithCancel(ctx)
	cancel() // try the lock, do not wait for it
	release, err := in.lock(once, "sweep")
	if errors.Is(err, op.ErrLocked) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer release()
	return in.recoverAll(ctx, func(r *journal.Record) bool {
		left := in.leases().Left(r.Run)
		if in.status(r).Prepared {
			left += preparedGrace
		}
		return left <= 0
	})
}
