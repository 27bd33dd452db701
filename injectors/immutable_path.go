package injectors

import (
	"context"
	"fmt"
	"slices"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var immutablePath = Mechanism{
	Name: "immutable-path",
	Doc:  "makes a directory or file unwritable, for root too: by the immutable attribute or a read-only mount over it",
	New:  func() Params { return &ImmutablePath{By: "attribute"} },
}

// ImmutablePath are the parameters of immutable-path.
type ImmutablePath struct {
	Path string `json:"path"`
	// By: attribute (chattr +i: EPERM) or mount (a read-only bind mount over itself: EROFS).
	By string `json:"by,omitempty" jsonschema:"enum=attribute,enum=mount"`
}

func (i *ImmutablePath) Validate() error {
	if !slices.Contains([]string{"attribute", "mount"}, i.By) {
		return fmt.Errorf("by %q: want attribute or mount", i.By)
	}
	if err := absolute(i.Path); err != nil {
		return err
	}
	return notOurs(i.Path)
}

// notOurs keeps faults away from what heals the node.
func notOurs(p string) error {
	if under(p, Root) || under(Root, p) {
		return fmt.Errorf("path %q: sickbay's journal is there, a fault must not disable its own undo", p)
	}
	return nil
}

func (i *ImmutablePath) Plan(_ context.Context, n Node) (*Plan, error) {
	if _, err := n.Sys.Stat(i.Path); err != nil {
		return nil, immutablePath.unsupported(err.Error())
	}
	if i.By == "mount" {
		return &Plan{Ops: []op.Op{&op.ReadOnly{Path: i.Path}}}, nil
	}
	room, err := n.Sys.Statfs(i.Path)
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"ext4", "xfs", "btrfs", "overlay"}, room.Type) {
		return nil, immutablePath.unsupported("the filesystem of " + i.Path + " has no immutable attribute")
	}
	return &Plan{Ops: []op.Op{&op.Immutable{Path: i.Path}}}, nil
}
