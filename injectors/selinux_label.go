package injectors

import (
	"context"
	"fmt"
	"regexp"

	"github.com/sickbay-dev/sickbay/internal/op"
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
	if err := selinuxLabel.needs(n, "/sys/fs/selinux/enforce", "1", "the host's kernel has no SELinux, or it is not enabled",
		"SELinux is permissive on this host: it would log the denial and allow it"); err != nil {
		return nil, err
	}
	config, err := n.Sys.Read("/etc/containerd/config.toml")
	if err != nil {
		return nil, err
	}
	if !regexp.MustCompile(`(?m)^\s*enable_selinux\s*=\s*true`).Match(config) {
		return nil, selinuxLabel.unsupported("the node's containerd does not confine containers by SELinux (enable_selinux is not true in /etc/containerd/config.toml)")
	}
	return &Plan{Ops: []op.Op{&op.SELinux{Path: l.Path, Context: l.Context}}}, nil
}
