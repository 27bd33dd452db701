package op

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/systemd"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// Times of unit control.
const (
	// unitPoll is how often a unit's state is asked for; one systemctl show costs about 5 ms.
	unitPoll = 200 * time.Millisecond
	// stopGrace is how long a unit may take to stop before its main process gets SIGKILL. kubelet and containerd stop within
	// a second; one that hangs on a frozen filesystem never does, and systemd itself would wait 90 s.
	stopGrace = 10 * time.Second
	// killGrace bounds the wait after SIGKILL: longer means a process in uninterruptible sleep.
	killGrace = 10 * time.Second
	// startBound is how long a start may take. containerd says ready after about 1 s.
	startBound = 60 * time.Second
	// runBound bounds a systemctl call that only asks or queues.
	runBound = 15 * time.Second
)

// UnitState is what systemctl show says.
type UnitState struct {
	Load, Active, Sub, File string
	MainPID                 string
	ControlGroup            string
}

// Up tells whether the unit runs or is about to.
func (s UnitState) Up() bool {
	return s.Active == "active" || s.Active == "activating" || s.Active == "reloading"
}

// Show asks systemd for a unit's state.
func Show(ctx context.Context, sys Commands, unit string) (UnitState, error) {
	out, err := ask(ctx, sys, "systemctl", "show", "--property=LoadState,ActiveState,SubState,UnitFileState,MainPID,ControlGroup", unit)
	if err != nil {
		return UnitState{}, err
	}
	var s UnitState
	for _, u := range systemd.Units(string(out)) {
		s = UnitState{Load: u["LoadState"], Active: u["ActiveState"], Sub: u["SubState"], File: u["UnitFileState"], MainPID: u["MainPID"], ControlGroup: u["ControlGroup"]}
	}
	return s, nil
}

// CommandLine is the unit's ExecStart as a unit file takes it, with variables as they stand there.
func CommandLine(ctx context.Context, sys Commands, unit string) (string, error) {
	out, err := ask(ctx, sys, "systemctl", "show", "--property=ExecStart", unit)
	if err != nil {
		return "", err
	}
	argv := systemd.Argv(string(out))
	if argv == "" || strings.Count(string(out), "argv[]=") > 1 {
		return "", fmt.Errorf("%s: want one ExecStart, systemctl show says %q", unit, strings.TrimSpace(string(out)))
	}
	return strings.ReplaceAll(argv, "%", "%%"), nil
}

// stopUnit stops a unit and does not take a hanging process for an answer.
func stopUnit(ctx context.Context, sys Units, unit string) error {
	s, err := Show(ctx, sys, unit)
	if err != nil {
		return err
	}
	if s.Active == "inactive" || s.Load == "not-found" {
		return nil
	}
	if s.Active != "failed" {
		// --no-block: a job that waits for a hanging process would wait for us, too.
		if err := short(ctx, sys, "systemctl", "stop", "--no-block", unit); err != nil {
			return err
		}
		if down, err := awaitDown(ctx, sys, unit, timeoutscale.Bound(stopGrace)); err != nil {
			return err
		} else if !down {
			// May fail because the unit stopped this very moment; the state decides.
			killErr := short(ctx, sys, "systemctl", "kill", "--kill-who=main", "--signal=SIGKILL", unit)
			if down, err := awaitDown(ctx, sys, unit, timeoutscale.Bound(killGrace)); err != nil {
				return err
			} else if !down {
				return errors.Join(fmt.Errorf("%s does not stop, not even by SIGKILL: its process hangs in the kernel", unit), killErr)
			}
		}
	}
	if s, err = Show(ctx, sys, unit); err != nil || s.Active != "failed" {
		return err
	}
	return short(ctx, sys, "systemctl", "reset-failed", unit)
}

func awaitDown(ctx context.Context, sys Units, unit string, bound time.Duration) (bool, error) {
	return await(ctx, sys, unitPoll, bound, func() (bool, error) {
		s, err := Show(ctx, sys, unit)
		return s.Active == "inactive" || s.Active == "failed", err
	})
}

// await asks until the answer is yes, for about as long as bound.
func await(ctx context.Context, clock Timer, every, bound time.Duration, yes func() (bool, error)) (bool, error) {
	for waited := time.Duration(0); waited < bound; waited += every {
		if ok, err := yes(); err != nil || ok {
			return ok, err
		}
		if err := clock.Wait(ctx, every); err != nil {
			return false, err
		}
	}
	return false, nil
}

func startUnit(ctx context.Context, sys Units, unit string) error {
	s, err := Show(ctx, sys, unit)
	if err != nil || s.Up() {
		return err
	}
	if s.Active == "failed" {
		if err := short(ctx, sys, "systemctl", "reset-failed", unit); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(startBound))
	defer cancel()
	_, err = sys.Run(ctx, "systemctl", "start", unit)
	return err
}

// ask runs a command that only asks or queues.
func ask(ctx context.Context, sys Commands, argv ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(runBound))
	defer cancel()
	return sys.Run(ctx, argv...)
}

func short(ctx context.Context, sys Commands, argv ...string) error {
	_, err := ask(ctx, sys, argv...)
	return err
}

// Bounce restarts a unit, once. What is left to undo is to start a unit that ran: between the two halves the agent may have died.
type Bounce struct {
	asks[Units]
	Unit string `json:"unit"`
	Was  *bool  `json:"was,omitempty"`
}

// Touches: whether the unit ran, as saved here, may be the doing of an older injection.
func (b *Bounce) Touches() []string { return []string{b.Unit} }

func (b *Bounce) Describe() string { return "restart " + b.Unit }

func (b *Bounce) Save(ctx context.Context, _ Env) error {
	s, err := Show(ctx, b.sys, b.Unit)
	if err != nil {
		return err
	}
	up := s.Up()
	b.Was = &up
	return nil
}

func (b *Bounce) Do(ctx context.Context, _ Env) error { return restart(ctx, b.sys, b.Unit) }

func (b *Bounce) Pending(ctx context.Context, _ Env) (Rest, error) {
	if b.Was == nil || !*b.Was {
		return Rest{}, nil
	}
	s, err := Show(ctx, b.sys, b.Unit)
	return todo(!s.Up(), err, "start %s", b.Unit)
}

func (b *Bounce) Undo(ctx context.Context, _ Env) error {
	if b.Was == nil || !*b.Was {
		return nil
	}
	return startUnit(ctx, b.sys, b.Unit)
}

// Pause stops a unit before changes and, when undone, starts it after them if it ran before. Resume is its other half:
//
//	Pause kubelet, Pause containerd, …changes…, Resume containerd, Resume kubelet
//
// undone from the right stops them in the right order, takes the changes back and starts them in the right order.
type Pause struct{ Bounce }

// PauseUnit is a Pause of one unit.
func PauseUnit(unit string) *Pause { return &Pause{Bounce{Unit: unit}} }

func (*Pause) Closing() bool { return false }

func (p *Pause) Describe() string { return "stop " + p.Unit }

func (p *Pause) Do(ctx context.Context, _ Env) error { return stopUnit(ctx, p.sys, p.Unit) }

// Resume starts a unit after changes, and stops it before they are undone.
type Resume struct {
	asks[Units]
	Unit string `json:"unit"`
	Was  *bool  `json:"was,omitempty"`
	// PID and Start are the process that was started and has read the changes.
	PID   int    `json:"pid,omitempty"`
	Start uint64 `json:"start,omitempty"`
}

func (*Resume) Closing() bool { return true }

func (r *Resume) Describe() string { return "start " + r.Unit }

func (r *Resume) Save(ctx context.Context, env Env) error {
	b := Bounce{asks: r.asks, Unit: r.Unit}
	err := b.Save(ctx, env)
	r.Was = b.Was
	return err
}

func (r *Resume) Do(ctx context.Context, env Env) error {
	if r.Was == nil || !*r.Was {
		return nil
	}
	if err := startUnit(ctx, r.sys, r.Unit); err != nil {
		return err
	}
	var err error
	r.PID, r.Start, err = mainProcess(ctx, r.sys, r.Unit)
	return unlessGone(err) // the fault lets it end at once: the next one reads what is there then
}

// Pending: a process that has read what was changed and still runs is part of it, also where a remedy has put every
// file right: one that was cut off half-way had not come to the restart (seen live: the kubelet of driver-mismatch).
func (r *Resume) Pending(ctx context.Context, env Env) (Rest, error) {
	if runs, err := runsStill(ctx, r.sys, r.Unit, r.PID, r.Start); err != nil || !runs {
		return Rest{}, err
	}
	return Rest{Tidy: "restart " + r.Unit + ", which has read what was changed", Framed: true}, nil
}

// runsStill tells whether a unit's main process is still that one.
func runsStill(ctx context.Context, sys Units, unit string, pid int, start uint64) (bool, error) {
	if pid == 0 {
		return false, nil
	}
	u, err := Show(ctx, sys, unit)
	if err != nil || u.MainPID != fmt.Sprint(pid) {
		return false, err
	}
	p, err := alive(sys, pid, start)
	return p != nil && err == nil, err
}

func (r *Resume) Undo(ctx context.Context, env Env) error {
	if r.Was == nil {
		return nil
	}
	return stopUnit(ctx, r.sys, r.Unit)
}

// Unit leaves a unit stopped, or started (one that the injection made).
type Unit struct {
	Bounce
	// Start starts the unit and Undo stops it; otherwise the other way round.
	Start bool `json:"start,omitempty"`
}

func (u *Unit) Describe() string {
	if u.Start {
		return "start " + u.Unit
	}
	return "stop " + u.Unit
}

func (u *Unit) Do(ctx context.Context, _ Env) error {
	if u.Start {
		return startUnit(ctx, u.sys, u.Unit)
	}
	return stopUnit(ctx, u.sys, u.Unit)
}

func (u *Unit) Pending(ctx context.Context, env Env) (Rest, error) {
	if !u.Start {
		return u.Bounce.Pending(ctx, env)
	}
	if u.Was == nil || *u.Was {
		return Rest{}, nil
	}
	s, err := Show(ctx, u.sys, u.Unit)
	return todo(s.Up(), err, "stop %s", u.Unit)
}

func (u *Unit) Undo(ctx context.Context, env Env) error {
	if !u.Start {
		return u.Bounce.Undo(ctx, env)
	}
	if u.Was == nil || *u.Was {
		return nil
	}
	return stopUnit(ctx, u.sys, u.Unit)
}

// DropIn is a unit file or a drop-in, with the daemon-reload that makes systemd read it.
type DropIn struct {
	File
	systemd asks[Commands]
}

func (d *DropIn) bind(n Sys) {
	d.File.bind(n)
	d.systemd.bind(n)
}

func (d *DropIn) Do(ctx context.Context, env Env) error {
	if err := d.File.Do(ctx, env); err != nil {
		return err
	}
	return short(ctx, d.systemd.sys, "systemctl", "daemon-reload")
}

func (d *DropIn) Undo(ctx context.Context, env Env) error {
	if err := d.File.Undo(ctx, env); err != nil {
		return err
	}
	// Also where the file was gone already: the agent may have died between its removal and the reload, and a second
	// reload costs a tenth of a second.
	return short(ctx, d.systemd.sys, "systemctl", "daemon-reload")
}
