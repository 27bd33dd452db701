package nodeimage

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sickbay-dev/sickbay/internal/platform/buildcache"
)

// part is one thing a build makes. Its key covers everything that goes into it, so a folder of that name is the part.
type part struct {
	buildcache.Part
	// after are the parts that must be there before.
	after []*part
	// fetch downloads what make will need; nil for nothing. It is only a head start: make works without it.
	fetch func(ctx context.Context)
}

// hash makes a key.
func hash(fields ...string) string { return buildcache.Hash(fields...) }

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

// cache keeps finished parts, and how long each took.
type cache struct{ *buildcache.Cache }

func newCache(dir string) cache {
	return cache{&buildcache.Cache{Dir: dir, What: "image", Usual: usual}}
}

func (c cache) path(p *part) string { return c.Path(p.Part) }

// usual are times on two cores, cold, shown until this machine has its own.
var usual = map[string]time.Duration{
	"kubernetes": 390 * time.Second, "containerd": 40 * time.Second, "coredns": 40 * time.Second, "registry": 35 * time.Second,
	"rootfs": 55 * time.Second, "etcd": 17 * time.Second, "runc": 11 * time.Second, "cni": 5 * time.Second, "addons": 20 * time.Second,
	"crio": 180 * time.Second, "crio-runc": 5 * time.Second, "crictl": 60 * time.Second, "storage": 15 * time.Second,
	"components": 10 * time.Second, "store": 8 * time.Second, "runtime-layer": 2 * time.Second, "kubernetes-layer": 2 * time.Second,
	"node-files": time.Second, "load": 15 * time.Second,
}
