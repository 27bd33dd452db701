package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/sickbay-dev/sickbay/internal/process"
)

// Choice is which accelerator is used, and why.
type Choice struct {
	Accel  Accel  `json:"accelerator"`
	Reason string `json:"reason"`
}

// booted is what a kernel without a disk says last. It has then set up its processors, memory and devices: a KVM that only half
// works hangs or dies before.
var booted = []byte("Unable to mount root fs")

// choose takes what was asked for, else KVM where it works. /dev/kvm alone says nothing: it may refuse, or run only guests of
// a certain make. The answer is kept until the machine is booted again, or the kernel that is tried changes.
func choose(ctx context.Context, o Options, kernel string) (Choice, error) {
	if o.Accel != "" {
		return Choice{o.Accel, "asked for"}, nil
	}
	key := process.Boot() + " " + kernel
	var kept struct {
		Key string `json:"key"`
		Choice
	}
	if raw, err := os.ReadFile(o.probeFile()); err == nil && json.Unmarshal(raw, &kept) == nil && kept.Key == key {
		return kept.Choice, nil
	}
	c := Choice{KVM, "a kernel boots under it"}
	if err := probeKVM(ctx, o, kernel); err != nil {
		if ctx.Err() != nil {
			return Choice{}, context.Cause(ctx)
		}
		c = Choice{TCG, "KVM does not work here: " + err.Error()}
	}
	kept.Key, kept.Choice = key, c
	if raw, err := json.Marshal(kept); err == nil {
		_ = os.WriteFile(o.probeFile(), raw, 0o600) // asked again next time
	}
	return c, nil
}

// probeKVM boots the guest's kernel under KVM, without a disk, and waits until it panics.
func probeKVM(ctx context.Context, o Options, kernel string) error {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("there is no /dev/kvm")
	case err != nil:
		return err
	}
	_ = f.Close()
	ctx, cancel := context.WithTimeout(ctx, o.Timeouts.Probe)
	defer cancel()
	cmd := exec.CommandContext(ctx, qemu, "-name", "sickbay-probe", "-machine", "q35", "-accel", "kvm", "-cpu", "host", "-m", "512M", "-nodefaults", "-no-user-config",
		"-no-reboot", "-display", "none", "-serial", "stdio", "-kernel", kernel, "-append", "console=ttyS0 panic=-1")
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	console := &watched{want: booted, seen: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = console, &stderr
	process.Leash(cmd, syscall.SIGKILL)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", cmd, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-console.seen:
		cancel()
		<-ended
		return nil
	case err := <-ended:
		if console.has() { // with panic=-1 it ends by itself
			return nil
		}
		// The first line is the reason; what follows it is an assertion that failed.
		if said, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n"); said != "" {
			return errors.New(strings.TrimPrefix(said, qemu+": "))
		}
		if ctx.Err() != nil {
			return fmt.Errorf("a kernel did not boot within %s; it came to %q", o.Timeouts.Probe, console.last())
		}
		return fmt.Errorf("a kernel did not boot (%w); it came to %q", err, console.last())
	}
}

// keptChoice is the answer to an earlier probe, for telling without asking.
func keptChoice(o Options) (Choice, bool) {
	var c Choice
	raw, err := os.ReadFile(o.probeFile())
	return c, err == nil && json.Unmarshal(raw, &c) == nil && c.Accel != ""
}
