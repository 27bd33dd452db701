package op

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"time"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

const (
	// LoopLabel is the ext4 label of every filesystem sickbay makes.
	LoopLabel = "sickbay"
	// HostReserve is what stays free on the filesystem that holds the image. It is the host's disk.
	HostReserve = 1 << 30
	// attachTries bounds the race for a free loop device with everybody else on the host.
	attachTries = 8
	// mkfsBound and copyBound: mkfs of 2 GiB takes 0.1 s, copying a node's 1 GiB of images about 10 s.
	mkfsBound = time.Minute
	copyBound = 5 * time.Minute
)

// LoopFS mounts an ext4 filesystem of its own, in an image file of limited size, over a directory. Faults that fill or
// freeze act on nothing else: it is the one kind of filesystem that cannot take the host down.
type LoopFS struct {
	asks[interface {
		FileTree
		Attributes
		Filesystems
		LoopDevices
		ProcessTable
		Timer
		Commands
	}]
	Target string `json:"target"`
	Bytes  int64  `json:"bytes"`
	Inodes int64  `json:"inodes,omitempty"` // 0: what mkfs.ext4 chooses
	// Seed copies into it what the directory holds, so that pods and images survive.
	Seed bool `json:"seed,omitempty"`
	// Clear unmounts leftover mounts below the directory first: containerd's temporary ones.
	Clear bool `json:"clear,omitempty"`

	Image string `json:"image,omitempty"`
	UUID  string `json:"uuid,omitempty"`
	// Tag is written into the loop device, where every process of the host can read whose it is.
	Tag      string `json:"tag,omitempty"`
	Loop     int    `json:"loop"`
	MadeNode bool   `json:"madeNode,omitempty"`
}

func (l *LoopFS) Touches() []string { return []string{l.Target} }

func (l *LoopFS) Describe() string {
	return fmt.Sprintf("mount an ext4 of %d MiB over %s", l.Bytes>>20, l.Target)
}

func (l *LoopFS) Save(_ context.Context, env Env) error {
	st, err := l.sys.Stat(l.Target)
	if err != nil {
		return err
	}
	if !st.Mode.IsDir() {
		return fmt.Errorf("%s is not a directory", l.Target)
	}
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	h := hex.EncodeToString(id[:])
	l.UUID = h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	l.Image = env.Backup("image")
	l.Tag = "sickbay:" + h[:16]
	l.Loop = -1
	return l.room()
}

// room refuses when the image would leave less than HostReserve on the disk that holds it.
func (l *LoopFS) room() error {
	fsys, err := l.sys.Statfs(path.Dir(l.Image))
	if err != nil {
		return err
	}
	if fsys.Free < l.Bytes+HostReserve {
		return fmt.Errorf("%s has %d MiB free: an image of %d MiB would leave less than %d MiB (choose a smaller size or free space)",
			path.Dir(l.Image), fsys.Free>>20, l.Bytes>>20, int64(HostReserve)>>20)
	}
	return nil
}

func (l *LoopFS) staging() string { return path.Join(path.Dir(l.Image), path.Base(l.Image)+".mnt") }

func (l *LoopFS) Do(ctx context.Context, env Env) error {
	if err := l.room(); err != nil {
		return err
	}
	// All blocks are allocated now: a sparse image would fill the host's disk later, when the fault fills the filesystem.
	if err := l.sys.Allocate(l.Image, l.Bytes); err != nil {
		return err
	}
	// nodiscard: mkfs would punch the image's blocks out again. No reserved blocks: containerd is root and would use them.
	argv := []string{"mkfs.ext4", "-F", "-q", "-L", LoopLabel, "-U", l.UUID, "-m", "0", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1"}
	if l.Inodes > 0 {
		argv = append(argv, "-N", strconv.FormatInt(l.Inodes, 10))
	}
	mctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(mkfsBound))
	_, err := l.sys.Run(mctx, append(argv, l.Image)...)
	cancel()
	if err != nil {
		return err
	}
	release, err := l.attach(env)
	if err != nil {
		return err
	}
	err = l.mount(ctx)
	return errors.Join(err, release())
}

func (l *LoopFS) attach(env Env) (func() error, error) {
	for try := 1; ; try++ {
		n, missing, err := l.sys.FreeLoop()
		if err != nil {
			return nil, err
		}
		l.Loop, l.MadeNode = n, missing
		if err := env.Persist(); err != nil {
			return nil, err
		}
		release, err := l.sys.AttachLoop(n, l.Image, l.Tag)
		if errors.Is(err, ErrLoopBusy) && try < attachTries {
			continue
		}
		return release, err
	}
}

func (l *LoopFS) mount(ctx context.Context) error {
	dev := fmt.Sprintf("/dev/loop%d", l.Loop)
	if l.Clear {
		if err := l.clear(); err != nil {
			return err
		}
	}
	if l.Seed {
		if err := l.sys.Mkdir(l.staging(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := l.sys.Mount(dev, l.staging(), "ext4", 0, ""); err != nil {
			return err
		}
		cctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(copyBound))
		_, err := l.sys.Run(cctx, "cp", "-ax", l.Target+"/.", l.staging())
		cancel()
		if err != nil {
			return fmt.Errorf("copying %s: %w", l.Target, err)
		}
	}
	if err := l.sys.Mount(dev, l.Target, "ext4", 0, ""); err != nil {
		return err
	}
	if l.Seed {
		if err := l.sys.Unmount(l.staging(), false); err != nil {
			return err
		}
		if err := l.sys.Remove(l.staging()); err != nil {
			return err
		}
	} else if st, err := l.sys.Stat(l.Target); err == nil {
		if err := l.sys.Chmod(l.Target, st.Mode.Perm()); err != nil {
			return err
		}
	}
	return nil
}

func (l *LoopFS) clear() error {
	mounts, err := l.sys.Mounts(0)
	if err != nil {
		return err
	}
	for i := len(mounts) - 1; i >= 0; i-- {
		if t := mounts[i].Mountpoint; len(t) > len(l.Target) && t[:len(l.Target)+1] == l.Target+"/" {
			if err := l.sys.Unmount(t, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// attached finds the loop device that has our image, wherever it is.
func (l *LoopFS) attached() (Loop, bool, error) {
	st, err := l.sys.Stat(l.Image)
	if err != nil {
		return Loop{}, false, unlessGone(err)
	}
	loops, err := l.sys.Loops()
	if err != nil {
		return Loop{}, false, err
	}
	for _, lo := range loops {
		if lo.ImageDev == st.Dev && lo.ImageIno == st.Ino {
			return lo, true, nil
		}
	}
	return Loop{}, false, nil
}

// mounts lists the mounts of our filesystem.
func (l *LoopFS) mounts() (all, own []*Mount, err error) {
	lo, ok, err := l.attached()
	if err != nil || !ok {
		return nil, nil, err
	}
	if all, err = l.sys.Mounts(0); err != nil {
		return nil, nil, err
	}
	for _, m := range all {
		if m.Major == LoopMajor && m.Minor == lo.Number {
			own = append(own, m)
		}
	}
	return all, own, nil
}

func (l *LoopFS) Pending(_ context.Context, env Env) (Rest, error) {
	if l.Image == "" {
		return Rest{}, nil
	}
	_, own, err := l.mounts()
	if err != nil {
		return Rest{}, err
	}
	for _, m := range own {
		if m.Mountpoint == l.Target {
			return Rest{Todo: "unmount the loop filesystem from " + l.Target}, nil
		}
	}
	if _, ok, err := l.attached(); err != nil {
		return Rest{}, err
	} else if ok {
		// Framed: containers that were started on it hold it, and Tasks must retire them.
		return Rest{Tidy: "detach the loop device of " + l.Target, Framed: true}, nil
	}
	for _, p := range []string{l.Image, l.staging()} {
		if is, err := there(l.sys, p); err != nil {
			return Rest{}, err
		} else if is {
			return Rest{Tidy: "remove " + p}, nil
		}
	}
	left, err := l.nodeLeft()
	if left {
		return Rest{Tidy: fmt.Sprintf("remove the device node /dev/loop%d", l.Loop)}, nil
	}
	return Rest{}, err
}

func (l *LoopFS) nodeLeft() (bool, error) {
	if !l.MadeNode || l.Loop < 0 {
		return false, nil
	}
	if is, err := there(l.sys, fmt.Sprintf("/dev/loop%d", l.Loop)); err != nil || !is {
		return false, err
	}
	loops, err := l.sys.Loops()
	if err != nil {
		return false, err
	}
	for _, lo := range loops {
		if lo.Number == l.Loop && lo.Tag != l.Tag {
			return false, nil // somebody else of this node uses it now
		}
	}
	return true, nil
}

func (l *LoopFS) Undo(ctx context.Context, env Env) error {
	if l.Image == "" {
		return nil
	}
	all, own, err := l.mounts()
	if err != nil {
		return err
	}
	gone := map[int]bool{} // CRI-O binds a folder of the filesystem onto itself: it goes with what it is below
	for i, m := range own {
		if gone[m.ID] {
			continue
		}
		// Thaw first: on a frozen filesystem everything else, unmounting too, waits for ever.
		if i == 0 {
			if err := l.sys.Thaw(m.Mountpoint); err != nil {
				return err
			}
		}
		for _, sub := range MountsBelow(all, m.ID) {
			if err := unmount(ctx, l.sys, sub.Mountpoint); err != nil {
				return err
			}
			gone[sub.ID] = true
		}
		if err := unmount(ctx, l.sys, m.Mountpoint); err != nil {
			return err
		}
	}
	if err := l.detach(ctx); err != nil {
		return err
	}
	if left, err := l.nodeLeft(); err != nil {
		return err
	} else if left {
		if err := l.sys.Remove(fmt.Sprintf("/dev/loop%d", l.Loop)); err != nil {
			return err
		}
	}
	for _, p := range []string{l.staging(), l.Image} {
		if err := unlessGone(l.sys.Remove(p)); err != nil {
			return err
		}
	}
	return nil
}

func (l *LoopFS) detach(ctx context.Context) error {
	return releaseLoop(ctx, l.sys, l.Image, func() (int, bool, error) {
		lo, ok, err := l.attached()
		return lo.Number, ok, err
	})
}

const (
	unmountTries = 15
	unmountPoll  = 200 * time.Millisecond
)

// unmount tries for three seconds and then detaches: what lies below the mount is back at once either way, and whoever still
// uses the filesystem is found when the loop device is not freed.
func unmount(ctx context.Context, sys interface {
	Filesystems
	Timer
}, target string) error {
	for range unmountTries {
		err := sys.Unmount(target, false)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrBusy) {
			return err
		}
		if err := sys.Wait(ctx, unmountPoll); err != nil {
			return err
		}
	}
	return sys.Unmount(target, true)
}
