package op

import "context"

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
	return todo(st.Immutable, unlessGone(err), "chattr -i %s", i.Path)
}

func (i *Immutable) Undo(ctx context.Context, env Env) error {
	return undo(ctx, env, i, func() error { return i.sys.SetImmutable(i.Path, false) })
}
