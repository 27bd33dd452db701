package nodeimage

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
	"sync"
	"time"
)

// part is one thing a build makes. Its key covers everything that goes into it, so a folder of that name is the part.
type part struct {
	name string
	key  string
	// after are the parts that must be there before.
	after []*part
	// make fills an empty folder. It runs only when the part is not in the cache.
	make func(ctx context.Context, dir string) error
	// fetch downloads what make will need; nil for nothing. It is only a head start: make works without it.
	fetch func(ctx context.Context)
}

// hash makes a key. Each field is preceded by its length, so that no two lists of fields read alike.
func hash(fields ...string) string {
	h := sha256.New()
	for _, f := range fields {
		fmt.Fprintf(h, "%d:%s", len(f), f)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// hashTree covers the names, executable bits and contents of all files below root, except tests.
func hashTree(root string) (string, error) {
	return hashTreeExcept(root, func(string) bool { return false })
}

// hashTreeExcept leaves out the files skip names, by their path below root.
func hashTreeExcept(root string, skip func(rel string) bool) (string, error) {
	var fields []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if isTest(rel) || skip(filepath.ToSlash(rel)) {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fields = append(fields, filepath.ToSlash(rel), fmt.Sprint(info.Mode().Perm()&0o111 != 0), string(data))
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", root, err)
	}
	return hash(fields...), nil
}

func isTest(path string) bool {
	ok, _ := filepath.Match("*_test.go", filepath.Base(path))
	return ok
}

// cache keeps finished parts as folders <name>-<key>, and how long each took.
type cache struct {
	dir string
	mu  sync.Mutex // guards the file of times
}

func (c *cache) path(p *part) string { return filepath.Join(c.dir, "parts", p.name+"-"+p.key[:16]) }

func (c *cache) has(p *part) bool {
	_, err := os.Stat(c.path(p))
	return err == nil
}

// ensure makes the part unless it is there. The folder gets its name only when it is complete: a build killed half-way
// leaves nothing that looks like a part.
func (c *cache) ensure(ctx context.Context, p *part) (err error) {
	if c.has(p) {
		return nil
	}
	parts := filepath.Join(c.dir, "parts")
	if err := os.MkdirAll(parts, 0o755); err != nil {
		return fmt.Errorf("making the cache of image parts: %w", err)
	}
	work, err := os.MkdirTemp(parts, ".making-"+p.name+"-")
	if err != nil {
		return fmt.Errorf("making the cache of image parts: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(work))
		}
	}()
	defer c.measure(p.name)(&err)
	if err := os.Chmod(work, 0o755); err != nil {
		return fmt.Errorf("making the cache of image parts: %w", err)
	}
	if err := p.make(ctx, work); err != nil {
		return fmt.Errorf("image part %s: %w", p.name, err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Rename(work, c.path(p)); err != nil {
		if c.has(p) { // another build finished it meanwhile; theirs is as good
			return os.RemoveAll(work)
		}
		return fmt.Errorf("image part %s: %w", p.name, err)
	}
	return nil
}

// usual are times on two cores, cold, shown until this machine has its own.
var usual = map[string]time.Duration{
	"kubernetes": 390 * time.Second, "containerd": 40 * time.Second, "coredns": 40 * time.Second, "registry": 35 * time.Second,
	"rootfs": 55 * time.Second, "etcd": 17 * time.Second, "runc": 11 * time.Second, "cni": 5 * time.Second, "addons": 20 * time.Second,
	"components": 10 * time.Second, "store": 8 * time.Second, "runtime-layer": 2 * time.Second, "kubernetes-layer": 2 * time.Second,
	"node-files": time.Second, "load": 15 * time.Second,
}

func (c *cache) timesFile() string { return filepath.Join(c.dir, "times.json") }

func (c *cache) times() map[string]time.Duration {
	out := map[string]time.Duration{}
	if data, err := os.ReadFile(c.timesFile()); err == nil {
		// A damaged file costs nothing but better estimates.
		_ = json.Unmarshal(data, &out)
	}
	return out
}

// expected answers how long the part took last time, or usually takes.
func (c *cache) expected(name string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d, ok := c.times()[name]; ok {
		return d
	}
	return usual[name]
}

// measure starts a clock; the function it answers stores the time taken unless *err is set.
func (c *cache) measure(name string) func(err *error) {
	start := time.Now()
	return func(err *error) {
		if *err != nil {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		t := c.times()
		t[name] = time.Since(start).Round(10 * time.Millisecond)
		if data, err := json.MarshalIndent(t, "", "  "); err == nil {
			// Estimates only: a full disk shows itself elsewhere.
			_ = os.WriteFile(c.timesFile(), append(data, '\n'), 0o644)
		}
	}
}
