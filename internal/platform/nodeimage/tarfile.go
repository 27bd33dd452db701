package nodeimage

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	gohash "hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// epoch is the time of every file we put into a layer, so that the same inputs give the same bytes.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// layer is one uncompressed layer kept as a file.
type layer struct {
	path   string
	DiffID string `json:"diffID"` // sha256:… of the file
	Size   int64  `json:"size"`
}

// layerWriter writes layer.tar and layer.json into a folder. Parent folders appear by themselves, once.
type layerWriter struct {
	file *os.File
	sum  gohash.Hash
	size int64
	tar  *tar.Writer
	dirs map[string]bool
	dir  string
}

func newLayer(dir string) (*layerWriter, error) {
	f, err := os.Create(filepath.Join(dir, "layer.tar"))
	if err != nil {
		return nil, fmt.Errorf("writing a layer: %w", err)
	}
	l := &layerWriter{file: f, sum: sha256.New(), dirs: map[string]bool{}, dir: dir}
	l.tar = tar.NewWriter(io.MultiWriter(f, l.sum, (*counter)(&l.size)))
	return l, nil
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func (l *layerWriter) header(h *tar.Header) error {
	h.Name = strings.TrimPrefix(h.Name, "/")
	if parent := path.Dir(strings.TrimSuffix(h.Name, "/")); parent != "." {
		if err := l.mkdir(parent, 0o755); err != nil {
			return err
		}
	}
	h.ModTime, h.Format = epoch, tar.FormatPAX
	if err := l.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("writing %s into a layer: %w", h.Name, err)
	}
	return nil
}

func (l *layerWriter) mkdir(name string, mode int64) error {
	name = strings.Trim(name, "/")
	if l.dirs[name] {
		return nil
	}
	l.dirs[name] = true
	return l.header(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode})
}

func (l *layerWriter) write(name string, mode int64, data []byte) error {
	if err := l.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data))}); err != nil {
		return err
	}
	if _, err := l.tar.Write(data); err != nil {
		return fmt.Errorf("writing %s into a layer: %w", name, err)
	}
	return nil
}

func (l *layerWriter) copyFile(name string, mode int64, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("writing %s into a layer: %w", name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("writing %s into a layer: %w", name, err)
	}
	return l.copy(name, mode, info.Size(), f)
}

func (l *layerWriter) copy(name string, mode, size int64, from io.Reader) error {
	if err := l.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: size}); err != nil {
		return err
	}
	if _, err := io.Copy(l.tar, from); err != nil {
		return fmt.Errorf("writing %s into a layer: %w", name, err)
	}
	return nil
}

func (l *layerWriter) symlink(name, target string) error {
	return l.header(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777})
}

// hardlink gives a file of the same layer a second name.
func (l *layerWriter) hardlink(name, target string) error {
	return l.header(&tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: strings.TrimPrefix(target, "/"), Mode: 0o755})
}

// tree copies a folder in the order of its names.
func (l *layerWriter) tree(name, from string, mode func(rel string) int64) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("copying %s into a layer: %w", from, err)
		}
		rel, err := filepath.Rel(from, p)
		if err != nil || rel == "." {
			return err
		}
		to := path.Join(name, filepath.ToSlash(rel))
		if d.IsDir() {
			return l.mkdir(to, 0o755)
		}
		return l.copyFile(to, mode(filepath.ToSlash(rel)), p)
	})
}

func (l *layerWriter) close() error {
	err := l.tar.Close()
	err = errors.Join(err, l.file.Close())
	if err != nil {
		return fmt.Errorf("writing a layer: %w", err)
	}
	return writeLayerInfo(l.dir, layer{DiffID: "sha256:" + hex.EncodeToString(l.sum.Sum(nil)), Size: l.size})
}

func writeLayerInfo(dir string, info layer) error {
	data, err := json.Marshal(info)
	if err != nil {
		return fmt.Errorf("describing a layer: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "layer.json"), data, 0o644); err != nil {
		return fmt.Errorf("describing a layer: %w", err)
	}
	return nil
}

// readLayer opens the layer a part left in its folder.
func readLayer(dir string) (layer, error) {
	l := layer{path: filepath.Join(dir, "layer.tar")}
	data, err := os.ReadFile(filepath.Join(dir, "layer.json"))
	if err != nil {
		return l, fmt.Errorf("reading a layer: %w", err)
	}
	if err := json.Unmarshal(data, &l); err != nil {
		return l, fmt.Errorf("reading a layer: %s: %w", dir, err)
	}
	return l, nil
}

// describeLayer writes layer.json beside a layer.tar that another program wrote.
func describeLayer(dir string) error {
	f, err := os.Open(filepath.Join(dir, "layer.tar"))
	if err != nil {
		return fmt.Errorf("describing a layer: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return fmt.Errorf("describing a layer: %w", err)
	}
	return writeLayerInfo(dir, layer{DiffID: "sha256:" + hex.EncodeToString(sum.Sum(nil)), Size: n})
}

// tarIndex finds files of an uncompressed tar without unpacking it.
type tarIndex struct {
	file    *os.File
	entries map[string]tarEntry // by clean path without a leading slash
}

type tarEntry struct {
	header *tar.Header
	offset int64
}

func openTar(name string) (*tarIndex, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading a layer: %w", err)
	}
	x := &tarIndex{file: f, entries: map[string]tarEntry{}}
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return x, nil
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		x.entries[path.Clean(strings.TrimPrefix(h.Name, "/"))] = tarEntry{header: h, offset: at}
	}
}

func (x *tarIndex) Close() error { return x.file.Close() }

// resolve follows symbolic links in every element of the path, as the kernel would inside the tree.
func (x *tarIndex) resolve(name string) (string, tarEntry, error) {
	const maxLinks = 40 // the kernel's own bound
	todo := strings.Split(strings.Trim(path.Clean("/"+name), "/"), "/")
	at, links := "", 0
	for len(todo) > 0 {
		next := path.Join(at, todo[0])
		todo = todo[1:]
		e, ok := x.entries[next]
		if !ok {
			return "", tarEntry{}, fmt.Errorf("%s: %w (at %s)", name, fs.ErrNotExist, next)
		}
		switch e.header.Typeflag {
		case tar.TypeSymlink:
			if links++; links > maxLinks {
				return "", tarEntry{}, fmt.Errorf("%s: too many links", name)
			}
			target := e.header.Linkname
			if !path.IsAbs(target) {
				target = path.Join("/", at, target)
			}
			todo = append(slices.DeleteFunc(strings.Split(target, "/"), func(s string) bool { return s == "" }), todo...)
			at = ""
		case tar.TypeLink:
			todo = append(strings.Split(path.Clean(e.header.Linkname), "/"), todo...)
			at = ""
		default:
			at = next
		}
	}
	return at, x.entries[at], nil
}

func (x *tarIndex) section(e tarEntry) *io.SectionReader {
	return io.NewSectionReader(x.file, e.offset, e.header.Size)
}
