package op

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
)

// SpareCgroups tidies the cgroups that a kubelet with another driver makes and leaves behind. It changes nothing by itself.
type SpareCgroups struct {
	asks[FileTree]
	// Names are cgroups below the root of each hierarchy, the inner ones last.
	Names []string `json:"names"`
	// Before are those that were there.
	Before []string `json:"before,omitempty"`
	Looked bool     `json:"looked,omitempty"`
}

func (s *SpareCgroups) Describe() string {
	return "remember which of the cgroups " + strings.Join(s.Names, ", ") + " there are"
}

func (s *SpareCgroups) there() ([]string, error) {
	roots := []string{cgroupRoot}
	names, err := list(s.sys, cgroupRoot)
	if err != nil {
		return nil, err
	}
	for _, n := range names { // v1: a directory for each controller
		roots = append(roots, path.Join(cgroupRoot, n))
	}
	var out []string
	for _, r := range roots {
		for _, n := range s.Names {
			if st, err := s.sys.Stat(path.Join(r, n)); err == nil && st.Mode.IsDir() {
				out = append(out, path.Join(r, n))
			}
		}
	}
	return out, nil
}

func (s *SpareCgroups) Save(_ context.Context, env Env) (err error) {
	s.Before, err = s.there()
	s.Looked = err == nil
	return err
}

func (*SpareCgroups) Do(context.Context, Env) error { return nil }

func (s *SpareCgroups) added() ([]string, error) {
	if !s.Looked {
		return nil, nil
	}
	now, err := s.there()
	return slices.DeleteFunc(now, func(p string) bool { return slices.Contains(s.Before, p) }), err
}

func (s *SpareCgroups) Pending(_ context.Context, env Env) (Rest, error) {
	added, err := s.added()
	if err != nil || len(added) == 0 {
		return Rest{}, err
	}
	return Rest{Tidy: fmt.Sprintf("remove %d cgroups that are not used any more, such as %s", len(added), added[0])}, nil
}

// A cgroup that still has processes stays: the kernel refuses, and it is no fault.
func (s *SpareCgroups) Undo(_ context.Context, env Env) error {
	added, err := s.added()
	for _, p := range slices.Backward(added) {
		removeTree(s.sys, p)
	}
	return err
}

func removeTree(sys FileTree, dir string) {
	names, err := sys.List(dir)
	if err != nil {
		return
	}
	for _, n := range names {
		if st, err := sys.Stat(path.Join(dir, n)); err == nil && st.Mode.IsDir() {
			removeTree(sys, path.Join(dir, n))
		}
	}
	_ = sys.Remove(dir)
}
