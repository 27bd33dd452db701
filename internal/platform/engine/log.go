package engine

import (
	"io"
	"os"

	"github.com/sickbay-dev/sickbay/internal/text"
)

// The daemons write their log themselves, so nobody can rotate it between two lines: it is cut when somebody looks after the
// engine and it has grown. One week of warnings is about 100 kB.
const (
	logLimit = 8 << 20
	logKeep  = 1 << 20
)

// boundLog keeps the last part of a log that has grown too long in a second file and empties the first. The daemons append, so
// they go on at its new beginning. It only saves space: what fails here is nobody's concern.
func boundLog(opts Options) {
	f, err := os.OpenFile(opts.log(), os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() <= logLimit {
		return
	}
	if _, err := f.Seek(-logKeep, io.SeekEnd); err != nil {
		return
	}
	old, err := os.Create(opts.log() + ".1")
	if err != nil {
		return
	}
	defer old.Close()
	if _, err := io.Copy(old, f); err == nil {
		_ = f.Truncate(0)
	}
}

// lastLog returns the last lines of the log since offset.
func lastLog(opts Options, offset int64, lines int) string {
	f, err := os.Open(opts.log())
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil {
		offset = max(offset, info.Size()-1<<16)
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return ""
	}
	data, _ := io.ReadAll(io.LimitReader(f, 1<<16))
	return text.Tail(string(data), lines)
}
