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
	refuse := func(format string, args ...any) error {
		return &RefusedError{Path: p, Reason: fmt.Sprintf(format, args...)}
	}
	dev := dir.Dev()
	major, minor := unix.Major(dev), int(unix.Minor(dev))
	if major != LoopMajor {
		return refuse("its device %d:%d is not a loop device", major, minor)
	}
	loops, err := sys.Loops()
	if err != nil {
		return refuse("the loop devices cannot be read: %v", err)
	}
	i := slices.IndexFunc(loops, func(l Loop) bool { return l.Number == minor })
	if i < 0 {
		return refuse("loop%d is not in use by anything that can be seen", minor)
	}
	loop := loops[i]
	made, err := env.Made()
	if err != nil {
		return refuse("the journal cannot be read: %v", err)
	}
	var own *LoopFS
	for _, m := range made {
		if m.Image == "" || !strings.HasPrefix(m.Tag, "sickbay:") || loop.Tag != m.Tag {
			continue
		}
		st, err := sys.Stat(m.Image)
		if err != nil || st.Dev != loop.ImageDev || st.Ino != loop.ImageIno {
			continue
		}
		own = m
		switch {
		case loop.Bytes > m.Bytes || st.Size > m.Bytes:
			return refuse("loop%d is larger (%d bytes) than what sickbay made (%d bytes)", minor, loop.Bytes, m.Bytes)
		case st.Dev == dev:
			return refuse("its image lies on itself")
		}
		if sparse := st.Size - st.Blocks; sparse > 0 {
			host, err := sys.Statfs(path.Dir(m.Image))
			if err != nil {
				return refuse("the disk of its image cannot be measured: %v", err)
			}
			if host.Free < sparse+HostReserve {
				return refuse("its image has %d bytes not yet allocated, and the disk below has only %d free", sparse, host.Free)
			}
		}
	}
	if own == nil {
		return refuse("loop%d (%q) is not in the journal", minor, loop.Tag)
	}
	id, err := sys.ReadAt(own.Image, ext4UUID, 16)
	if err != nil {
		return refuse("the superblock in %s cannot be read: %v", own.Image, err)
	}
	if got, want := hex.EncodeToString(id), strings.ReplaceAll(own.UUID, "-", ""); got != want {
		return refuse("the filesystem's UUID is %s, sickbay made %s", got, want)
	}
	for _, host := range []string{"/", "/var", "/var/lib", "/etc", "/run", path.Dir(own.Image)} {
		st, err := sys.Stat(host)
		if err == nil && st.Dev == dev {
			err = errors.New("it is the same filesystem as " + host)
		}
		if err != nil {
			return refuse("%v", err)
		}
	}
	room, err := dir.Statfs()
	if err != nil {
		return refuse("%v", err)
	}
	if room.Bytes > own.Bytes {
		return refuse("it has %d bytes, sickbay made %d", room.Bytes, own.Bytes)
	}
	return nil
}
