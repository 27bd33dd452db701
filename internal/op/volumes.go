package op

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// Volumes makes small disk images with an ext4 in each, for a storage driver to mount. They are fully allocated, so that what
// is written into them never takes room from the disk below.
type Volumes struct {
	asks[interface {
		FileTree
		Filesystems
		LoopDevices
		ProcessTable
		Timer
		Commands
	}]
	Dir   string   `json:"dir"`
	Names []string `json:"names"` // file names
	Bytes int64    `json:"bytes"` // of each
	// Homes are directories, by path.Match patterns, that the driver or the kubelet may leave behind, empty or with dead sockets.
	Homes []string `json:"homes,omitempty"`
	// Program is a word of the driver's command line: while a process has it, its directories stay.
	Program string `json:"program,omitempty"`
	Saved   bool   `json:"saved,omitempty"`
	// Fresh are directories above the homes, the inner ones first, that were not there before: the kubelet makes them for its first
	// driver and leaves them.
	Fresh []string `json:"fresh,omitempty"`
	// Made tells the images from other files: a name is no use once it is removed, and other nodes have images of these names.
	Made []MadeImage `json:"made,omitempty"`
}

// MadeImage is an image by what it is, not by its name.
type MadeImage struct {
	Path string `json:"path"`
	Dev  uint64 `json:"dev"`
	Ino  uint64 `json:"ino"`
}

func (v *Volumes) Touches() []string { return []string{v.Dir} }

func (v *Volumes) Describe() string {
	return fmt.Sprintf("make %d disk image(s) of %d MiB with an ext4 in %s", len(v.Names), v.Bytes>>20, v.Dir)
}

func (v *Volumes) Save(_ context.Context, env Env) error {
	had, err := v.images()
	if err != nil {
		return err
	}
	if len(had) > 0 {
		return fmt.Errorf("there already: %s", strings.Join(had, ", "))
	}
	fsys, err := v.sys.Statfs(env.Dir)
	if err != nil {
		return err
	}
	if need := v.Bytes * int64(len(v.Names)); fsys.Free < need+HostReserve {
		return fmt.Errorf("the disk of %s has %d MiB free: %d MiB of images would leave less than %d MiB", env.Dir, fsys.Free>>20, need>>20, int64(HostReserve)>>20)
	}
	for _, h := range v.Homes {
		for d := path.Dir(h); strings.Count(d, "/") > 1 && !slices.Contains(v.Fresh, d); d = path.Dir(d) {
			if is, err := there(v.sys, d); err != nil {
				return err
			} else if is {
				break
			}
			v.Fresh = append(v.Fresh, d)
		}
	}
	v.Saved = true
	return nil
}

func (v *Volumes) Do(ctx context.Context, env Env) error {
	for _, d := range []string{path.Dir(v.Dir), v.Dir} {
		if err := v.sys.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for _, n := range v.Names {
		image := path.Join(v.Dir, n)
		if err := v.sys.Allocate(image, v.Bytes); err != nil {
			return err
		}
		st, err := v.sys.Stat(image)
		if err != nil {
			return err
		}
		v.Made = append(v.Made, MadeImage{image, st.Dev, st.Ino})
		if err := env.Persist(); err != nil {
			return err
		}
		mctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(mkfsBound))
		// Blocks of 1 KiB, so that a filesystem of this size has backup superblocks at all: the first is at block 8193.
		_, err = v.sys.Run(mctx, "mkfs.ext4", "-F", "-q", "-b", "1024", "-m", "0", "-E", "nodiscard", image)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *Volumes) images() ([]string, error) {
	var out []string
	for _, n := range v.Names {
		p := path.Join(v.Dir, n)
		if is, err := there(v.sys, p); err != nil {
			return nil, err
		} else if is {
			out = append(out, p)
		}
	}
	return out, nil
}

// loopMark is how much of a mark a loop device keeps: LO_NAME_SIZE less its end.
const loopMark = 63

// loops are the loop devices of our images, removed or not. The driver marks a device with the image's path.
func (v *Volumes) loops() ([]Loop, error) {
	if len(v.Made) == 0 {
		return nil, nil
	}
	all, err := v.sys.Loops()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(l Loop) bool {
		return !slices.ContainsFunc(v.Made, func(m MadeImage) bool {
			return l.ImageDev == m.Dev && l.ImageIno == m.Ino && l.Tag == m.Path[:min(len(m.Path), loopMark)]
		})
	}), nil
}

func (v *Volumes) Pending(_ context.Context, env Env) (Rest, error) {
	if !v.Saved {
		return Rest{}, nil
	}
	images, err := v.images()
	if err != nil {
		return Rest{}, err
	}
	if len(images) > 0 {
		return Rest{Todo: "remove the disk image(s) " + strings.Join(images, ", ")}, nil
	}
	if used, err := v.loops(); err != nil {
		return Rest{}, err
	} else if len(used) > 0 {
		return Rest{Todo: fmt.Sprintf("free %d loop device(s) of disk images in %s", len(used), v.Dir)}, nil
	}
	left, err := v.homes()
	if err != nil || len(left) == 0 {
		return Rest{}, err
	}
	return Rest{Tidy: "remove " + strings.Join(left, ", ")}, nil
}

// homes are our own directory when it is empty, and the driver's, while no driver lives in them.
func (v *Volumes) homes() ([]string, error) {
	out, err := empty(v.sys, nil, v.Dir, path.Dir(v.Dir))
	if err != nil {
		return nil, err
	}
	running, err := v.sys.Processes()
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(running, func(p Process) bool { return slices.Contains(p.Command, v.Program) }) {
		return out, nil
	}
	for _, pattern := range v.Homes {
		dir := path.Dir(pattern)
		names, err := list(v.sys, dir)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			if ok, _ := path.Match(path.Base(pattern), n); ok {
				out = append(out, path.Join(dir, n))
			}
		}
	}
	return empty(v.sys, out, v.Fresh...)
}

// empty adds those directories to a list that hold nothing, or nothing but what is listed.
func empty(sys Files, list []string, dirs ...string) ([]string, error) {
	for _, d := range dirs {
		names, err := sys.List(d)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(list, path.Join(d, n)) }) {
			list = append(list, d)
		}
	}
	return list, nil
}

func (v *Volumes) Undo(ctx context.Context, env Env) error {
	if !v.Saved {
		return nil
	}
	// The names first: the kubelet of a run whose harness was killed goes on trying, and would mount the next moment what has
	// just been unmounted (seen live).
	images, err := v.images()
	if err != nil {
		return err
	}
	for _, p := range images {
		if err := unlessGone(v.sys.Remove(p)); err != nil {
			return err
		}
	}
	if err := v.unmount(ctx); err != nil {
		return err
	}
	left, err := v.homes()
	if err != nil {
		return err
	}
	mounts, err := v.sys.Mounts(0)
	if err != nil {
		return err
	}
	for _, p := range left {
		if mountIn(mounts, p) != nil {
			return fmt.Errorf("%s still holds a mount", p)
		}
		if err := v.sys.RemoveAll(p); err != nil {
			return err
		}
	}
	return nil
}

// unmount frees the images: a volume that is still mounted is the kubelet's own leftover, of a driver that went before its pods.
func (v *Volumes) unmount(ctx context.Context) error {
	used, err := v.loops()
	if err != nil {
		return err
	}
	for _, l := range used {
		mounts, err := v.sys.Mounts(0)
		if err != nil {
			return err
		}
		for _, m := range slices.Backward(mounts) {
			if m.Major == LoopMajor && m.Minor == l.Number {
				if err := unmount(ctx, v.sys, m.Mountpoint); err != nil {
					return err
				}
			}
		}
		err = releaseLoop(ctx, v.sys, "an image in "+v.Dir, func() (int, bool, error) {
			used, err := v.loops()
			return l.Number, slices.ContainsFunc(used, func(u Loop) bool { return u.Number == l.Number }), err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
