package nodeimage

import (
	"fmt"
	"slices"
	"strings"
)

// Container runtimes that a node image can have.
const (
	Containerd   = "containerd"
	Containerd17 = "containerd@1.7"
	CRIO         = "crio"
)

// Runtimes lists them, the default first.
func Runtimes() []string { return []string{Containerd, Containerd17, CRIO} }

// RuntimeHelp is the help of a flag --runtime.
var RuntimeHelp = "container runtime of the nodes: " + strings.Join(Runtimes(), ", ") + " (default " + Containerd + ")"

// UnknownRuntimeError is a runtime that no image is built with.
type UnknownRuntimeError struct{ Name string }

func (e *UnknownRuntimeError) Error() string {
	return fmt.Sprintf("no node image is built with the runtime %q; there are %s", e.Name, strings.Join(Runtimes(), ", "))
}

// ExitCode is 2: another request would work.
func (*UnknownRuntimeError) ExitCode() int { return 2 }

// Repositories are the names, without a tag, of the images built here: one for each runtime.
func Repositories() []string {
	var out []string
	for _, r := range Runtimes() {
		out = append(out, repository(r))
	}
	return out
}

// repository keeps images of different runtimes apart by name: whoever wants containerd must not be given another.
func repository(runtime string) string {
	if runtime == "" || runtime == Containerd {
		return Repository
	}
	return Repository + "-" + strings.ReplaceAll(runtime, "@", "-")
}

// RuntimeOf is the runtime in an image, by its name; an image of others' has containerd.
func RuntimeOf(image string) string {
	repo, _, _ := strings.Cut(image, ":")
	if i := slices.Index(Repositories(), repo); i >= 0 {
		return Runtimes()[i]
	}
	return Containerd
}

const containerdModule = "github.com/containerd/containerd"

// containerdPrograms are built without the snapshotters that a node never selects, as kind leaves them out; devmapper and btrfs would also
// need C.
func containerdPrograms(module, version string) []goBuild {
	return []goBuild{{
		out: "bin/", packages: []string{module + "/cmd/containerd", module + "/cmd/containerd-shim-runc-v2", module + "/cmd/ctr"},
		tags: "no_btrfs,no_devmapper,no_zfs,no_aufs", ldflags: "-X " + module + "/version.Version=" + version,
	}}
}

// configVersion is the newest version of a configuration that containerd reads.
func configVersion(runtime string) int {
	if runtime == Containerd17 {
		return 2
	}
	return 3
}

// runtimeParts are the programs of the runtime.
func runtimeParts(runtime string) []goPart {
	containerd := func(p *plan) **part { return &p.containerd }
	switch runtime {
	case CRIO:
		return []goPart{{name: "crio", into: func(p *plan) **part { return &p.crio }, builds: []goBuild{
			// In C for libseccomp. Signatures are checked by Go's own OpenPGP, and storage is overlay: neither takes a library more.
			{out: "bin/crio", packages: []string{"./cmd/crio"}, tags: "seccomp,apparmor,containers_image_openpgp,exclude_graphdriver_btrfs,exclude_graphdriver_devicemapper", cgo: true},
		}, upstream: upstream{"github.com/cri-o/cri-o", "v1.34.0", "h1:ux2URwAyENy5e5hD9Z95tshdfy98eqatZk0fxx3rhuk="}},
			{name: "crio-runc", module: "crio", into: func(p *plan) **part { return &p.crioRunc }, builds: []goBuild{{out: "bin/runc", packages: []string{"./cmd/runc"}}}}}
	case Containerd17:
		const version = "v1.7.29"
		return []goPart{{name: "containerd", into: containerd, builds: containerdPrograms(containerdModule, version),
			upstream: upstream{containerdModule, version, "h1:90fWABQsaN9mJhGkoVnuzEY+o1XDPbg9BTC9QTAHnuE="}}}
	}
	return []goPart{{name: "containerd", module: "containerd", into: containerd, builds: containerdPrograms(containerdModule+"/v2", "@"+containerdModule+"/v2@")}}
}
