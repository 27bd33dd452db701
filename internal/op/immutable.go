package op

import (
	"context"
	"errors"
	"io/fs"
)

func init() { register(func() Op { return &Immutable{} }) }

// Immutable sets the immutable attribute (chattr +i) of a file or directory. Mode bits would not do: they do not bind root.
type Immutable struct {
	Path  string `json:"path"`
	Saved *bool  `json:"saved,omitempty"`
}

// Kind implements Op.
func (*Immutable) Kind() string { return "immutable" }

// Touches implements Toucher.
func (i *Immutable) Touches() []string { return []string{i.Path} }

// Describe implements Op.
func (i *Immutable) Describe() string { return "chattr +i " + i.Path }

// Save implements Op.
func (i *Immutable) Save(_ context.Context, env Env) error {
	st, err := env.Sys.Stat(i.Path)
	if err != nil {
		return err
	}
	i.Saved = &st.Immutable
	return nil
}

// Do implements Op.
func (i *Immutable) Do(_ context.Context, env Env) error { return env.Sys.SetImmutable(i.Path, true) }

// Pending implements Op.
func (i *Immutable) Pending(_ context.Context, env Env) (Rest, error) {
	if i.Saved == nil || *i.Saved {
		return Rest{}, nil
	}
	st, err := env.Sys.Stat(i.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return Rest{}, nil
	}
	if err != nil || !st.Immutable {
		return Rest{}, err
	}
	return Rest{Todo: "chattr -i " + i.Path}, nil
}

// Undo implements Op.
func (i *Immutable) Undo(ctx context.Context, env Env) error {
	r, err := i.Pending(ctx, env)
	if err != nil || r.Nothing() {
		return err
	}
	return env.Sys.SetImmutable(i.Path, false)
}
