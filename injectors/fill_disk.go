package injectors

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var fillDisk = Mechanism{
	Name: "fill-disk",
	Doc:  "takes the bytes or the inodes of a filesystem that dedicated-filesystem made, and refuses any other",
	New:  func() Params { return &FillDisk{} },
}

// FillDisk are the parameters of fill-disk.
type FillDisk struct {
	// Path is a directory on the filesystem to fill; the files are put there.
	Path string `json:"path"`
	// Leave is how much stays free, such as "1Mi"; LeavePercent the same as a share of the filesystem. Neither: nothing stays.
	Leave        Size `json:"leave,omitempty"`
	LeavePercent int  `json:"leavePercent,omitempty"`
	// Inodes takes inodes instead of bytes, and leaves LeaveInodes.
	Inodes      bool  `json:"inodes,omitempty"`
	LeaveInodes int64 `json:"leaveInodes,omitempty"`
	// File is the name of the file, or what the many files' names begin with. The default looks like what operators find.
	File string `json:"file,omitempty"`
}

func (f *FillDisk) Validate() error {
	if err := absolute(f.Path); err != nil {
		return err
	}
	if _, err := f.Leave.Bytes(); err != nil {
		return err
	}
	switch {
	case f.LeavePercent < 0 || f.LeavePercent > 99:
		return fmt.Errorf("leavePercent %d: want 0 to 99", f.LeavePercent)
	case f.Leave != "" && f.LeavePercent != 0:
		return fmt.Errorf("leave and leavePercent exclude each other")
	case f.Inodes && (f.Leave != "" || f.LeavePercent != 0):
		return fmt.Errorf("leave and leavePercent are for bytes: with inodes use leaveInodes")
	case !f.Inodes && f.LeaveInodes != 0:
		return fmt.Errorf("leaveInodes needs inodes: true")
	case f.LeaveInodes < 0:
		return fmt.Errorf("leaveInodes %d is negative", f.LeaveInodes)
	case strings.ContainsAny(f.File, "/\x00") || f.File == "." || f.File == "..":
		return fmt.Errorf("file %q: want a name, not a path", f.File)
	}
	return nil
}

func absolute(p string) error {
	if !path.IsAbs(p) || path.Clean(p) != p {
		return fmt.Errorf("path %q: want an absolute path without dot segments", p)
	}
	return nil
}

// Plan implements Params. Whether the filesystem is sickbay's own is judged by the operation itself, at the moment of
// filling: here it may not be there yet.
func (f *FillDisk) Plan(context.Context, Node) (*Plan, error) {
	leave, err := f.Leave.Bytes()
	if err != nil {
		return nil, err
	}
	name := f.File
	if name == "" {
		name = "core-dump.old"
		if f.Inodes {
			name = "session"
		}
	}
	return &Plan{Ops: []op.Op{&op.Fill{
		Path: f.Path, Name: name, LeaveBytes: leave, LeavePercent: f.LeavePercent, Inodes: f.Inodes, LeaveInodes: f.LeaveInodes,
	}}}, nil
}
