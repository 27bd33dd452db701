package injectors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var file = Mechanism{
	Name: "file",
	Doc:  "writes or removes one file of the node, such as a registry's hosts.toml or a seccomp profile, and restarts what reads it",
	New:  func() Params { return &File{} },
}

// File are the parameters of file.
type File struct {
	Path string `json:"path"`
	// Remove takes the file away; otherwise Content is what it will hold.
	Remove  bool   `json:"remove,omitempty"`
	Content string `json:"content,omitempty"`
	// Mode of a file that is new, in octal, such as "0644".
	Mode string `json:"mode,omitempty"`
	// Restart names a unit that reads the file only when it starts.
	Restart string `json:"restart,omitempty" jsonschema:"enum=kubelet.service,enum=containerd.service,enum=crio.service"`
}

// services are the units that make a node: the kubelet's and each runtime's.
var services = []string{kubeletUnit, op.Containerd.Unit, op.CRIO.Unit}

// programs are the places from which a node runs what is written there: a scenario may come from a stranger, and a kind node is a
// privileged container.
var programs = []string{
	"/usr", "/bin", "/sbin", "/lib*", "/opt", "/root", "/home", "/boot", "/kind", "/etc/systemd", "/etc/init*", "/etc/rc*", "/etc/cron*", "/var/spool",
	"/etc/kubernetes/manifests", "/etc/profile*", "/etc/bash*", "/etc/environment", "/etc/ld.so*", "/etc/sudoers*", "/etc/pam*", "/etc/security",
	"/etc/ssh", "/etc/passwd*", "/etc/shadow*", "/etc/group*", "/etc/udev", "/etc/mod*", "/etc/apt", "/etc/alternatives", "/etc/network", "/etc/nri", "/etc/cdi",
}

func (f *File) Validate() error {
	if err := absolute(f.Path); err != nil {
		return err
	}
	if err := notOurs(f.Path); err != nil {
		return err
	}
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run/systemd"} {
		if under(f.Path, dir) {
			return fmt.Errorf("path %q: %s holds no files that can be put back", f.Path, dir)
		}
	}
	if i := slices.IndexFunc(programs, func(p string) bool {
		return under(f.Path, p) || strings.HasSuffix(p, "*") && strings.HasPrefix(f.Path, p[:len(p)-1])
	}); i >= 0 && !f.Remove {
		return fmt.Errorf("path %q: what is below %s is run by the node as root; this mechanism writes data, and takes such files away only", f.Path, strings.TrimSuffix(programs[i], "*"))
	}
	if f.Remove && f.Content != "" {
		return errors.New("remove and content exclude each other")
	}
	if f.Restart != "" && !slices.Contains(services, f.Restart) {
		return fmt.Errorf("restart %q: want one of %s", f.Restart, strings.Join(services, ", "))
	}
	_, err := f.mode()
	return err
}

func (f *File) mode() (fs.FileMode, error) {
	if f.Mode == "" {
		return 0o644, nil
	}
	var m uint32
	if _, err := fmt.Sscanf(f.Mode, "%o", &m); err != nil || m > 0o777 {
		return 0, fmt.Errorf("mode %q: want octal digits, such as 0644", f.Mode)
	}
	return fs.FileMode(m), nil
}

func (f *File) Plan(_ context.Context, n Node) (*Plan, error) {
	_, err := n.Sys.Stat(f.Path)
	if f.Remove && errors.Is(err, fs.ErrNotExist) {
		return nil, file.unsupported("the node has no " + f.Path + " to remove")
	}
	mode, err := f.mode()
	if err != nil {
		return nil, err
	}
	o := &op.File{Path: f.Path, Absent: f.Remove, Data: []byte(f.Content), Mode: mode}
	ops := []op.Op{o}
	if f.Restart != "" {
		ops = restarting(f.Restart, o)
	}
	// A folder that is there for this file alone goes with what somebody puts beside it.
	if _, err := n.Sys.Stat(path.Dir(f.Path)); !f.Remove && errors.Is(err, fs.ErrNotExist) {
		ops = slices.Insert(ops, 0, op.Op(&op.OwnDir{Path: path.Dir(f.Path)}))
	}
	return &Plan{Ops: ops}, nil
}
