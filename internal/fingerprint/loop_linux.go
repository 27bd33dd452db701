package fingerprint

import "golang.org/x/sys/unix"

// LoopImage tells which file a loop device serves, by device and inode: its path is one in the mount namespace of whoever attached
// it, and several nodes may have that very path. It is false for a device that is not there or cannot be asked.
func LoopImage(name string) (dev, ino uint64, ok bool) {
	fd, err := unix.Open("/dev/"+name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, 0, false
	}
	defer func() { _ = unix.Close(fd) }()
	info, err := unix.IoctlLoopGetStatus64(fd)
	if err != nil {
		return 0, 0, false
	}
	return info.Device, info.Inode, true
}

// FileID is a file's device and inode.
func FileID(path string) (dev, ino uint64, ok bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0, 0, false
	}
	return uint64(st.Dev), st.Ino, true
}
