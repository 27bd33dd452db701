package injectors

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var apparmorProfile = Mechanism{
	Name:     "apparmor-profile",
	Doc:      "loads an AppArmor profile into the kernel, for pods to name",
	New:      func() Params { return &AppArmorProfile{} },
	HostWide: true, // profiles belong to the kernel, which all nodes share
}

// AppArmorProfile are the parameters of apparmor-profile.
type AppArmorProfile struct {
	// Name of the profile, as pods name it.
	Name string `json:"name"`
	// Rules are what stands between the profile's braces.
	Rules string `json:"rules"`
}

var profileName = regexp.MustCompile(`^[a-z0-9][-a-z0-9]{0,62}$`)

func (a *AppArmorProfile) Validate() error {
	switch {
	case !profileName.MatchString(a.Name):
		return fmt.Errorf("name %q: want lower-case letters, digits and dashes", a.Name)
	case strings.TrimSpace(a.Rules) == "":
		return errors.New("rules is empty: such a profile denies everything, the program's own file included")
	case strings.Contains(a.Rules, `\{`) || strings.ContainsAny(alternatives(a.Rules), "{}"):
		return errors.New("rules: braces only name alternatives within a path, such as /etc/{passwd,group}: a block of its own would be a second profile, which nothing unloads")
	}
	return nil
}

var alternative = regexp.MustCompile(`\{[^\s{}"\\#]*\}`)

// alternatives are rules without the braces that are alternatives of paths, and so with those that are not.
func alternatives(rules string) string {
	for {
		next := alternative.ReplaceAllString(rules, "")
		if next == rules {
			return rules
		}
		rules = next
	}
}

// Plan implements Params. What is missing is named as an operator would have to bring it: the kernel's feature first, then the
// node's view of it, then the tool.
func (a *AppArmorProfile) Plan(_ context.Context, n Node) (*Plan, error) {
	no := apparmorProfile.unsupported
	if err := apparmorProfile.needs(n, "/sys/module/apparmor/parameters/enabled", "Y", "the host's kernel has no AppArmor",
		"AppArmor is in the host's kernel but switched off (/sys/module/apparmor/parameters/enabled is not Y)"); err != nil {
		return nil, err
	}
	loaded, err := n.Sys.Read(op.AppArmorProfiles)
	if err != nil {
		return nil, no("the node does not see the kernel's AppArmor profiles: mount the host's /sys/kernel/security into it (kind: extraMounts)")
	}
	for line := range strings.Lines(string(loaded)) {
		if name, _, _ := strings.Cut(line, " ("); name == a.Name {
			return nil, no("a profile of the name " + a.Name + " is loaded already")
		}
	}
	if _, err := n.Sys.Stat("/usr/sbin/apparmor_parser"); err != nil {
		return nil, no("the node has no /usr/sbin/apparmor_parser to load a profile with (kind: extraMounts)")
	}
	file := "/etc/apparmor.d/" + a.Name
	text := fmt.Sprintf("profile %s flags=(attach_disconnected,mediate_deleted) {\n%s\n}\n", a.Name, strings.TrimRight(a.Rules, "\n"))
	return &Plan{Ops: []op.Op{
		&op.File{Path: file, Data: []byte(text), Mode: 0o644, Inert: true},
		&op.AppArmor{Name: a.Name, File: file},
	}}, nil
}
