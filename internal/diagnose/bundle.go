package diagnose

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/bounds"
)

// WriteBundle writes the histories to dir, which must not hold anything but an earlier bundle. Everything is redacted on the way,
// whatever the agent and API reader did before, and the result is scanned once more: a secret that is still there is an
// error and leaves no bundle.
func WriteBundle(dir string, info v1alpha1.Bundle, histories map[string]v1alpha1.History) (Written, error) {
	return writeBundle(dir, info, histories, func(file string, raw []byte) (string, []byte, error) { return file, raw, nil })
}

// WriteCompactBundle writes a bundle to keep, such as those that tests replay: a tenth of the size. zstd and not gzip, because
// looks repeat each other at a distance of 80 kB, beyond gzip's window.
func WriteCompactBundle(dir string, info v1alpha1.Bundle, histories map[string]v1alpha1.History) (Written, error) {
	return writeBundle(dir, info, histories, func(file string, raw []byte) (string, []byte, error) {
		var dense bytes.Buffer
		if err := json.Compact(&dense, raw); err != nil {
			return "", nil, err
		}
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(4<<20), zstd.WithEncoderConcurrency(1))
		if err != nil {
			return "", nil, err
		}
		return file + compressed, enc.EncodeAll(dense.Bytes(), nil), enc.Close()
	})
}

// compressed is the suffix of a node's file in a compact bundle.
const compressed = ".zst"

// Bounds of what is read: a bundle may come from anywhere. A look of a busy node is half a megabyte, a watched history has 41.
const (
	maxHeader   = 4 << 20
	maxNodeFile = 64 << 20 // uncompressed
	maxLooks    = 200
	maxNodes    = 10_000
)

// Written says what became of what was seen.
type Written struct {
	Removed    int // values in whose place there is a mark
	Suspicious int // words that look random, of which no rule knows what they are
}

func writeBundle(dir string, info v1alpha1.Bundle, histories map[string]v1alpha1.History, pack func(file string, raw []byte) (string, []byte, error)) (w Written, err error) {
	if err := EmptyForBundle(dir); err != nil {
		return w, err
	}
	info.APIVersion, info.Kind, info.Format = v1alpha1.APIVersion, v1alpha1.KindBundle, v1alpha1.BundleFormat
	if info.RecordedAt.IsZero() {
		info.RecordedAt = time.Now().UTC()
	}
	info.Nodes, info.Note = nil, Redact(info.Note)
	files := map[string][]byte{}
	for _, node := range slices.Sorted(maps.Keys(histories)) {
		raw, err := redactedJSON(histories[node])
		if err != nil {
			return w, fmt.Errorf("write the bundle of node %s: %w", node, err)
		}
		if len(raw) > maxNodeFile {
			return w, fmt.Errorf("write the bundle of node %s: %w", node, tooLarge(len(histories[node]), len(raw)))
		}
		if found := FindSecrets(string(raw)); len(found) > 0 {
			return w, fmt.Errorf("write the bundle of node %s: it would still hold %s; nothing was written", node, strings.Join(found, ", "))
		}
		w.Removed += bytes.Count(raw, []byte(redacted))
		w.Suspicious += suspiciousIn(raw)
		file, raw, err := pack("nodes/"+fileName(node)+".json", raw)
		if err != nil {
			return w, fmt.Errorf("write the bundle of node %s: %w", node, err)
		}
		files[file] = raw
		info.Nodes = append(info.Nodes, v1alpha1.BundleNode{Name: node, File: file, Looks: len(histories[node])})
	}
	header, err := yaml.Marshal(info)
	if err != nil {
		return w, fmt.Errorf("write bundle.yaml: %w", err)
	}
	files[headerFile] = header
	if err := replaceBundle(dir, files); err != nil {
		return w, fmt.Errorf("write the bundle: %w", err)
	}
	return w, nil
}

// replaceBundle writes the files beside dir and puts them in the place of the earlier bundle's, which are removed one by one: whatever
// else lies there stays, and is an error. Nobody but the owner reads them.
func replaceBundle(dir string, files map[string][]byte) (err error) {
	dir = filepath.Clean(dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	made, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".new-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(made)) }()
	if err := os.Mkdir(filepath.Join(made, "nodes"), 0o700); err != nil {
		return err
	}
	for name, raw := range files {
		if err := os.WriteFile(filepath.Join(made, filepath.FromSlash(name)), raw, 0o600); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := removeBundle(dir); err != nil {
		return err
	}
	// The header comes last: a directory without it is not a bundle.
	for _, name := range []string{"nodes", headerFile} {
		if err := os.Rename(filepath.Join(made, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// removeBundle removes the files that the bundle in dir names, if there is one.
func removeBundle(dir string) error {
	b, err := OpenBundle(dir)
	if err != nil {
		if _, stat := os.Lstat(filepath.Join(dir, headerFile)); errors.Is(stat, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	defer b.Close()
	for _, n := range b.Info.Nodes {
		if err := b.root.Remove(filepath.FromSlash(n.File)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := b.root.Remove("nodes"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s holds what was not written by a bundle: choose another directory: %w", dir, err)
	}
	return b.root.Remove(headerFile)
}

func tooLarge(looks, bytes int) error {
	return fmt.Errorf("%d looks are %d MiB, and no reader takes more than %d: record fewer", looks, bytes>>20, maxNodeFile>>20)
}

// EmptyForBundle refuses a folder that holds anything but an earlier bundle.
func EmptyForBundle(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look into the folder of the bundle: %w", err)
	}
	bundle := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == headerFile })
	for _, e := range entries {
		if !bundle || !slices.Contains([]string{headerFile, "nodes", "cleared"}, e.Name()) {
			return fmt.Errorf("%s is not empty and not a bundle (it holds %s): choose another folder", dir, e.Name())
		}
	}
	return nil
}

// fileName keeps a node name a file name: names of nodes are DNS names, but a bundle may come from anywhere.
func fileName(node string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || r == ':' || r < ' ' {
			return '_'
		}
		return r
	}, strings.TrimLeft(node, "."))
}

// Bundle is an opened bundle: its header was read and found good, its nodes are read one by one.
type Bundle struct {
	Info v1alpha1.Bundle
	dir  string
	root *os.Root // nothing outside is read, whatever names and links say
}

// OpenBundle reads the header of a bundle.
func OpenBundle(dir string) (*Bundle, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the bundle: %w", err)
	}
	b := &Bundle{dir: dir, root: root}
	if err := b.header(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return b, nil
}

// Close ends reading.
func (b *Bundle) Close() error { return b.root.Close() }

const headerFile = "bundle.yaml"

func (b *Bundle) header() error {
	path := filepath.Join(b.dir, headerFile)
	raw, err := b.read(headerFile, maxHeader)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not a bundle: there is no %s in it", b.dir, headerFile)
	}
	if err != nil {
		return fmt.Errorf("read the bundle: %w", err)
	}
	// What it is comes first: a later format may have fields of which this one knows nothing.
	var what struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Format     int    `json:"format"`
	}
	if err := yaml.Unmarshal(raw, &what); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if what.Kind != v1alpha1.KindBundle || what.APIVersion != v1alpha1.APIVersion || what.Format != v1alpha1.BundleFormat {
		return fmt.Errorf("%s: this sickbay reads %s %s format %d, and that is %s %s format %d",
			path, v1alpha1.APIVersion, v1alpha1.KindBundle, v1alpha1.BundleFormat, what.APIVersion, what.Kind, what.Format)
	}
	if err := yaml.UnmarshalStrict(raw, &b.Info); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if len(b.Info.Nodes) == 0 {
		return fmt.Errorf("%s names no node", path)
	}
	if len(b.Info.Nodes) > maxNodes {
		return fmt.Errorf("%s names %d nodes, and at most %d are read", path, len(b.Info.Nodes), maxNodes)
	}
	seen := map[string]bool{}
	for _, n := range b.Info.Nodes {
		if n.Name == "" || seen[n.Name] {
			return fmt.Errorf("%s: node %q is named twice, or not at all", path, n.Name)
		}
		seen[n.Name] = true
		if !filepath.IsLocal(filepath.FromSlash(n.File)) {
			return fmt.Errorf("%s: node %s: file %q leads out of the bundle", path, n.Name, n.File)
		}
	}
	return nil
}

// Nodes are the names of the bundle's nodes.
func (b *Bundle) Nodes() []string {
	names := make([]string, len(b.Info.Nodes))
	for i, n := range b.Info.Nodes {
		names[i] = n.Name
	}
	return names
}

// History reads one node.
func (b *Bundle) History(node string) (v1alpha1.History, error) {
	i := slices.IndexFunc(b.Info.Nodes, func(n v1alpha1.BundleNode) bool { return n.Name == node })
	if i < 0 {
		return nil, fmt.Errorf("the bundle %s has no node %s", b.dir, node)
	}
	file := filepath.FromSlash(b.Info.Nodes[i].File)
	path := filepath.Join(b.dir, file)
	raw, err := b.read(file, maxNodeFile)
	if err == nil && strings.HasSuffix(file, compressed) {
		raw, err = unpack(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("read node %s of the bundle: %s: %w", node, path, err)
	}
	if err := bounds.JSON(raw); err != nil {
		return nil, fmt.Errorf("read node %s of the bundle: %s: %w", node, path, err)
	}
	var h v1alpha1.History
	if err := json.Unmarshal(raw, &h); err != nil {
		return nil, fmt.Errorf("read node %s of the bundle: %s is damaged: %w", node, path, err)
	}
	if len(h) > maxLooks {
		return nil, fmt.Errorf("read node %s of the bundle: %s holds %d looks, and at most %d are read", node, path, len(h), maxLooks)
	}
	if len(h) == 0 {
		return nil, fmt.Errorf("read node %s of the bundle: %s holds no observation", node, path)
	}
	return h, nil
}

// read reads a whole file of the bundle. It waits for no FIFO and follows no link that leads out.
func (b *Bundle) read(name string, most int64) ([]byte, error) {
	st, err := b.root.Stat(name)
	if err == nil {
		err = bounds.Stat(st, most)
	}
	if err != nil {
		return nil, err
	}
	f, err := b.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return bounds.ReadAll(f, most)
}

// decoder is shared: making one costs as much as a node's file. It takes no memory for what a file claims beyond the bound.
var decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxNodeFile))
})

func unpack(raw []byte) ([]byte, error) {
	dec, err := decoder()
	if err != nil {
		return nil, err
	}
	if raw, err = dec.DecodeAll(raw, nil); err != nil {
		return nil, fmt.Errorf("uncompress it: %w", err)
	}
	return raw, nil
}

// FromBundle reads a whole bundle.
func FromBundle(dir string) (map[string]v1alpha1.History, *v1alpha1.Bundle, error) {
	b, err := OpenBundle(dir)
	if err != nil {
		return nil, nil, err
	}
	defer b.Close()
	out := make(map[string]v1alpha1.History, len(b.Info.Nodes))
	for _, n := range b.Nodes() {
		h, err := b.History(n)
		if err != nil {
			return nil, nil, err
		}
		out[n] = h
	}
	return out, &b.Info, nil
}
