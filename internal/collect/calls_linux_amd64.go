package collect

import "golang.org/x/sys/unix"

// legacyCalls are the calls from before the *at family, which newer processors never had.
var legacyCalls = map[int64]where{
	unix.SYS_OPEN:      {-1, -1, 0},
	unix.SYS_CREAT:     {-1, -1, 0},
	unix.SYS_MKDIR:     {-1, -1, 0},
	unix.SYS_RMDIR:     {-1, -1, 0},
	unix.SYS_UNLINK:    {-1, -1, 0},
	unix.SYS_RENAME:    {-1, -1, 1},
	unix.SYS_RENAMEAT:  {-1, 2, 3},
	unix.SYS_LINK:      {-1, -1, 1},
	unix.SYS_SYMLINK:   {-1, -1, 1},
	unix.SYS_MKNOD:     {-1, -1, 0},
	unix.SYS_CHMOD:     {-1, -1, 0},
	unix.SYS_CHOWN:     {-1, -1, 0},
	unix.SYS_LCHOWN:    {-1, -1, 0},
	unix.SYS_UTIMES:    {-1, -1, 0},
	unix.SYS_UTIME:     {-1, -1, 0},
	unix.SYS_FUTIMESAT: {-1, 0, 1},
}
