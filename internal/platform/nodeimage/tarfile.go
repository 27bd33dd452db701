package nodeimage

import (
	"archive/tar"
	"bytes"
	"cmp"
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

// layerWriter writes layer.tar and layer.json into a folder. Parent folders appear by themselves, once. After its first error it writes
// nothing; close answers it.
type layerWriter struct {
	file *os.File
	sum  gohash.Hash
	size counter
	tar  *tar.Writer
	dirs map[string]bool
	dir  string
	err  error
}

func newLayer(dir string) (*layerWriter, error) {
	f, err := os.Create(filepath.Join(dir, "layer.tar"))
	if err != nil {
		return nil, fmt.Errorf("writing a layer: %w", err)
	}
	l := &layerWriter{file: f, sum: sha256.New(), dirs: map[string]bool{}, dir: dir}
	l.tar = tar.NewWriter(io.MultiWriter(f, l.sum, &l.size))
	return l, nil
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// add writes one entry, and the contents of a file.
func (l *layerWriter) add(h *tar.Header, from io.Reader) {
	h.Name = strings.TrimPrefix(h.Name, "/")
	if parent := path.Dir(strings.TrimSuffix(h.Name, "/")); parent != "." {
		l.mkdir(parent, 0o755)
	}
	if l.err != nil {
		return
	}
	h.ModTime, h.Format = epoch, tar.FormatPAX
	err := l.tar.WriteHeader(h)
	if err == nil && from != nil {
		_, err = io.Copy(l.tar, from)
	}
	if err != nil {
		l.err = fmt.Errorf("writing %s into a layer: %w", h.Name, err)
	}
}

func (l *layerWriter) mkdir(name string, mode int64) {
	if name = strings.Trim(name, "/"); !l.dirs[name] {
		l.dirs[name] = true
		l.add(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}, nil)
	}
}

func (l *layerWriter) write(name string, mode int64, data []byte) {
	l.copy(name, mode, int64(len(data)), bytes.NewReader(data))
}

func (l *layerWriter) copy(name string, mode, size int64, from io.Reader) {
	l.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: size}, from)
}

func (l *layerWriter) copyFile(name string, mode int64, from string) {
	f, err := os.Open(from)
	if err != nil {
		l.err = cmp.Or(l.err, fmt.Errorf("writing %s into a layer: %w", name, err))
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		l.err = cmp.Or(l.err, fmt.Errorf("writing %s into a layer: %w", name, err))
		return
	}
	l.copy(name, mode, info.Size(), f)
}

func (l *layerWriter) symlink(name, target string) {
	l.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

// hardlink gives a file of the same layer a second name.
func (l *layerWriter) hardlink(name, target string) {
	l.add(&tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: strings.TrimPrefix(target, "/"), Mode: 0o755}, nil)
}

// tree copies the files of a folder in the order of their names.
func (l *layerWriter) tree(name, from string, mode int64) {
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		switch to := path.Join(name, filepath.ToSlash(rel)); {
		case err != nil || rel == ".":
		case d.IsDir():
			l.mkdir(to, 0o755)
		default:
			l.copyFile(to, mode, p)
		}
		return err
	})
	if err != nil {
		l.err = cmp.Or(l.err, fmt.Errorf("copying %s into a layer: %w", from, err))
	}
}

func (l *layerWriter) close() error {
	if err := errors.Join(l.err, l.tar.Close(), l.file.Close()); err != nil {
		return fmt.Errorf("writing a layer: %w", err)
	}
	return writeLayerInfo(l.dir, layer{DiffID: "sha256:" + hex.EncodeToString(l.sum.Sum(nil)), Size: int64(l.size)})
}

func writeLayerInfo(dir string, info layer) error {
	data, err := json.Marshal(info)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "layer.json"), data, 0o644)
	}
	if err != nil {
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
