package op

import (
	"context"
	"fmt"
	"strings"
)

// SELinux gives one file another SELinux context.
type SELinux struct {
	asks[interface {
		Files
		Commands
	}]
	Path    string `json:"path"`
	Context string `json:"context"`
	Was     string `json:"was,omitempty"`
}

func (s *SELinux) Touches() []string { return []string{s.Path} }

func (s *SELinux) Describe() string { return fmt.Sprintf("label %s as %s", s.Path, s.Context) }

// now is the context the file has, "" when the file is gone.
func (s *SELinux) now(ctx context.Context) (string, error) {
	if is, err := there(s.sys, s.Path); err != nil || !is {
		return "", err
	}
	out, err := ask(ctx, s.sys, "stat", "--format=%C", s.Path)
	return strings.TrimSpace(string(out)), err
}

func (s *SELinux) Save(ctx context.Context, env Env) error {
	was, err := s.now(ctx)
	if err != nil {
		return err
	}
	if was == "" || was == "?" {
		return fmt.Errorf("%s has no SELinux context", s.Path)
	}
	s.Was = was
	return nil
}

func (s *SELinux) Do(ctx context.Context, env Env) error {
	return short(ctx, s.sys, "chcon", s.Context, s.Path)
}

func (s *SELinux) Pending(ctx context.Context, env Env) (Rest, error) {
	now, err := s.now(ctx)
	switch {
	case err != nil || now == "" || now == s.Was:
		return Rest{}, err
	case now == s.Context:
		return Rest{Todo: "give " + s.Path + " its SELinux context back"}, nil
	default:
		return Rest{Tidy: "the SELinux context of " + s.Path}, nil // a remedy's: as the policy has it
	}
}

func (s *SELinux) Undo(ctx context.Context, env Env) error {
	now, err := s.now(ctx)
	if err != nil || now == "" || s.Was == "" || now == s.Was {
		return err
	}
	return short(ctx, s.sys, "chcon", s.Was, s.Path)
}
