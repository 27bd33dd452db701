package op

import (
	"context"
	"fmt"
	"strings"
)

// Bridge makes a Linux bridge with an address. Its ports come and go with the pods of a network plugin, which keeps its
// address book in State; both go with the bridge.
type Bridge struct {
	asks[interface {
		FileTree
		Commands
	}]
	Name    string `json:"name"`
	Address string `json:"address"` // with the prefix length
	State   string `json:"state"`   // below /run
	Saved   bool   `json:"saved,omitempty"`
}

func (b *Bridge) Touches() []string { return []string{"link/" + b.Name, b.State} }

func (b *Bridge) Describe() string { return "make the bridge " + b.Name }

// link is where the kernel shows the interface.
func (b *Bridge) link() string { return "/sys/class/net/" + b.Name }

func (b *Bridge) there() (paths []string, err error) {
	for _, p := range []string{b.link(), b.State} {
		if is, err := there(b.sys, p); err != nil {
			return nil, err
		} else if is {
			paths = append(paths, p)
		}
	}
	return paths, nil
}

func (b *Bridge) Save(_ context.Context, env Env) error {
	if !strings.HasPrefix(b.State, "/run/") {
		return fmt.Errorf("state directory %q is not below /run", b.State)
	}
	paths, err := b.there()
	if err != nil {
		return err
	}
	if len(paths) > 0 {
		return fmt.Errorf("%s exists already", paths[0])
	}
	b.Saved = true
	return nil
}

func (b *Bridge) Do(ctx context.Context, env Env) error {
	for _, argv := range [][]string{
		{"ip", "link", "add", b.Name, "type", "bridge"},
		{"ip", "address", "add", b.Address, "dev", b.Name},
		{"ip", "link", "set", b.Name, "up"},
	} {
		if err := short(ctx, b.sys, argv...); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bridge) Pending(_ context.Context, env Env) (Rest, error) {
	if !b.Saved {
		return Rest{}, nil
	}
	paths, err := b.there()
	return todo(len(paths) > 0, err, "remove %s", strings.Join(paths, ", "))
}

func (b *Bridge) Undo(ctx context.Context, env Env) error {
	if !b.Saved {
		return nil
	}
	paths, err := b.there()
	if err != nil {
		return err
	}
	for _, p := range paths {
		if p == b.link() {
			err = short(ctx, b.sys, "ip", "link", "delete", b.Name)
		} else {
			err = b.sys.RemoveAll(p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
