package op

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

const (
	cgroupRoot  = "/sys/fs/cgroup"
	freezerV1   = cgroupRoot + "/freezer"
	freezePoll  = 20 * time.Millisecond
	freezeBound = 10 * time.Second
)

// Freezer freezes a unit's main process by the cgroup freezer, version 2 or 1. Unlike SIGSTOP it holds against SIGCONT, and
// on version 1 against SIGKILL.
type Freezer struct {
	asks[interface {
		FileTree
		Units
	}]
	Unit string `json:"unit"`

	// File is written to freeze: the unit's cgroup.freeze (version 2) or our own group's freezer.state (version 1).
	File string `json:"file,omitempty"`
	V1   bool   `json:"v1,omitempty"`
	PID  int    `json:"pid,omitempty"`
	// Home is the group that the process was in on version 1.
	Home string `json:"home,omitempty"`
}

func (f *Freezer) Touches() []string { return []string{f.Unit} }

func (f *Freezer) Describe() string { return "freeze the processes of " + f.Unit }

func (f *Freezer) Save(ctx context.Context, env Env) error {
	s, err := Show(ctx, f.sys, f.Unit)
	if err != nil {
		return err
	}
	pid, _, err := mainProcess(ctx, f.sys, f.Unit)
	if err != nil {
		return err
	}
	if v2 := path.Join(cgroupRoot, s.ControlGroup, "cgroup.freeze"); s.ControlGroup != "" {
		if _, err := f.sys.Stat(v2); err == nil {
			f.File, f.PID = v2, pid
			return nil
		}
	}
	if _, err := f.sys.Stat(freezerV1); err != nil {
		return fmt.Errorf("no cgroup freezer here: %w", err)
	}
	groups, err := f.sys.Read(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return err
	}
	for line := range strings.SplitSeq(string(groups), "\n") {
		if p := strings.SplitN(line, ":", 3); len(p) == 3 && p[1] == "freezer" {
			f.Home = path.Join(freezerV1, p[2])
		}
	}
	f.V1, f.PID = true, pid
	f.File = path.Join(freezerV1, "sickbay-"+path.Base(env.Dir), "freezer.state")
	return nil
}

func (f *Freezer) words() (frozen, thawed string) {
	if f.V1 {
		return "FROZEN", "THAWED"
	}
	return "1", "0"
}

func (f *Freezer) Do(ctx context.Context, env Env) error {
	if f.V1 {
		if err := f.sys.Mkdir(path.Dir(f.File), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := f.sys.Write(path.Join(path.Dir(f.File), "cgroup.procs"), []byte(strconv.Itoa(f.PID)), 0o644); err != nil {
			return err
		}
	}
	frozen, _ := f.words()
	if err := f.sys.Write(f.File, []byte(frozen), 0o644); err != nil {
		return err
	}
	is, err := await(ctx, f.sys, freezePoll, timeoutscale.Bound(freezeBound), func() (bool, error) {
		s, err := f.state()
		return s == frozen, err
	})
	if err != nil || is {
		return err
	}
	return fmt.Errorf("%s is not frozen after %s", f.Unit, freezeBound)
}

func (f *Freezer) state() (string, error) {
	b, err := f.sys.Read(f.File)
	return strings.TrimSpace(string(b)), err
}

func (f *Freezer) Pending(_ context.Context, env Env) (Rest, error) {
	if f.File == "" {
		return Rest{}, nil
	}
	s, err := f.state()
	if err != nil {
		return Rest{}, unlessGone(err)
	}
	_, thawed := f.words()
	switch {
	case s != thawed:
		return Rest{Todo: "thaw " + f.Unit}, nil
	case f.V1:
		return Rest{Tidy: "remove " + path.Dir(f.File)}, nil
	}
	return Rest{}, nil
}

func (f *Freezer) Undo(ctx context.Context, env Env) error {
	r, err := f.Pending(ctx, env)
	if err != nil || r.Nothing() {
		return err
	}
	_, thawed := f.words()
	if err := f.sys.Write(f.File, []byte(thawed), 0o644); err != nil || !f.V1 {
		return err
	}
	home := f.Home
	if home == "" {
		home = freezerV1
	}
	// What was thawed starts processes again, here: those that come between the reading and the removal are moved the next time.
	for waited := time.Duration(0); ; waited += freezePoll {
		procs, err := f.sys.Read(path.Join(path.Dir(f.File), "cgroup.procs"))
		if err != nil {
			return err
		}
		for _, pid := range strings.Fields(string(procs)) {
			// One that ended meanwhile cannot be moved and need not be; what is left shows when the group is removed.
			_ = f.sys.Write(path.Join(home, "cgroup.procs"), []byte(pid), 0o644)
		}
		if err = f.sys.Remove(path.Dir(f.File)); err == nil || waited >= freezeBound {
			return err
		}
		if err := f.sys.Wait(ctx, freezePoll); err != nil {
			return err
		}
	}
}
