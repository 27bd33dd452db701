package nodeimage

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/sickbay-dev/sickbay/internal/platform/apt"
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
			if apt.Find(n) == "" {
				return false
			}
		}
		return true
	}
}

var hostNeeds = []hostNeed{
	{part: "rootfs", present: hasProgram("mmdebstrap"), packages: []string{"mmdebstrap"}},
	{part: "runc", present: hasCompiler, packages: compiler},
	{part: "crio", present: hasCompiler, packages: compiler},
	{part: "storage", present: hasProgram("skopeo"), packages: []string{"skopeo"}},
}

// compiler is what a program takes that uses libseccomp.
var compiler = []string{"gcc", "libc6-dev", "pkg-config", "libseccomp-dev"}

func hasCompiler() bool {
	return hasProgram("gcc", "pkg-config")() && exec.Command("pkg-config", "--exists", "libseccomp").Run() == nil
}

// missingPackages answers what the parts need that this machine lacks.
func missingPackages(todo []*part, needs []hostNeed) []string {
	var out []string
	for _, n := range needs {
		for _, p := range todo {
			if p.Name == n.part && !n.present() {
				out = append(out, n.packages...)
			}
		}
	}
	return out
}

// installBound is for a slow mirror: a compiler and its libraries take 15 s.
const installBound = 10 * time.Minute

// prepareHost installs what the parts need, as root on Debian and Ubuntu; elsewhere it says what to install.
func prepareHost(ctx context.Context, todo []*part) error {
	needsRoot := false
	for _, p := range todo {
		needsRoot = needsRoot || slices.Contains([]string{"rootfs", "store", "storage"}, p.Name)
	}
	if needsRoot && os.Geteuid() != 0 {
		return fmt.Errorf("building a node image needs root for the root file system (%w): run it with sudo, or name an image with --image", errNotRoot)
	}
	return apt.Provide(ctx, installBound, true, "building a node image", ", or name an image with --image", missingPackages(todo, hostNeeds)...)
}
