package op

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ReadOnly mounts a directory or file over itself, read-only: writes fail with EROFS, for root too.
type ReadOnly struct {
	asks[interface {
		Files
		Filesystems
		Timer
	}]
	Path string `json:"path"`
	// Before is how many mounts were at the path already.
	Before int  `json:"before"`
	Saved  bool `json:"saved,omitempty"`
}

func (r *ReadOnly) Touches() []string { return []string{r.Path} }

func (r *ReadOnly) Describe() string { return "mount " + r.Path + " over itself read-only" }

func (r *ReadOnly) count() (int, error) {
	mounts, err := r.sys.Mounts(0)
	if err != nil {
		return 0, err
	}
	return len(slices.DeleteFunc(mounts, func(m *Mount) bool { return m.Mountpoint != r.Path })), nil
}

func (r *ReadOnly) Save(_ context.Context, env Env) (err error) {
	if _, err := r.sys.Stat(r.Path); err != nil {
		return err
	}
	r.Before, err = r.count()
	r.Saved = err == nil
	return err
}

func (r *ReadOnly) Do(_ context.Context, env Env) error {
	return r.sys.Mount(r.Path, r.Path, "", Bind|ReadOnlyFlag, "")
}

func (r *ReadOnly) Pending(_ context.Context, env Env) (Rest, error) {
	if !r.Saved {
		return Rest{}, nil
	}
	n, err := r.count()
	return todo(n > r.Before, err, "unmount the read-only mount over %s", r.Path)
}

func (r *ReadOnly) Undo(ctx context.Context, env Env) error {
	return undo(ctx, env, r, func() error { return unmount(ctx, r.sys, r.Path) })
}

// Setting writes one value into a file of the kernel's, such as a sysctl.
type Setting struct {
	asks[FileTree]
	Path  string `json:"path"`
	Value string `json:"value"`
	Was   string `json:"was,omitempty"`
}

func (s *Setting) Touches() []string { return []string{s.Path} }

func (s *Setting) Describe() string { return "write " + s.Value + " to " + s.Path }

func (s *Setting) Save(_ context.Context, env Env) error {
	b, err := s.sys.Read(s.Path)
	s.Was = strings.TrimSpace(string(b))
	return err
}

func (s *Setting) set(v string) error {
	st, err := s.sys.Stat(s.Path)
	if err != nil {
		return err
	}
	return s.sys.Write(s.Path, []byte(v), st.Mode)
}

func (s *Setting) Do(_ context.Context, env Env) error { return s.set(s.Value) }

func (s *Setting) Pending(_ context.Context, env Env) (Rest, error) {
	if s.Was == "" || s.Was == s.Value {
		return Rest{}, nil
	}
	b, err := s.sys.Read(s.Path)
	return todo(strings.TrimSpace(string(b)) == s.Value, err, "write %s to %s", s.Was, s.Path)
}

func (s *Setting) Undo(ctx context.Context, env Env) error {
	return undo(ctx, env, s, func() error { return s.set(s.Was) })
}

// Table is an nftables table of our own; everything in it goes with it.
type Table struct {
	asks[Commands]
	Family string   `json:"family"` // inet, ip
	Name   string   `json:"name"`
	Rules  []string `json:"rules"` // chains and rules, as `nft` reads them, each with "TABLE" for family and name
	Saved  bool     `json:"saved,omitempty"`
}

func (t *Table) Touches() []string { return []string{"nft/" + t.full()} }

func (t *Table) full() string { return t.Family + " " + t.Name }

func (t *Table) Describe() string {
	return fmt.Sprintf("nft table %s with %s rules", t.full(), strconv.Itoa(len(t.Rules)))
}

// there tells whether the table exists.
func (t *Table) there(ctx context.Context) (bool, error) {
	out, err := ask(ctx, t.sys, "nft", "list", "tables")
	if err != nil {
		return false, err
	}
	for line := range strings.SplitSeq(string(out), "\n") {
		if strings.TrimSpace(line) == "table "+t.full() {
			return true, nil
		}
	}
	return false, nil
}

func (t *Table) Save(ctx context.Context, env Env) error {
	there, err := t.there(ctx)
	if err != nil {
		return err
	}
	if there {
		return fmt.Errorf("nft table %s exists already", t.full())
	}
	t.Saved = true
	return nil
}

// nft applies all lines or none.
func (t *Table) Do(ctx context.Context, env Env) error {
	lines := []string{"add table " + t.full()}
	for _, r := range t.Rules {
		lines = append(lines, strings.ReplaceAll(r, "TABLE", t.full()))
	}
	return short(ctx, t.sys, "nft", strings.Join(lines, "\n"))
}

func (t *Table) Pending(ctx context.Context, env Env) (Rest, error) {
	if !t.Saved {
		return Rest{}, nil
	}
	there, err := t.there(ctx)
	if err != nil || !there {
		return Rest{}, err
	}
	out, err := t.sys.Run(ctx, "nft", "list", "table", t.Family, t.Name)
	if err != nil {
		return Rest{}, err
	}
	// A remedy deletes rules; the chains that stay behind do nothing.
	if !verdict.Match(out) {
		return Rest{Tidy: "delete nft table " + t.full() + ", which has no rule any more"}, nil
	}
	return Rest{Todo: "delete nft table " + t.full()}, nil
}

// verdict is a rule that keeps packets.
var verdict = regexp.MustCompile(`(?m)\b(drop|reject)\b`)

func (t *Table) Undo(ctx context.Context, env Env) error {
	return undo(ctx, env, t, func() error { return short(ctx, t.sys, "nft", "delete", "table", t.Family, t.Name) })
}
