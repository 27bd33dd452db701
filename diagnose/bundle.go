package diagnose

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/observation"
)

// BundleKind is the kind of bundle.yaml; BundleFormat counts incompatible changes of the layout.
//
// A bundle is a directory:
//
//	bundle.yaml        this header: who recorded what, and when
//	nodes/NODE.json    one file per node: its History, an array of Observations, oldest (the baseline) first; in a compact
//	                   bundle nodes/NODE.json.zst
//
// Readers ignore fields they do not know inside observations and refuse a format they do not know.
const (
	BundleKind   = "Bundle"
	BundleFormat = 1
)

// BundleInfo is bundle.yaml.
type BundleInfo struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Format     int          `json:"format"`
	Cluster    string       `json:"cluster,omitempty"`
	RecordedAt time.Time    `json:"recordedAt"`
	RecordedBy string       `json:"recordedBy,omitempty"` // version of sickbay
	Note       string       `json:"note,omitempty"`
	Nodes      []BundleNode `json:"nodes"`
}

// BundleNode is one node's file.
type BundleNode struct {
	Name  string `json:"name"`
	File  string `json:"file"` // relative, with forward slashes
	Looks int    `json:"looks"`
}

// WriteBundle writes the histories to dir, which must not hold anything but an earlier bundle. Everything is redacted on the way,
// whatever the agent and API reader did before, and the result is scanned once more: a secret that is still there is an
// error and leaves no bundle.
func WriteBundle(dir string, info BundleInfo, histories map[string]observation.History) error {
	return writeBundle(dir, info, histories, func(file string, raw []byte) (string, []byte, error) { return file, raw, nil })
}

// WriteCompactBundle writes a bundle to keep, such as those that tests replay: a tenth of the size. zstd and not gzip, because
// looks repeat each other at a distance of 80 kB, beyond gzip's window.
func WriteCompactBundle(dir string, info BundleInfo, histories map[string]observation.History) error {
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

// maxNodeFile bounds what a compressed file may become: a bundle may come from anywhere.
const maxNodeFile = 256 << 20

func readNodeFile(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(path, compressed) {
		return raw, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxNodeFile))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	raw, err = dec.DecodeAll(raw, nil)
	if err != nil {
		return nil, fmt.Errorf("uncompress %s: %w", path, err)
	}
	return raw, nil
}

func writeBundle(dir string, info BundleInfo, histories map[string]observation.History, pack func(file string, raw []byte) (string, []byte, error)) error {
	if err := emptyForBundle(dir); err != nil {
		return err
	}
	info.APIVersion, info.Kind, info.Format = observation.APIVersion, BundleKind, BundleFormat
	if info.RecordedAt.IsZero() {
		info.RecordedAt = time.Now().UTC()
	}
	info.Nodes = nil
	files := map[string][]byte{}
	for _, node := range slices.Sorted(maps.Keys(histories)) {
		raw, err := redactedJSON(histories[node])
		if err != nil {
			return fmt.Errorf("write the bundle of node %s: %w", node, err)
		}
		if found := FindSecrets(string(raw)); len(found) > 0 {
			return fmt.Errorf("write the bundle of node %s: it would still hold %s; nothing was written", node, strings.Join(found, ", "))
		}
		file, raw, err := pack("nodes/"+fileName(node)+".json", raw)
		if err != nil {
			return fmt.Errorf("write the bundle of node %s: %w", node, err)
		}
		files[file] = raw
		info.Nodes = append(info.Nodes, BundleNode{Name: node, File: file, Looks: len(histories[node])})
	}
	header, err := yaml.Marshal(info)
	if err != nil {
		return fmt.Errorf("write bundle.yaml: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "nodes"), 0o755); err != nil {
		return fmt.Errorf("make the bundle directory: %w", err)
	}
	for name, raw := range files {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), raw, 0o644); err != nil {
			return fmt.Errorf("write the bundle: %w", err)
		}
	}
	// The header comes last: a directory without it is not a bundle.
	if err := os.WriteFile(filepath.Join(dir, "bundle.yaml"), header, 0o644); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	return nil
}

func emptyForBundle(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look into the bundle directory: %w", err)
	}
	for _, e := range entries {
		switch e.Name() {
		case "bundle.yaml", "nodes", "cleared":
		default:
			return fmt.Errorf("%s is not empty and not a bundle (it holds %s): choose another directory", dir, e.Name())
		}
	}
	for _, name := range []string{"bundle.yaml", "nodes"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("replace the earlier bundle: %w", err)
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

// FromBundle reads a bundle.
func FromBundle(dir string) (map[string]observation.History, *BundleInfo, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "bundle.yaml"))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil, fmt.Errorf("%s is not a bundle: there is no bundle.yaml in it", dir)
		}
		return nil, nil, fmt.Errorf("read the bundle: %w", err)
	}
	var info BundleInfo
	if err := yaml.UnmarshalStrict(raw, &info); err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", filepath.Join(dir, "bundle.yaml"), err)
	}
	if info.Kind != BundleKind || info.APIVersion != observation.APIVersion || info.Format != BundleFormat {
		return nil, nil, fmt.Errorf("%s: this sickbay reads %s %s format %d, and that is %s %s format %d",
			filepath.Join(dir, "bundle.yaml"), observation.APIVersion, BundleKind, BundleFormat, info.APIVersion, info.Kind, info.Format)
	}
	out := make(map[string]observation.History, len(info.Nodes))
	for _, n := range info.Nodes {
		if !filepath.IsLocal(filepath.FromSlash(n.File)) {
			return nil, nil, fmt.Errorf("%s: node %s: file %q leads out of the bundle", dir, n.Name, n.File)
		}
		path := filepath.Join(dir, filepath.FromSlash(n.File))
		raw, err := readNodeFile(path)
		if err != nil {
			return nil, nil, fmt.Errorf("read the bundle: %w", err)
		}
		var h observation.History
		if err := json.Unmarshal(raw, &h); err != nil {
			return nil, nil, fmt.Errorf("read %s: %w", path, err)
		}
		if len(h) == 0 {
			return nil, nil, fmt.Errorf("read %s: it holds no observation", path)
		}
		out[n.Name] = h
	}
	return out, &info, nil
}
