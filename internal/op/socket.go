package op

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// Socket removes the name of a unix socket. Whoever listens on it goes on listening and notices nothing; nobody can reach it.
//
// The socket itself is kept under a second name in the journal: a socket's name cannot be made again without its listener.
// It is unlinked, not renamed: the kubelet's watcher of plugin sockets sees a removal and is deaf to a rename (measured in
// its code: only fsnotify.Create and Remove are handled).
type Socket struct {
	asks[FileTree]
	Path string `json:"path"`
	Kept string `json:"kept,omitempty"`
}

func (s *Socket) Touches() []string { return []string{s.Path} }

func (s *Socket) Describe() string { return "remove the socket " + s.Path }

func (s *Socket) Save(_ context.Context, env Env) error {
	st, err := s.sys.Stat(s.Path)
	if err != nil {
		return err
	}
	if st.Mode&fs.ModeSocket == 0 {
		return fmt.Errorf("%s is no socket", s.Path)
	}
	kept := env.Backup("socket")
	if err := s.sys.Link(s.Path, kept); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("a second name for %s: %w", s.Path, err)
	}
	s.Kept = kept
	return s.sys.SyncDir(path.Dir(kept))
}

func (s *Socket) Do(_ context.Context, env Env) error {
	return unlessGone(s.sys.Remove(s.Path))
}

// A socket that is there again is its owner's new one.
func (s *Socket) Pending(_ context.Context, env Env) (Rest, error) {
	if s.Kept == "" {
		return Rest{}, nil
	}
	for _, p := range []string{path.Dir(s.Path), s.Kept} {
		if is, err := there(s.sys, p); err != nil || !is {
			return Rest{}, err
		}
	}
	is, err := there(s.sys, s.Path)
	return todo(!is, err, "give the socket its name %s again", s.Path)
}

func (s *Socket) Undo(ctx context.Context, env Env) error {
	return undo(ctx, env, s, func() error {
		if err := s.sys.Link(s.Kept, s.Path); err != nil {
			return err
		}
		return s.sys.SyncDir(path.Dir(s.Path))
	})
}
