package op

import (
	"context"
	"strings"
)

// AppArmorProfiles is where the kernel lists the profiles that are loaded, one "name (mode)" a line.
const AppArmorProfiles = "/sys/kernel/security/apparmor/profiles"

// AppArmor loads a profile that was not loaded before.
type AppArmor struct {
	asks[interface {
		FileTree
		Commands
	}]
	Name string `json:"name"`
	File string `json:"file"`
}

func (a *AppArmor) Describe() string { return "load the AppArmor profile " + a.Name }

func (*AppArmor) Save(context.Context, Env) error { return nil }

// The cache is left alone: it would outlive the profile.
func (a *AppArmor) Do(ctx context.Context, env Env) error {
	return short(ctx, a.sys, "apparmor_parser", "--skip-cache", "--replace", a.File)
}

func (a *AppArmor) loaded() (bool, error) {
	b, err := a.sys.Read(AppArmorProfiles)
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(b)) {
		if name, _, _ := strings.Cut(line, " ("); name == a.Name {
			return true, nil
		}
	}
	return false, nil
}

func (a *AppArmor) Pending(_ context.Context, env Env) (Rest, error) {
	on, err := a.loaded()
	return todo(on, err, "unload the AppArmor profile %s", a.Name)
}

// The parser removes by the name it reads from a file; the profile's own may be gone or changed, so it gets
// an empty one.
func (a *AppArmor) Undo(ctx context.Context, env Env) error {
	return undo(ctx, env, a, func() error {
		file := env.Backup("profile")
		if err := a.sys.Write(file, []byte("profile "+a.Name+" {\n}\n"), 0o600); err != nil {
			return err
		}
		return short(ctx, a.sys, "apparmor_parser", "--remove", file)
	})
}
