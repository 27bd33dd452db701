package op

import (
	"bytes"
	"context"
	"fmt"
)

// Scribble overwrites some bytes of a file in place, as a stray write does to a disk: its size and everything else stay.
type Scribble struct {
	asks[interface {
		FileTree
		LoopDevices
	}]
	Path   string `json:"path"`
	Offset int64  `json:"offset"`
	Bytes  int    `json:"bytes"`
	// Was are the bytes that were there.
	Was []byte `json:"was,omitempty"`
}

func (s *Scribble) Touches() []string { return []string{s.Path} }

func (s *Scribble) Describe() string {
	return fmt.Sprintf("overwrite %d bytes of %s at %d", s.Bytes, s.Path, s.Offset)
}

// junk is what is written: neither zeros nor anything that a filesystem would take for its own.
func (s *Scribble) junk() []byte { return bytes.Repeat([]byte{0x5a}, s.Bytes) }

func (s *Scribble) Save(_ context.Context, env Env) error {
	b, err := s.sys.ReadAt(s.Path, s.Offset, s.Bytes)
	if err != nil {
		return err
	}
	if len(b) < s.Bytes {
		return fmt.Errorf("%s ends before %d", s.Path, s.Offset+int64(s.Bytes))
	}
	if bytes.Equal(b, s.junk()) {
		return fmt.Errorf("%s is damaged there already", s.Path)
	}
	s.Was = b
	return nil
}

func (s *Scribble) Do(_ context.Context, env Env) error {
	// Written through a loop device's back it would be lost, or worse, half of it.
	if used, err := imageInUse(s.sys, s.Path); err != nil {
		return err
	} else if used {
		return fmt.Errorf("%s is in use through a loop device: it can only be damaged while it is mounted nowhere", s.Path)
	}
	return s.sys.WriteAt(s.Path, s.Offset, s.junk())
}

func imageInUse(sys interface {
	Files
	LoopDevices
}, image string) (bool, error) {
	st, err := sys.Stat(image)
	if err != nil {
		return false, err
	}
	loops, err := sys.Loops()
	if err != nil {
		return false, err
	}
	for _, l := range loops {
		if l.ImageDev == st.Dev && l.ImageIno == st.Ino {
			return true, nil
		}
	}
	return false, nil
}

// A repaired filesystem has neither our bytes nor the old ones there.
func (s *Scribble) Pending(_ context.Context, env Env) (Rest, error) {
	if s.Was == nil {
		return Rest{}, nil
	}
	b, err := s.sys.ReadAt(s.Path, s.Offset, s.Bytes)
	err = unlessGone(err) // recreated elsewhere, or gone with its volume
	return todo(bytes.Contains(b, s.junk()[:min(s.Bytes, 64)]), err, "restore %d bytes of %s", s.Bytes, s.Path)
}

func (s *Scribble) Undo(ctx context.Context, env Env) error {
	return undo(ctx, env, s, func() error { return s.sys.WriteAt(s.Path, s.Offset, s.Was) })
}
