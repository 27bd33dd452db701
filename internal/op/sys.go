package op

import (
	"context"
	"io/fs"
	"time"
)

// Sys is a node by its parts: one small interface for each thing that can be asked of it. Host has the real ones (Linux); the
// injectors' tests have them in memory, with failures at will.
type Sys struct {
	Files
	Edits
	Inside
	Attributes
	Locks
	Filesystems
	LoopDevices
	SwapAreas
	ProcessTable
	Commands
	Timer
	WallClocks
	Runtime
	Resolver
}

// asks is what an operation asks of its node. It has nothing else, and not before it is bound.
type asks[S any] struct{ sys S }

func (a *asks[S]) bind(n Sys) { a.sys = any(n).(S) }

// Attach gives an operation the parts of the node that it asks for.
func Attach(o Op, n Sys) { o.bind(n) }

// Commands runs programs of the node.
type Commands interface {
	// Run runs a command and answers with its standard output; a failure's error carries the command and its error output.
	Run(ctx context.Context, argv ...string) ([]byte, error)
}

// Timer measures time and lets it pass.
type Timer interface {
	// Wait returns after d or with ctx's error, whichever is first; only for polling with a bound.
	Wait(ctx context.Context, d time.Duration) error
	// Clock is the kernel's boot id and the time since boot. Wall clocks are no use: faults move them.
	Clock() (bootID string, sinceBoot time.Duration, err error)
}

// Units is what it takes to control units and to see their processes.
type Units interface {
	Commands
	Timer
	ProcessTable
}

// Resolver answers with a name's addresses, as the node resolves it.
type Resolver interface {
	LookupHost(ctx context.Context, name string) ([]string, error)
}

// Locks are the node's locks.
type Locks interface {
	// Lock takes one, waiting until ctx ends; the holder is named in the error.
	Lock(ctx context.Context, path, holder string) (release func(), err error)
}

// WallClocks are the wall clocks of a machine.
type WallClocks interface {
	// Wall is the machine's wall clock, and SetWall sets it for every process of the machine.
	Wall() (time.Time, error)
	SetWall(time.Time) error
	// ClockOffset is by how much the wall clock that the process reads was moved; 0 when it is the kernel's own.
	ClockOffset(pid int) (time.Duration, error)
}

// Runtime is the container runtime, by its CRI socket.
type Runtime interface {
	// RemoveSandbox stops and removes a pod sandbox.
	RemoveSandbox(ctx context.Context, id string) error
	// UpdateContainer has the runtime update a container's resources to what they are. An error that is
	// context.DeadlineExceeded says that it did not answer in time.
	UpdateContainer(ctx context.Context, id string) error
}

// Files reads a filesystem.
type Files interface {
	// Stat does not follow a final symbolic link. A missing file is fs.ErrNotExist.
	Stat(path string) (Stat, error)
	Read(path string) ([]byte, error)
	// ReadAt reads up to n bytes at an offset.
	ReadAt(path string, off int64, n int) ([]byte, error)
	// List names what a directory holds, sorted.
	List(path string) ([]string, error)
	Xattrs(path string) (map[string][]byte, error)
	// Sum is the SHA-256 of the content, in hex.
	Sum(path string) (string, error)
}

// Edits changes the content and the names of a filesystem. What is written is on disk when it returns.
type Edits interface {
	// Write truncates and writes in place, creating the file. containerd's CNI watcher ignores a file that was renamed into
	// place, so this is how configuration is written.
	Write(path string, data []byte, mode fs.FileMode) error
	// WriteAt overwrites bytes of a file that is there.
	WriteAt(path string, off int64, data []byte) error
	// Copy copies a file's bytes to a new file and syncs it.
	Copy(from, to string, mode fs.FileMode) error
	Rename(from, to string) error
	Link(from, to string) error
	Symlink(target, path string) error
	Remove(path string) error
	RemoveAll(path string) error
	Mkdir(path string, mode fs.FileMode) error
	MkdirAll(path string, mode fs.FileMode) error
	// SyncDir makes renames and removals in a directory durable.
	SyncDir(path string) error
}

// Inside is the filesystem as a process sees it, a container's say. No link of the process's making leads out of its root.
type Inside interface {
	ThereInside(pid int, path string) (bool, error)
	// CreateInside refuses a name that is taken, by a link too.
	CreateInside(pid int, path string, data []byte, mode fs.FileMode) error
	RemoveInside(pid int, path string) error
}

// FileTree reads and changes a filesystem.
type FileTree interface {
	Files
	Edits
}

// Attributes changes what a file has besides its content.
type Attributes interface {
	Chmod(path string, mode fs.FileMode) error
	Chown(path string, uid, gid int) error
	Touch(path string, modified time.Time) error
	SetXattr(path, name string, value []byte) error
	SetImmutable(path string, on bool) error
}

// Stat is what is known of a file without reading it.
type Stat struct {
	Mode      fs.FileMode // with type bits
	UID, GID  int
	Size      int64
	Blocks    int64 // bytes allocated
	Modified  time.Time
	Dev, Ino  uint64
	Link      string
	Immutable bool
}

// Filesystems tells where they are mounted, how full they are, and whether they are frozen.
type Filesystems interface {
	// Mounts lists what a process sees; 0 is this one.
	Mounts(pid int) ([]*Mount, error)
	Mount(source, target, fstype string, flags MountFlag, data string) error
	// Unmount takes the topmost mount at target away; lazy detaches it although it is busy.
	Unmount(target string, lazy bool) error
	Statfs(path string) (Statfs, error)
	// Freeze answers ErrFrozen when the filesystem was frozen already.
	Freeze(path string) error
	// Thaw does nothing on a filesystem that is not frozen.
	Thaw(path string) error
	// OpenDir opens a directory for filling. Everything is then done through the open directory, never by path.
	OpenDir(path string) (Dir, error)
	// Allocate makes a file of that size with all its blocks reserved.
	Allocate(path string, size int64) error
}

// LoopDevices belong to the whole host.
type LoopDevices interface {
	// Loops lists those in use.
	Loops() ([]Loop, error)
	// FreeLoop names a loop device that is free at this moment, and whether its device node is missing here: /dev of a kind
	// node is a static copy.
	FreeLoop() (number int, missingNode bool, err error)
	// AttachLoop binds image to the device, making the device node if it is missing; ErrLoopBusy when somebody was quicker.
	// The kernel frees the device by itself when its last user ends, so release is called only after mounting.
	AttachLoop(number int, image, tag string) (release func() error, err error)
	DetachLoop(number int) error
}

// SwapAreas belong to the whole host.
type SwapAreas interface {
	// Swaps are the paths in /proc/swaps, as the kernel escapes them; names that may mean another file here.
	Swaps() ([]string, error)
	// SwapActive tells whether this very file is swapped to.
	SwapActive(path string) (bool, error)
	SwapOn(path string) error
	SwapOff(path string) error
}

// ProcessTable has the processes of the node.
type ProcessTable interface {
	Processes() ([]Process, error)
	// Process answers with fs.ErrNotExist when there is none.
	Process(pid int) (Process, error)
	// Signal is only sent when the process still is the one that started then.
	Signal(pid int, start uint64, sig Signal) error
}

// MountFlag says how to mount.
type MountFlag int

// Flags of Mount.
const (
	Bind MountFlag = 1 << iota
	ReadOnlyFlag
)

// Statfs is a filesystem's room.
type Statfs struct {
	Type        string // ext4, tmpfs, …; "" when not one of interest
	Bytes, Free int64  // Free is what an unprivileged writer gets
	Inodes      int64
	InodesFree  int64
}

// Loop is one loop device in use.
type Loop struct {
	Number   int
	Tag      string // lo_file_name, where sickbay writes its mark
	ImageDev uint64 // device and inode of the backing file
	ImageIno uint64
	Bytes    int64
}

// Process is one process.
type Process struct {
	PID     int
	Parent  int
	Start   uint64 // clock ticks since boot: with PID, an identity
	State   string // R, S, D, T, Z
	Command []string
}

// Signal is a signal by its name, without SIG.
type Signal string

// Signals that operations send.
const (
	STOP Signal = "STOP"
	CONT Signal = "CONT"
	KILL Signal = "KILL"
	TERM Signal = "TERM"
)

// Dir is an open directory.
type Dir interface {
	// Dev is the device number of the filesystem the open directory is on.
	Dev() uint64
	Statfs() (Statfs, error)
	// Grow makes the file at least so large, with its blocks really allocated; ErrNoSpace when there is no room.
	Grow(name string, size int64) error
	// Create makes n empty files called prefix-0, prefix-1 … from number first on, and answers how many it made.
	Create(prefix string, first, n int) (int, error)
	// List names what is there.
	List() ([]string, error)
	Size(name string) (int64, error)
	Remove(name string) error
	Close() error
}

// LoopMajor is the kernel's major device number of loop devices.
const LoopMajor = 7
