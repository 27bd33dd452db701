// Package vm runs sickbay in a virtual machine: a Debian guest with cgroup v2, AppArmor, a clock and swap of its own, under KVM
// where that really works and under QEMU's software emulation elsewhere. Nothing that falls ill in it touches this machine.
//
// The guest's disk is built from Debian packages, the node image is loaded onto it once, and what runs is an overlay that is
// thrown away. The guest reaches no network; it is reached by ssh on one port of 127.0.0.1, with keys made for that one boot.
//
// It knows QEMU, Debian's packages and ssh; of clusters and scenarios it knows nothing: what runs in the guest is the sickbay
// program, as it does elsewhere.
package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Options say where things are kept and how large the guest is. The zero value is what everybody should use.
type Options struct {
	// Dir keeps the disks and the guest that runs; default $SICKBAY_CACHE/vm, else sickbay/vm in the user's cache folder.
	Dir string
	// CPUs of the guest; default this machine's, four at most: a two-node cluster uses no more.
	CPUs int
	// MemoryMiB of the guest; default 8192, or two thirds of a smaller machine's. The host gives what is used, no more.
	MemoryMiB int
	// Accel asks for one accelerator; empty to take KVM where a probe shows that it works, and software emulation elsewhere.
	Accel Accel
	// NoInstall forbids installing packages: where that would be needed, the error says what to install.
	NoInstall bool
	// Limit is how many bytes of disks may stay in the cache, beside those in use. Default DefaultLimit.
	Limit    int64
	Timeouts Timeouts
}

// DefaultLimit holds the disks of the last three or four versions.
const DefaultLimit = 12 << 30

// Timeouts bound every wait of this package.
type Timeouts struct {
	Install time.Duration // QEMU and mmdebstrap. Default 15 min; usual 20 s
	Probe   time.Duration // for a kernel to boot under KVM. Default 10 s; usual 1 s
	Boot    time.Duration // until ssh and the container engine answer. Default 15 min; usual 25 s under emulation, 5 s under KVM
	Load    time.Duration // the node image into the guest's engine. Default 60 min; usual 3 min under emulation
	Stop    time.Duration // until a guest that was told to is gone. Default 2 min; usual 5 s
	Dial    time.Duration // one attempt at an ssh connection. Default 20 s: its key exchange takes 2 s under emulation
	Ask     time.Duration // one quick question to the guest. Default 1 min
	Recover time.Duration // for sickbay in the guest to recover after an interruption. Default 15 min: 4 min natively
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		dir, err := defaultDir()
		if err != nil {
			return o, err
		}
		o.Dir = dir
	}
	var err error
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return o, fmt.Errorf("cache folder: %w", err)
	}
	if o.CPUs == 0 {
		o.CPUs = min(runtime.NumCPU(), 4)
	}
	if o.MemoryMiB == 0 {
		o.MemoryMiB = 8192
		if have := memoryMiB(); have > 0 {
			o.MemoryMiB = min(o.MemoryMiB, have*2/3)
		}
	}
	if o.Limit == 0 {
		o.Limit = DefaultLimit
	}
	t := &o.Timeouts
	for _, d := range []struct {
		have *time.Duration
		def  time.Duration
	}{
		{&t.Install, 15 * time.Minute}, {&t.Probe, 10 * time.Second}, {&t.Boot, 15 * time.Minute}, {&t.Load, time.Hour},
		{&t.Stop, 2 * time.Minute}, {&t.Dial, 20 * time.Second}, {&t.Ask, time.Minute}, {&t.Recover, 15 * time.Minute},
	} {
		if *d.have == 0 {
			*d.have = d.def
		}
	}
	return o, nil
}

func defaultDir() (string, error) {
	if dir := os.Getenv("SICKBAY_CACHE"); dir != "" {
		return filepath.Join(dir, "vm"), nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("looking for a cache folder: %w (set SICKBAY_CACHE to a folder with some GiB to spare)", err)
	}
	return filepath.Join(dir, "sickbay", "vm"), nil
}

// The files of the guest that runs. All of them are gone after Down.
func (o Options) guest() string     { return filepath.Join(o.Dir, "guest") }
func (o Options) lock() string      { return filepath.Join(o.Dir, "guest.lock") }
func (o Options) probeFile() string { return filepath.Join(o.Dir, "kvm.json") }

// errNowhere is the answer where no guest can run.
var errNowhere = errors.New("a virtual machine for sickbay runs on linux/amd64 only, with QEMU; elsewhere the container engine has a Linux machine of its own: `sickbay run` uses that")

func supported() error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return fmt.Errorf("this is %s/%s: %w", runtime.GOOS, runtime.GOARCH, errNowhere)
	}
	return nil
}
