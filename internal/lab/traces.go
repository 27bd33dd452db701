package lab

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/retry"
)

func (s Store) traces(st *State) string {
	return filepath.Join(s.Dir, st.Cluster+"."+st.Node+".before")
}

// KeepTraces writes down how a node is before it falls ill.
func (s Store) KeepTraces(ctx context.Context, t fault.Traces, st *State) error {
	raw, err := t.Traces(ctx, st.Node)
	if err != nil {
		return err
	}
	return write(s.traces(st), raw)
}

// Residue is what is left on the lab's node once everything is undone: units, mounts and the processes of ended containers go away
// within a moment. Where nobody wrote down how it was, nothing is known to be left.
func (s Store) Residue(ctx context.Context, t fault.Traces, st *State, every, bound time.Duration) (left []string, err error) {
	raw, err := os.ReadFile(s.traces(st))
	if errors.Is(err, fs.ErrNotExist) || st.Node == "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = retry.Until(ctx, every, bound, func(ctx context.Context) (bool, error) {
		now, err := t.Left(ctx, st.Node, raw)
		if err == nil {
			left = now
		}
		return err == nil && len(now) == 0, err
	})
	if len(left) > 0 {
		err = nil
	}
	return left, errors.Join(err, os.Remove(s.traces(st)))
}
