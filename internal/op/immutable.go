package op

import (
	"context"
	"errors"
	"io/fs"
)

// Immutable sets the immutable attribute (chattr +i) of a file or directory. Mode bits would not do: they do not bind root.
type Immutable struct {
	asks[interface {
		Files
		Attributes
	}]
	Path  string `json:"path"`
	Saved *bool  `json:"saved,omitempty"`
}

func (i *Immutable) Touches() []string { return []string{i.Path} }

func (i *Immutable) Describe() string { return "chattr +i " + i.Path }

func (i *Immutable) Save(_ context.Context, env Env) error {
	st, err := i.sys.Stat(i.Path)
	if err != nil {
		return err
	}
	i.Saved = &st.Immutable
	return nil
}

func (i *Immutable) Do(_ context.Context, env Env) error { return i.sys.SetImmutable(i.Path, true) }

func (i *Immutable) Pending(_ context.Context, env Env) (Rest, error) {
	if i.Saved == nil || *i.Saved {
		return Rest{}, nil
	}
	st, err := i.sys.Stat(i.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return Rest{}, nil
	}
	if err != nil || !st.Immutable {
		return Rest{}, err
	}
	return Rest{Todo: "chattr -i " + i.Path}, nil
}

func (i *Immutable) Undo(ctx context.Context, env Env) error {
	r, err := i.Pending(ctx, env)
	if err != nil || r.Nothing() {
		return err
	}
	return i.sys.SetImmutable(i.Path, false)
}
