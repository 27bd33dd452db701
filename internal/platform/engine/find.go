package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/sickbay-dev/sickbay/internal/lockfile"
	"github.com/sickbay-dev/sickbay/internal/platform/apt"
	"github.com/sickbay-dev/sickbay/internal/progress"
)

// Find looks at what is there and says what Ensure would do. Beyond a probe container that is gone when it returns, it
// changes nothing. The error is for what could not be looked at, never for what was found.
func Find(ctx context.Context, opts Options) (Decision, error) {
	opts = opts.withDefaults()
	d := decide(ctx, system{opts}, opts)
	return d, ctx.Err()
}

// Ensure returns an engine that can run privileged containers: the one that is there, or else one that it starts, after
// installing it where it may. Where a person has to act first the error is an *ImpossibleError. Processes that call it at the
// same time get the same engine.
func Ensure(ctx context.Context, opts Options) (*Engine, error) {
	opts = opts.withDefaults()
	d, err := Find(ctx, opts)
	if err != nil {
		return nil, err
	}
	switch d.Plan {
	case UseExisting:
		if d.Engine.Private {
			boundLog(opts)
		}
		return d.Engine, nil
	case Impossible:
		return nil, &ImpossibleError{d}
	}
	unlock, err := lock(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer unlock()
	// Another process may have been faster.
	if e, err := private(ctx, opts); err == nil {
		return e, nil
	}
	// Or it may have installed the packages and then failed: look again at what is missing.
	if d.Plan == InstallAndStart {
		if d = decide(ctx, system{opts}, opts); d.Plan == InstallAndStart {
			if err := apt.Provide(ctx, opts.Timeouts.Install, true, "a container engine", "", d.Packages...); err != nil {
				return nil, err
			}
			if slices.Contains(d.Packages, "docker.io") && apt.Find(Docker) == "" { // Debian 13 and later
				if err := apt.Provide(ctx, opts.Timeouts.Install, true, "a container engine", "", "docker-cli"); err != nil {
					return nil, err
				}
			}
		}
	}
	return start(ctx, opts)
}

// Up starts sickbay's own engine, even where another one would do, and installs what it needs.
func Up(ctx context.Context, opts Options) (*Engine, error) {
	opts.OwnOnly = true
	return Ensure(ctx, opts)
}

// Down stops sickbay's own engine and takes back everything that starting it changed on the host. Containers and the networks
// between them are removed: after a restart they would come up without the rules that isolate them. Images stay, unless
// Options.Purge. It is legal when nothing runs, after half a start, and twice. Engines of others are not touched.
func Down(ctx context.Context, opts Options) error {
	opts = opts.withDefaults()
	if _, err := os.Stat(opts.StateDir); errors.Is(err, os.ErrNotExist) {
		return nil // never started here
	}
	unlock, err := lock(ctx, opts)
	if err != nil {
		return err
	}
	defer unlock()
	task := progress.From(ctx).Start("stop the container engine", 4*opts.Timeouts.Stop)
	err = stop(ctx, opts, task)
	task.End(err)
	return err
}

// lock makes this process the only one that starts or stops the private engine.
func lock(ctx context.Context, opts Options) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(opts.lock()), 0o755); err != nil {
		return nil, fmt.Errorf("make the engine's state directory: %w", err)
	}
	return lockfile.Wait(ctx, opts.lock(), "another sickbay that starts or stops the engine")
}

// Status is what is known about sickbay's own engine.
type Status struct {
	Engine     *Engine `json:"engine"`            // nil when it does not answer
	Problem    string  `json:"problem,omitempty"` // why it does not, "" when it does
	PID        int     `json:"pid,omitempty"`     // of dockerd, 0 when there is none
	Containers int     `json:"containers"`
	Running    int     `json:"running"`
	Images     int     `json:"images"`
	DataRoot   string  `json:"dataRoot"`
	Log        string  `json:"log"`
}

// Inspect returns the status of sickbay's own engine. That it does not run is an answer, not an error.
func Inspect(ctx context.Context, opts Options) (Status, error) {
	opts = opts.withDefaults()
	s := Status{DataRoot: opts.dataRoot(), Log: opts.log()}
	for _, p := range ownProcesses(opts) {
		if p.Role == roleDockerd {
			s.PID = p.PID
		}
	}
	e, err := private(ctx, opts)
	if err != nil {
		s.Problem = err.Error()
		return s, ctx.Err()
	}
	s.Engine = e
	var info struct{ Containers, ContainersRunning, Images int }
	if err := socketAPI(opts.socket()).get(ctx, "/info", &info); err != nil {
		return s, err
	}
	s.Containers, s.Running, s.Images = info.Containers, info.ContainersRunning, info.Images
	return s, nil
}
