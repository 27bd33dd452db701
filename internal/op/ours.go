package op

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// RefusedError means that an operation would have acted on a filesystem that is not sickbay's own.
type RefusedError struct {
	Path   string
	Reason string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("refused to touch the filesystem of %s: %s (only a filesystem that dedicated-filesystem made may be filled or frozen, and a guest's own disk filled)", e.Path, e.Reason)
}

// ext4 superblock: at 1024, UUID at 0x68 within it.
const ext4UUID = 1024 + 0x68

// loopChecks is what it takes to know sickbay's own filesystems.
type loopChecks interface {
	Files
	Filesystems
	LoopDevices
}

// ours refuses an open directory that is not on a filesystem of sickbay's own. It trusts no earlier step: a
// preparation that failed half-way once left a path on the host's own disk, and the fill took the host to zero bytes.
// Everything is therefore measured here, on the open directory, at the moment of the fault.
func ours(sys loopChecks, env Env, p string, dir Dir) error {
	if err := notOurs(sys, env, dir); err != nil {
		return &RefusedError{Path: p, Reason: err.Error()}
	}
	return nil
}

// notOurs says why not.
func notOurs(sys loopChecks, env Env, dir Dir) error {
	dev := dir.Dev()
	loop, err := loopOf(sys, dev)
	if err != nil {
		return err
	}
	own, err := madeFor(sys, env, loop, dev)
	if err != nil {
		return err
	}
	id, err := sys.ReadAt(own.Image, ext4UUID, 16)
	if err != nil {
		return fmt.Errorf("the superblock in %s cannot be read: %w", own.Image, err)
	}
	if got, want := hex.EncodeToString(id), strings.ReplaceAll(own.UUID, "-", ""); got != want {
		return fmt.Errorf("the filesystem's UUID is %s, sickbay made %s", got, want)
	}
	for _, host := range []string{"/", "/var", "/var/lib", "/etc", "/run", path.Dir(own.Image)} {
		if st, err := sys.Stat(host); err != nil {
			return err
		} else if st.Dev == dev {
			return fmt.Errorf("it is the same filesystem as %s", host)
		}
	}
	if room, err := dir.Statfs(); err != nil {
		return err
	} else if room.Bytes > own.Bytes {
		return fmt.Errorf("it has %d bytes, sickbay made %d", room.Bytes, own.Bytes)
	}
	return nil
}

// loopOf is the loop device that a filesystem is on.
func loopOf(sys LoopDevices, dev uint64) (Loop, error) {
	major, minor := unix.Major(dev), int(unix.Minor(dev))
	if major != LoopMajor {
		return Loop{}, fmt.Errorf("its device %d:%d is not a loop device", major, minor)
	}
	loops, err := sys.Loops()
	if err != nil {
		return Loop{}, fmt.Errorf("the loop devices cannot be read: %w", err)
	}
	if i := slices.IndexFunc(loops, func(l Loop) bool { return l.Number == minor }); i >= 0 {
		return loops[i], nil
	}
	return Loop{}, fmt.Errorf("loop%d is not in use by anything that can be seen", minor)
}

// madeFor is the filesystem of the journal that a loop device serves: by its mark, and by its image's inode.
func madeFor(sys loopChecks, env Env, loop Loop, dev uint64) (*LoopFS, error) {
	made, err := env.Made()
	if err != nil {
		return nil, fmt.Errorf("the journal cannot be read: %w", err)
	}
	for _, m := range slices.Backward(made) {
		if m.Image == "" || !strings.HasPrefix(m.Tag, "sickbay:") || loop.Tag != m.Tag {
			continue
		}
		if st, err := sys.Stat(m.Image); err == nil && st.Dev == loop.ImageDev && st.Ino == loop.ImageIno {
			return m, fits(sys, m, st, loop, dev)
		}
	}
	return nil, fmt.Errorf("loop%d (%q) is not in the journal", loop.Number, loop.Tag)
}

// fits refuses an image that has outgrown what was made, or that the disk below it has no room for.
func fits(sys Filesystems, m *LoopFS, st Stat, loop Loop, dev uint64) error {
	switch {
	case loop.Bytes > m.Bytes || st.Size > m.Bytes:
		return fmt.Errorf("loop%d is larger (%d bytes) than what sickbay made (%d bytes)", loop.Number, loop.Bytes, m.Bytes)
	case st.Dev == dev:
		return errors.New("its image lies on itself")
	}
	sparse := st.Size - st.Blocks
	if sparse <= 0 {
		return nil
	}
	host, err := sys.Statfs(path.Dir(m.Image))
	if err != nil {
		return fmt.Errorf("the disk of its image cannot be measured: %w", err)
	}
	if host.Free < sparse+HostReserve {
		return fmt.Errorf("its image has %d bytes not yet allocated, and the disk below has only %d free", sparse, host.Free)
	}
	return nil
}
