package main

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// stdout is standard output. It keeps its first error, which execute tells: nobody who prints has to look for a full disk.
type stdout struct {
	File *os.File // for a program that gets it as its own

	mu  sync.Mutex
	err error
}

// terminal is a stream that may be one.
type terminal interface {
	io.Writer
	Fd() uintptr
}

func (s *stdout) Fd() uintptr { return s.File.Fd() }

func (s *stdout) Write(p []byte) (int, error) {
	n, err := s.File.Write(p)
	if err != nil {
		err = fmt.Errorf("write the answer: %w", err)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.err == nil {
			s.err = err
		}
	}
	return n, err
}

// lost is why something that was printed did not get out.
func (s *stdout) lost() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
