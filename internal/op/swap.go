package op

import (
	"context"
	"encoding/binary"
	"fmt"
)

// Swap turns a swap file on. Swap belongs to the kernel, so to the whole host.
type Swap struct {
	asks[interface {
		FileTree
		SwapAreas
	}]
	Path  string `json:"path"` // where operators find it
	Bytes int64  `json:"bytes"`
	// Twin is a second name of the same file in the journal: swapoff goes by inode, and the first name may be gone by then.
	Twin string `json:"twin,omitempty"`
}

func (s *Swap) Touches() []string { return []string{s.Path} }

func (s *Swap) Describe() string { return "swapon " + s.Path }

func (s *Swap) Save(_ context.Context, env Env) error {
	if is, err := there(s.sys, s.Path); err != nil {
		return err
	} else if is {
		return fmt.Errorf("%s exists already", s.Path)
	}
	s.Twin = env.Backup("swap")
	return nil
}

const pageSize = 4096

// swapFile is a swap area of version 1, as mkswap writes it.
func swapFile(bytes int64) []byte {
	b := make([]byte, bytes)
	binary.LittleEndian.PutUint32(b[1024:], 1)
	binary.LittleEndian.PutUint32(b[1028:], uint32(bytes/pageSize-1))
	copy(b[1052:], "sickbay")
	copy(b[pageSize-10:], "SWAPSPACE2")
	return b
}

func (s *Swap) Do(_ context.Context, env Env) error {
	// Written, not allocated: the kernel refuses a swap file with holes.
	if err := s.sys.Write(s.Twin, swapFile(s.Bytes), 0o600); err != nil {
		return err
	}
	if err := s.sys.Link(s.Twin, s.Path); err != nil {
		return err
	}
	return s.sys.SwapOn(s.Path)
}

// on tells whether our file is swapped to. The names in /proc/swaps are no answer: another node of this host may swap to a
// file of the same name.
func (s *Swap) on() (bool, error) {
	on, err := s.sys.SwapActive(s.Twin)
	return on, unlessGone(err)
}

func (s *Swap) Pending(_ context.Context, env Env) (Rest, error) {
	if s.Twin == "" {
		return Rest{}, nil
	}
	on, err := s.on()
	if err != nil {
		return Rest{}, err
	}
	if on {
		return Rest{Todo: "swapoff " + s.Path}, nil
	}
	mine, err := s.mine(s.Path)
	if err != nil || !mine {
		return Rest{}, err // the twin goes with the journal
	}
	return Rest{Tidy: "remove " + s.Path}, nil
}

// mine tells whether the path is a name of our file.
func (s *Swap) mine(p string) (bool, error) {
	st, err := s.sys.Stat(p)
	if err != nil {
		return false, unlessGone(err)
	}
	twin, err := s.sys.Stat(s.Twin)
	return err == nil && st.Dev == twin.Dev && st.Ino == twin.Ino, unlessGone(err)
}

func (s *Swap) Undo(_ context.Context, env Env) error {
	if s.Twin == "" {
		return nil
	}
	on, err := s.on()
	if err != nil {
		return err
	}
	if on {
		if err := s.sys.SwapOff(s.Twin); err != nil {
			return err
		}
	}
	for _, p := range []string{s.Path, s.Twin} {
		mine, err := s.mine(p)
		if err != nil {
			return err
		}
		if mine {
			if err := s.sys.Remove(p); err != nil {
				return err
			}
		}
	}
	return nil
}
