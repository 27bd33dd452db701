package nodeimage

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/platform/apt"
	"github.com/sickbay-dev/sickbay/internal/progress"
)

// hostNeed is a program of this machine that a part needs, and the Debian packages that bring it.
type hostNeed struct {
	part     string
	present  func() bool
	packages []string
}

func hasProgram(names ...string) func() bool {
	return func() bool {
		for _, n := range names {
			if _, err := lookPath(n); err != nil {
				return false
			}
		}
		return true
	}
}

var hostNeeds = []hostNeed{
	{part: "rootfs", present: hasProgram("mmdebstrap"), packages: []string{"mmdebstrap"}},
	{part: "runc", present: func() bool {
		return hasProgram("gcc", "pkg-config")() && exec.Command("pkg-config", "--exists", "libseccomp").Run() == nil
	}, packages: []string{"gcc", "libc6-dev", "pkg-config", "libseccomp-dev"}},
}

// missingPackages answers what the parts need that this machine lacks.
func missingPackages(todo []*part, needs []hostNeed) []string {
	var out []string
	for _, n := range needs {
		for _, p := range todo {
			if p.name == n.part && !n.present() {
				out = append(out, n.packages...)
			}
		}
	}
	return out
}

// installBound is for a slow mirror: a compiler and its libraries take 15 s.
const installBound = 10 * time.Minute

// prepareHost installs what the parts need, as root on Debian and Ubuntu; elsewhere it says what to install.
func prepareHost(ctx context.Context, todo []*part) (err error) {
	needsRoot := false
	for _, p := range todo {
		needsRoot = needsRoot || p.name == "rootfs" || p.name == "store"
	}
	if needsRoot && os.Geteuid() != 0 {
		return fmt.Errorf("building a node image needs root for the root file system (%w): run it with sudo, or name an image with --image", errNotRoot)
	}
	missing := missingPackages(todo, hostNeeds)
	if len(missing) == 0 {
		return nil
	}
	if !apt.CanInstall() {
		return fmt.Errorf("building a node image needs %s: install them (on Debian or Ubuntu: sudo apt-get install %s), or name an image with --image",
			strings.Join(missing, ", "), strings.Join(missing, " "))
	}
	task := progress.From(ctx).Start("install "+strings.Join(missing, ", "), installBound)
	ctx, cancel := context.WithTimeout(ctx, installBound)
	defer cancel()
	defer func() { task.End(err) }()
	if err := apt.Install(ctx, task, missing...); err != nil {
		return fmt.Errorf("installing what the build needs: %w", err)
	}
	return nil
}
