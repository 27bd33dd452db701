// Package buildcache keeps what was built: each part a folder whose name holds a hash of everything that went into it, so that
// nothing is built twice and a build that was cut off goes on where it stopped.
//
// It knows folders, hashes and clocks, and nothing of what the parts are.
package buildcache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Part is one thing that is made once.
type Part struct {
	Name string
	// Key covers everything that goes into it; see Hash.
	Key string
	// Make fills an empty folder. It runs only when the part is not in the cache.
	Make func(ctx context.Context, dir string) error
}

// Hash makes a key. Each field is preceded by its length, so that no two lists of fields read alike.
func Hash(fields ...string) string {
	h := sha256.New()
	for _, f := range fields {
		fmt.Fprintf(h, "%d:%s", len(f), f)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Cache keeps finished parts as folders <name>-<key> below Dir/parts, and how long each took.
type Cache struct {
	Dir string
	// What the parts are of, for errors: "image", "guest disk".
	What string
	// Usual are times shown until this machine has its own.
	Usual map[string]time.Duration

	mu sync.Mutex // guards the file of times
}

const (
	folder = "parts"
	// making begins the name of a folder that is no part yet.
	making = ".making-"
	// keyLength is how much of a key is in a folder's name: 64 bits are more than a person's cache will ever hold.
	keyLength = 16
)

// Path is where the part is, or would be.
func (c *Cache) Path(p Part) string {
	return filepath.Join(c.Dir, folder, p.Name+"-"+p.Key[:keyLength])
}

// Has tells whether the part is there.
func (c *Cache) Has(p Part) bool {
	_, err := os.Stat(c.Path(p))
	return err == nil
}

// Ensure makes the part unless it is there. The folder gets its name only when it is complete: a build killed half-way
// leaves nothing that looks like a part.
func (c *Cache) Ensure(ctx context.Context, p Part) (err error) {
	if c.Has(p) {
		return nil
	}
	all := filepath.Join(c.Dir, folder)
	if err := os.MkdirAll(all, 0o755); err != nil {
		return fmt.Errorf("making the cache of %s parts: %w", c.What, err)
	}
	work, err := os.MkdirTemp(all, making+p.Name+"-")
	if err != nil {
		return fmt.Errorf("making the cache of %s parts: %w", c.What, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(work))
		}
	}()
	defer c.Measure(p.Name)(&err)
	if err := os.Chmod(work, 0o755); err != nil {
		return fmt.Errorf("making the cache of %s parts: %w", c.What, err)
	}
	if err := p.Make(ctx, work); err != nil {
		return fmt.Errorf("%s part %s: %w", c.What, p.Name, err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Rename(work, c.Path(p)); err != nil {
		if c.Has(p) { // another build finished it meanwhile; theirs is as good
			return os.RemoveAll(work)
		}
		return fmt.Errorf("%s part %s: %w", c.What, p.Name, err)
	}
	return nil
}

func (c *Cache) timesFile() string { return filepath.Join(c.Dir, "times.json") }

// Times answers how long each part took when it was last made here.
func (c *Cache) Times() map[string]time.Duration {
	out := map[string]time.Duration{}
	if data, err := os.ReadFile(c.timesFile()); err == nil {
		// A damaged file costs nothing but better estimates.
		_ = json.Unmarshal(data, &out)
	}
	return out
}

// Expected answers how long the part took last time, or usually takes.
func (c *Cache) Expected(name string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d, ok := c.Times()[name]; ok {
		return d
	}
	return c.Usual[name]
}

// Measure starts a clock; the function it answers stores the time taken unless *err is set.
func (c *Cache) Measure(name string) func(err *error) {
	start := time.Now()
	return func(err *error) {
		if *err != nil {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		t := c.Times()
		t[name] = time.Since(start).Round(10 * time.Millisecond)
		if data, err := json.MarshalIndent(t, "", "  "); err == nil {
			// Estimates only: a full disk shows itself elsewhere.
			_ = os.WriteFile(c.timesFile(), append(data, '\n'), 0o644)
		}
	}
}

// Kept is a part in the cache, or what is left of one that was never finished.
type Kept struct {
	Name string `json:"name"` // of its folder
	// Bytes that it occupies on the disk: a sparse file counts for what was written.
	Bytes int64 `json:"bytes"`
	// Used is when it was last made or touched.
	Used time.Time `json:"used"`
	// Half tells that it was never finished. One that is being made just now looks alike: Lock keeps them apart.
	Half bool `json:"half,omitempty"`
}

// List answers what is in the cache, the longest unused first. It is empty where there is no cache.
func (c *Cache) List() ([]Kept, error) {
	entries, err := os.ReadDir(filepath.Join(c.Dir, folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the cache of %s parts: %w", c.What, err)
	}
	var all []Kept
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("listing the cache of %s parts: %w", c.What, err)
		}
		size, err := Occupied(filepath.Join(c.Dir, folder, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("listing the cache of %s parts: %w", c.What, err)
		}
		all = append(all, Kept{Name: e.Name(), Bytes: size, Used: info.ModTime(), Half: strings.HasPrefix(e.Name(), making)})
	}
	sortByUse(all)
	return all, nil
}

// Touch notes that the part is in use: Prune takes what was not for the longest time.
func (c *Cache) Touch(p Part) error {
	now := time.Now()
	if err := os.Chtimes(c.Path(p), now, now); err != nil {
		return fmt.Errorf("noting the use of %s part %s: %w", c.What, p.Name, err)
	}
	return nil
}

// Remove deletes a part by its folder's name. It is no error when it is not there.
func (c *Cache) Remove(name string) error {
	if err := os.RemoveAll(filepath.Join(c.Dir, folder, filepath.Base(name))); err != nil {
		return fmt.Errorf("removing %s part %s: %w", c.What, name, err)
	}
	return nil
}
