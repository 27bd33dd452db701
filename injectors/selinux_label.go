package injectors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/sickbay-dev/sickbay/injectors/op"
)

var selinuxLabel = Mechanism{
	Name: "selinux-label",
	Doc:  "gives a file or directory of the node another SELinux context, as moving it from elsewhere does",
	New:  func() Params { return &SELinuxLabel{} },
}

// SELinuxLabel are the parameters of selinux-label.
type SELinuxLabel struct {
	Path    string `json:"path"`
	Context string `json:"context"`
}

var contextForm = regexp.MustCompile(`^[a-z0-9_]+:[a-z0-9_]+:[a-z0-9_]+:[a-z0-9:,.-]+$`)

// Validate implements Params.
func (l *SELinuxLabel) Validate() error {
	if err := absolute(l.Path); err != nil {
		return err
	}
	if err := notOurs(l.Path); err != nil {
		return err
	}
	if !contextForm.MatchString(l.Context) {
		return fmt.Errorf("context %q: want user:role:type:level, such as system_u:object_r:admin_home_t:s0", l.Context)
	}
	return nil
}

// Plan implements Params. What is missing is named as an operator would have to bring it: the kernel's feature, its mode, the
// runtime's part, the file.
func (l *SELinuxLabel) Plan(_ context.Context, n Node) (*Plan, error) {
	no := func(why string) error { return &UnsupportedError{Mechanism: selinuxLabel.Name, Reason: why} }
	mode, err := n.Sys.Read("/sys/fs/selinux/enforce")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, no("the host's kernel has no SELinux, or it is not enabled (there is no /sys/fs/selinux/enforce)")
	}
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(string(mode)) != "1" {
		return nil, no("SELinux is permissive on this host: it would log the denial and allow it")
	}
	config, err := n.Sys.Read("/etc/containerd/config.toml")
	if err != nil {
		return nil, err
	}
	if !regexp.MustCompile(`(?m)^\s*enable_selinux\s*=\s*true`).Match(config) {
		return nil, no("the node's containerd does not confine containers by SELinux (enable_selinux is not true in /etc/containerd/config.toml)")
	}
	return &Plan{Ops: []op.Op{&op.SELinux{Path: l.Path, Context: l.Context}}}, nil
}
