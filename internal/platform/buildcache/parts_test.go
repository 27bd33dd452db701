package buildcache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newCache(t *testing.T) *Cache {
	return &Cache{Dir: t.TempDir(), What: "test", Usual: map[string]time.Duration{"kubernetes": time.Minute}}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestHashKeepsFieldsApart(t *testing.T) {
	if Hash("ab", "c") == Hash("a", "bc") || Hash("a") == Hash("a", "") {
		t.Error("two different lists of fields have one hash")
	}
	if first, second := Hash("a", "b"), Hash("a", "b"); first != second {
		t.Error("one list of fields has two hashes")
	}
}

func TestEnsureMakesOnce(t *testing.T) {
	c := newCache(t)
	made := 0
	p := Part{Name: "x", Key: Hash("x"), Make: func(_ context.Context, dir string) error {
		made++
		return os.WriteFile(filepath.Join(dir, "f"), []byte("done"), 0o644)
	}}
	for range 3 {
		if err := c.Ensure(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if made != 1 {
		t.Errorf("made %d times, want once", made)
	}
	if data, err := os.ReadFile(filepath.Join(c.Path(p), "f")); err != nil || string(data) != "done" {
		t.Errorf("the part holds %q, %v", data, err)
	}
	if c.Times()["x"] < 0 || len(c.Times()) != 1 {
		t.Errorf("times are %v, want one of x", c.Times())
	}
	q := Part{Name: "x", Key: Hash("y"), Make: p.Make}
	if err := c.Ensure(t.Context(), q); err != nil || made != 2 {
		t.Errorf("another Key: %v, made %d times, want 2", err, made)
	}
}

// A build that fails or is cut off leaves nothing that a later one takes for a part, and the later one succeeds.
func TestEnsureResumes(t *testing.T) {
	boom := errors.New("boom")
	for _, name := range []string{"fails", "is interrupted"} {
		t.Run(name, func(t *testing.T) {
			c := newCache(t)
			ctx, cancel := context.WithCancel(t.Context())
			p := Part{Name: "x", Key: Hash("x"), Make: func(_ context.Context, dir string) error {
				if err := os.WriteFile(filepath.Join(dir, "half"), nil, 0o644); err != nil {
					return err
				}
				if name == "fails" {
					return boom
				}
				cancel()
				return nil
			}}
			err := c.Ensure(ctx, p)
			if want := map[string]error{"fails": boom, "is interrupted": context.Canceled}[name]; !errors.Is(err, want) {
				t.Fatalf("ensure: %v, want %v", err, want)
			}
			left, err := os.ReadDir(filepath.Join(c.Dir, "parts"))
			if err != nil || len(left) != 0 {
				t.Fatalf("left behind: %v, %v", left, err)
			}
			if len(c.Times()) != 0 {
				t.Errorf("a part that was not made has a time: %v", c.Times())
			}
			p.Make = func(context.Context, string) error { return nil }
			if err := c.Ensure(t.Context(), p); err != nil || !c.Has(p) {
				t.Errorf("afterwards: %v, in the cache: %v", err, c.Has(p))
			}
		})
	}
}

func TestEnsureLosesRaceGracefully(t *testing.T) {
	c := newCache(t)
	p := Part{Name: "x", Key: Hash("x")}
	p.Make = func(context.Context, string) error { // another process finishes meanwhile
		write(t, c.Path(p), "theirs", "")
		return nil
	}
	if err := c.Ensure(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	left, _ := os.ReadDir(filepath.Join(c.Dir, "parts"))
	if len(left) != 1 {
		t.Errorf("parts: %v, want theirs alone", left)
	}
}

func TestExpected(t *testing.T) {
	c := newCache(t)
	if got := c.Expected("kubernetes"); got != c.Usual["kubernetes"] || got == 0 {
		t.Errorf("before any build: %v", got)
	}
	write(t, c.Dir, "times.json", `{"kubernetes": 5000000000}`)
	if got := c.Expected("kubernetes"); got != 5*time.Second {
		t.Errorf("after one: %v, want 5s", got)
	}
	write(t, c.Dir, "times.json", `{"kuber`)
	if got := c.Expected("kubernetes"); got != c.Usual["kubernetes"] {
		t.Errorf("with a damaged file: %v", got)
	}
}

func TestLockKeepsSecondBuildOut(t *testing.T) {
	c := newCache(t)
	unlock, err := c.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), c.Dir) {
		t.Errorf("second lock: %v, want a deadline that names the folder", err)
	}
	unlock()
	again, err := c.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again()
}
