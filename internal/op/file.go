package op

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// File replaces, creates or removes one file. What it displaces is saved with content, mode, owner, extended attributes,
// modification time and the immutable attribute.
type File struct {
	asks[interface {
		FileTree
		Attributes
	}]
	Path string `json:"path"`
	// Absent removes the file; otherwise Data is what it will hold.
	Absent bool        `json:"absent,omitempty"`
	Data   []byte      `json:"data,omitempty"`
	Mode   fs.FileMode `json:"mode,omitempty"` // of a file that was not there; else the old mode is kept
	// Rename puts new content in place by rename: for programs, which cannot be written while they run.
	Rename bool `json:"rename,omitempty"`
	// Theirs says that another program writes this file by itself (a CNI pod its conflist): content that is neither ours nor
	// the saved one is then a repair, and stays.
	Theirs bool `json:"theirs,omitempty"`
	// Inert says that the file does nothing by itself, such as a unit that is stopped: found as it was left, it is only to be
	// tidied away, and no fault.
	Inert bool `json:"inert,omitempty"`

	// Digest stands for Data where that must not be in the journal.
	Digest *Digest `json:"digest,omitempty"`

	Saved *SavedFile `json:"saved,omitempty"`
	// MadeDirs are the parent directories that did not exist, outermost first.
	MadeDirs []string `json:"madeDirs,omitempty"`
}

// Digest tells a content without holding it.
type Digest struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// left is what Do leaves.
func (f *File) left() Digest {
	if f.Digest != nil {
		return *f.Digest
	}
	return Digest{SHA256: Sum(f.Data), Size: int64(len(f.Data))}
}

// SavedFile is a file as it was.
type SavedFile struct {
	Exists    bool              `json:"exists"`
	Link      string            `json:"link,omitempty"` // target, of a symbolic link
	Mode      fs.FileMode       `json:"mode,omitempty"`
	UID       int               `json:"uid,omitempty"`
	GID       int               `json:"gid,omitempty"`
	Modified  time.Time         `json:"modified,omitzero"`
	Size      int64             `json:"size,omitempty"`
	SHA256    string            `json:"sha256,omitempty"`
	Xattrs    map[string][]byte `json:"xattrs,omitempty"`
	Immutable bool              `json:"immutable,omitempty"`
	Backup    string            `json:"backup,omitempty"` // path of the copy of its content
	// OnLoop says that it was on a filesystem that sickbay had mounted. When that is gone, so is this file; what is at its
	// path now was never changed. (Device numbers would say more, but a container's root gets a new one at every restart.)
	OnLoop bool `json:"onLoop,omitempty"`
}

// A directory that this operation made is touched as a whole: another's files in it must go first.
func (f *File) Touches() []string {
	if len(f.MadeDirs) > 0 {
		return f.MadeDirs[:1]
	}
	return []string{f.Path}
}

func (f *File) Describe() string {
	if f.Absent {
		return "remove " + f.Path
	}
	return "write " + f.Path
}

func (f *File) Save(_ context.Context, env Env) error {
	for dir := path.Dir(f.Path); ; dir = path.Dir(dir) {
		if is, err := there(f.sys, dir); err != nil {
			return err
		} else if is {
			break
		}
		f.MadeDirs = slices.Insert(f.MadeDirs, 0, dir)
	}
	s, err := f.save(env)
	if err != nil {
		return fmt.Errorf("saving %s: %w", f.Path, err)
	}
	f.Saved = s
	return nil
}

func (f *File) save(env Env) (*SavedFile, error) {
	st, err := f.sys.Stat(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return &SavedFile{}, nil
	}
	if err != nil {
		return nil, err
	}
	s := &SavedFile{
		Exists: true, OnLoop: unix.Major(st.Dev) == LoopMajor, Link: st.Link, Mode: st.Mode, UID: st.UID, GID: st.GID, Modified: st.Modified, Size: st.Size, Immutable: st.Immutable,
	}
	switch {
	case st.Mode&fs.ModeSymlink != 0:
		return s, nil
	case !st.Mode.IsRegular():
		return nil, fmt.Errorf("it is neither a file nor a symbolic link (%s)", st.Mode)
	}
	if s.Xattrs, err = f.sys.Xattrs(f.Path); err != nil {
		return nil, err
	}
	s.Backup = env.Backup(path.Base(f.Path))
	if err := f.sys.Copy(f.Path, s.Backup, 0o600); err != nil {
		return nil, err
	}
	if s.SHA256, err = f.sys.Sum(s.Backup); err != nil {
		return nil, err
	}
	return s, f.sys.SyncDir(env.Dir)
}

func (f *File) Do(_ context.Context, env Env) error {
	for _, d := range f.MadeDirs {
		if err := f.sys.Mkdir(d, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if f.Saved.Immutable {
		if err := f.sys.SetImmutable(f.Path, false); err != nil {
			return err
		}
	}
	if f.Absent {
		return unlessGone(f.sys.Remove(f.Path))
	}
	mode := f.Mode
	if f.Saved.Exists && f.Saved.Link == "" {
		mode = f.Saved.Mode
	}
	if f.Rename || f.Saved.Link != "" {
		return f.putByRename(mode, func(tmp string) error { return f.sys.Write(tmp, f.Data, mode) })
	}
	return f.sys.Write(f.Path, f.Data, mode)
}

// putByRename fills a temporary file beside the path and renames it over it.
func (f *File) putByRename(mode fs.FileMode, fill func(tmp string) error) error {
	tmp := tempName(f.Path)
	if err := fill(tmp); err != nil {
		return err
	}
	if err := f.sys.Chmod(tmp, mode); err != nil {
		return err
	}
	if err := f.sys.Rename(tmp, f.Path); err != nil {
		return err
	}
	return f.sys.SyncDir(path.Dir(f.Path))
}

func tempName(p string) string { return path.Join(path.Dir(p), "."+path.Base(p)+".tmp") }

// current says what is at the path now, compared to what was saved and what Do leaves.
type current int

const (
	asSaved  current = iota // as it was, attributes too
	asSavedC                // the content as it was, attributes not
	asLeft                  // what Do leaves
	partial                 // the beginning of either: a write that was cut short
	missing                 // not there, though it was and Do does not remove it
	foreign                 // something else
)

// gone tells whether the filesystem that the file was on is no longer there.
func (f *File) gone() (bool, error) {
	if !f.Saved.OnLoop {
		return false, nil
	}
	st, err := f.sys.Stat(path.Dir(f.Path))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return err == nil && unix.Major(st.Dev) != LoopMajor, err
}

func (f *File) look() (current, error) {
	st, err := f.sys.Stat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !f.Saved.Exists:
		return asSaved, nil
	case errors.Is(err, fs.ErrNotExist) && f.Absent:
		return asLeft, nil
	case errors.Is(err, fs.ErrNotExist):
		return missing, nil
	case err != nil:
		return 0, err
	case st.Mode&fs.ModeSymlink != 0 && f.Saved.Exists && f.Saved.Link == st.Link:
		return asSaved, nil
	case !st.Mode.IsRegular():
		return foreign, nil
	}
	return f.compare(st)
}

// compare compares a file that is there.
func (f *File) compare(st Stat) (current, error) {
	var err error
	sum, left := "", f.left()
	if st.Size == f.Saved.Size || st.Size == left.Size {
		if sum, err = f.sys.Sum(f.Path); err != nil {
			return 0, err
		}
	}
	switch {
	case f.Saved.Exists && f.Saved.Link == "" && sum == f.Saved.SHA256:
		if same, err := f.sameAttributes(st); err != nil || same {
			return asSaved, err
		}
		return asSavedC, nil
	case !f.Absent && sum == left.SHA256:
		return asLeft, nil
	}
	if cut, err := f.cutShort(st.Size); err != nil || cut {
		return partial, err
	}
	return foreign, nil
}

func (f *File) sameAttributes(st Stat) (bool, error) {
	s := f.Saved
	if st.Mode != s.Mode || st.UID != s.UID || st.GID != s.GID || st.Immutable != s.Immutable {
		return false, nil
	}
	x, err := f.sys.Xattrs(f.Path)
	if err != nil {
		return false, err
	}
	if len(x) != len(s.Xattrs) {
		return false, nil
	}
	for k, v := range s.Xattrs {
		if !bytes.Equal(x[k], v) {
			return false, nil
		}
	}
	return true, nil
}

// cutShort tells whether the file holds a true beginning of the saved content or of ours: an agent died while writing.
func (f *File) cutShort(size int64) (bool, error) {
	if !f.Saved.Exists && f.Absent {
		return false, nil
	}
	if size == 0 {
		return f.Saved.Size > 0 || len(f.Data) > 0, nil
	}
	if size > 1<<20 {
		return false, nil // programs are put by rename, never cut short
	}
	b, err := f.sys.Read(f.Path)
	if err != nil {
		return false, err
	}
	if len(b) < len(f.Data) && bytes.HasPrefix(f.Data, b) {
		return true, nil
	}
	if f.Saved.Backup == "" || size >= f.Saved.Size {
		return false, nil
	}
	was, err := f.sys.ReadAt(f.Saved.Backup, 0, len(b))
	return bytes.Equal(was, b), err
}

func (f *File) Pending(_ context.Context, env Env) (Rest, error) {
	if f.Saved == nil {
		return Rest{}, nil
	}
	if gone, err := f.gone(); err != nil || gone {
		return Rest{}, err
	}
	c, err := f.look()
	if err != nil {
		return Rest{}, err
	}
	r := Rest{}
	switch c {
	case asLeft:
		r.Todo = "restore " + f.Path
		if !f.Saved.Exists {
			r.Todo = "remove " + f.Path
		}
		if f.Inert {
			r = Rest{Tidy: r.Todo}
		}
	case partial, missing:
		r.Todo = "restore " + f.Path
		if !f.Saved.Exists {
			// Our write cut short, or a remedy that emptied the file: no effect either way.
			r = Rest{Tidy: "remove " + f.Path}
		}
	case asSavedC:
		r.Tidy = "attributes of " + f.Path
	case foreign:
		if f.Theirs || !f.Saved.Exists {
			r.Note = f.Path + " was written by somebody else since; it stays"
		} else {
			r.Tidy = f.Path + " was changed by somebody else since; it gets its content from before the injection"
			r.Framed = true
		}
	}
	if r.Nothing() {
		left, err := f.leftovers()
		if err != nil {
			return r, err
		}
		if len(left) > 0 {
			r.Tidy = "remove " + strings.Join(left, ", ")
		}
	}
	return r, nil
}

// leftovers are temporary files, and directories that only we needed.
func (f *File) leftovers() ([]string, error) {
	var out []string
	for _, p := range append([]string{tempName(f.Path)}, f.MadeDirs...) {
		st, err := f.sys.Stat(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if st.Mode.IsDir() {
			if names, err := f.sys.List(p); err != nil {
				return nil, err
			} else if len(names) > 0 {
				continue // somebody else's files: theirs now
			}
		}
		out = append(out, p)
	}
	return out, nil
}

func (f *File) Undo(ctx context.Context, env Env) error {
	if f.Saved == nil {
		return nil
	}
	if gone, err := f.gone(); err != nil || gone {
		return err
	}
	c, err := f.look()
	if err != nil {
		return err
	}
	switch c {
	case asSaved:
	case foreign:
		if f.Theirs || !f.Saved.Exists {
			break
		}
		fallthrough
	default:
		if err := f.restore(c); err != nil {
			return fmt.Errorf("restoring %s: %w", f.Path, err)
		}
	}
	return f.tidy()
}

func (f *File) restore(c current) error {
	s := f.Saved
	if c != missing && !(c == asLeft && f.Absent) {
		if st, err := f.sys.Stat(f.Path); err == nil && st.Immutable {
			if err := f.sys.SetImmutable(f.Path, false); err != nil {
				return err
			}
		}
	}
	switch {
	case !s.Exists:
		return f.sys.Remove(f.Path)
	case s.Link != "":
		tmp := tempName(f.Path)
		if err := unlessGone(f.sys.Remove(tmp)); err != nil {
			return err
		}
		if err := f.sys.Symlink(s.Link, tmp); err != nil {
			return err
		}
		return f.sys.Rename(tmp, f.Path)
	}
	// A remedy may have taken the directory away too.
	if err := f.sys.MkdirAll(path.Dir(f.Path), 0o755); err != nil {
		return err
	}
	if c != asSavedC {
		if err := f.putBack(); err != nil {
			return err
		}
	}
	return f.setAttributes()
}

// putBack writes the saved content.
func (f *File) putBack() error {
	s := f.Saved
	if f.Rename {
		return f.putByRename(s.Mode, func(tmp string) error { return f.sys.Copy(s.Backup, tmp, s.Mode) })
	}
	data, err := f.sys.Read(s.Backup)
	if err != nil {
		return err
	}
	return f.sys.Write(f.Path, data, s.Mode)
}

// setAttributes gives the file what it had besides its content.
func (f *File) setAttributes() error {
	s := f.Saved
	if err := f.sys.Chown(f.Path, s.UID, s.GID); err != nil {
		return err
	}
	if err := f.sys.Chmod(f.Path, s.Mode); err != nil {
		return err
	}
	for name, value := range s.Xattrs {
		if err := f.sys.SetXattr(f.Path, name, value); err != nil {
			return err
		}
	}
	if err := f.sys.Touch(f.Path, s.Modified); err != nil {
		return err
	}
	if s.Immutable {
		if err := f.sys.SetImmutable(f.Path, true); err != nil {
			return err
		}
	}
	return f.sys.SyncDir(path.Dir(f.Path))
}

func (f *File) tidy() error {
	left, err := f.leftovers()
	if err != nil {
		return err
	}
	for len(left) > 0 {
		// Innermost first: an outer directory becomes empty only then, so look again.
		if err := unlessGone(f.sys.Remove(left[len(left)-1])); err != nil {
			return err
		}
		if left, err = f.leftovers(); err != nil {
			return err
		}
	}
	return nil
}

// Sum is the SHA-256 of bytes, in hex.
func Sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
