package engine

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/sickbay-dev/sickbay/internal/command"
	"github.com/sickbay-dev/sickbay/internal/platform/engine/oci"
	"github.com/sickbay-dev/sickbay/internal/trusted"
)

// noHelperError says that an engine could not be probed for want of a program to run in it.
type noHelperError struct{ err error }

func (e *noHelperError) Error() string { return "no program to probe it with: " + e.err.Error() }
func (e *noHelperError) Unwrap() error { return e.err }

// helperBinary finds a Linux program that is sickbay-oci when started under that name, static if it has to run in an empty
// image: the one beside the running program, the running program itself, or one built now where the sources and Go are.
func helperBinary(ctx context.Context, arch string, static bool) (path string, cleanup func(), err error) {
	arch = goArch(arch)
	nothing := func() {}
	self, err := os.Executable()
	if err != nil {
		return "", nil, fmt.Errorf("find the running program: %w", err)
	}
	dir := filepath.Dir(self)
	var errs []error
	for _, path := range []string{filepath.Join(dir, oci.Name), filepath.Join(dir, oci.Name+"-linux-"+arch), self} {
		err := Fits(path, arch, static)
		if err == nil && path != self {
			err = trusted.Path(path)
		}
		if err == nil {
			return path, nothing, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	path, cleanup, err = buildHelper(ctx, arch)
	if err != nil {
		return "", nil, errors.Join(append(errs, err)...)
	}
	return path, cleanup, nil
}

// goArch translates the names that engines use.
func goArch(arch string) string {
	switch arch {
	case "":
		return runtime.GOARCH
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return arch
}

var machines = map[elf.Machine]string{
	elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_S390: "s390x", elf.EM_PPC64: "ppc64le", elf.EM_RISCV: "riscv64",
}

// Fits tells whether a program runs on linux/arch (GOARCH), and where static is asked for, on any distribution's. The error says why
// not; it is os.ErrNotExist for a file that is not there.
func Fits(path, arch string, static bool) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	if machines[f.Machine] != arch {
		return fmt.Errorf("%s is not for linux/%s", path, arch)
	}
	for _, p := range f.Progs {
		if static && p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically", path)
		}
	}
	return nil
}

// buildHelper compiles cmd/sickbay-oci (0.3 s warm, 3 s cold). Programs under `go test -race` come here: they are dynamic.
func buildHelper(ctx context.Context, arch string) (string, func(), error) {
	root, err := trusted.Source()
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "sickbay-oci-")
	if err != nil {
		return "", nil, err
	}
	cleanup := func() { _ = os.RemoveAll(dir) }
	path := filepath.Join(dir, oci.Name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "./cmd/sickbay-oci")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=")
	if _, err := command.Output(cmd); err != nil {
		cleanup()
		return "", nil, err
	}
	return path, cleanup, nil
}
