package op

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// Litter puts many small files of one content into a directory, leaving alone the names that are taken.
type Litter struct {
	asks[FileTree]
	Dir     string   `json:"dir"`
	Names   []string `json:"names"`
	Content string   `json:"content"`
	// Mine are the names that were free.
	Mine []string `json:"mine,omitempty"`
}

func (l *Litter) Touches() []string { return []string{l.Dir} }

func (l *Litter) Describe() string { return fmt.Sprintf("put %d files into %s", len(l.Names), l.Dir) }

func (l *Litter) Save(_ context.Context, env Env) error {
	for _, n := range l.Names {
		if taken, err := there(l.sys, path.Join(l.Dir, n)); err != nil {
			return err
		} else if !taken {
			l.Mine = append(l.Mine, n)
		}
	}
	return nil
}

func (l *Litter) Do(ctx context.Context, env Env) error {
	for _, n := range l.Mine {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := l.sys.Stat(path.Join(l.Dir, n)); err == nil {
			continue // taken meanwhile
		}
		if err := l.sys.Write(path.Join(l.Dir, n), []byte(l.Content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// left lists what still has our content, or the beginning of it.
func (l *Litter) left() ([]string, error) {
	var out []string
	for _, n := range l.Mine {
		p := path.Join(l.Dir, n)
		b, err := l.sys.Read(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(b) <= len(l.Content) && l.Content[:len(b)] == string(b) {
			out = append(out, p)
		}
	}
	return out, nil
}

func (l *Litter) Pending(_ context.Context, env Env) (Rest, error) {
	left, err := l.left()
	return todo(len(left) > 0, err, "remove %d files from %s", len(left), l.Dir)
}

func (l *Litter) Undo(_ context.Context, env Env) error {
	left, err := l.left()
	if err != nil {
		return err
	}
	for _, p := range left {
		if err := unlessGone(l.sys.Remove(p)); err != nil {
			return err
		}
	}
	return nil
}
