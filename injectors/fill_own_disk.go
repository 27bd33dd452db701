package injectors

import (
	"context"
	"errors"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var fillOwnDisk = Mechanism{
	Name:     "fill-own-disk",
	Doc:      "takes the bytes or the inodes of the machine's own disk; in a guest of `sickbay vm`, whose disk is nobody else's",
	New:      func() Params { return &FillOwnDisk{} },
	HostWide: true,
}

// FillOwnDisk are the parameters of fill-own-disk. All nodes of the machine share its disk, and the journal that undoes it is on it:
// something has to stay for both.
type FillOwnDisk FillDisk

func (f *FillOwnDisk) Validate() error {
	if err := (*FillDisk)(f).Validate(); err != nil {
		return err
	}
	if f.Inodes && f.LeaveInodes < 1000 {
		return errors.New("leaveInodes: 1000 at least, for the machine's other nodes")
	}
	if !f.Inodes && f.LeavePercent < 2 {
		return errors.New("leavePercent: 2 at least, for the machine's other nodes")
	}
	return nil
}

func (f *FillOwnDisk) Plan(ctx context.Context, n Node) (*Plan, error) {
	if err := fillOwnDisk.needsGuest(n, "the disk is the machine's"); err != nil {
		return nil, err
	}
	p, err := (*FillDisk)(f).Plan(ctx, n)
	if err != nil {
		return nil, err
	}
	for _, o := range p.Ops {
		o.(*op.Fill).Machine = true
	}
	return p, nil
}
