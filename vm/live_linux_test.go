package vm

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/parts"
	"github.com/sickbay-dev/sickbay/progress"
)

// live skips a test that builds disks and boots guests unless it is asked for:
//
//	SICKBAY_VM=1 go test ./vm -run Live -v -timeout 60m
//
// The disks go into the cache that the command uses.
func live(t *testing.T) Options {
	t.Helper()
	if os.Getenv("SICKBAY_VM") == "" {
		t.Skip("SICKBAY_VM is not set")
	}
	o, err := Options{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestLiveBase(t *testing.T) {
	o := live(t)
	p, err := basePart()
	if err != nil {
		t.Fatal(err)
	}
	c := parts.Cache{Dir: o.Dir, What: "guest"}
	if err := c.Ensure(progress.Into(t.Context(), progress.NewPlain(os.Stderr)), p); err != nil {
		t.Fatal(err)
	}
	t.Log(c.Path(p), c.Times())
}

// TestLiveBoot boots an overlay of the base disk and looks around in it.
func TestLiveBoot(t *testing.T) {
	o := live(t)
	o.CPUs, o.MemoryMiB = 1, 2048
	ctx := progress.Into(t.Context(), progress.NewPlain(os.Stderr))
	base, err := basePart()
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{o: o, cache: newCache(o), base: base}
	if err := b.cache.Ensure(ctx, base); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if b.choice, err = choose(ctx, o, filepath.Join(b.cache.Path(base), kernel)); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s (%s)", b.choice.Accel, b.choice.Reason, time.Since(began).Round(10*time.Millisecond))
	dir := t.TempDir()
	k, err := newKeys()
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, overlayFile)
	if err := errors.Join(k.save(dir), writePayload(filepath.Join(dir, payloadFile), k, nil), createOverlay(ctx, overlay, filepath.Join(b.cache.Path(base), diskFile), "raw")); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	r, err := start(b.machine(bootDisks(overlay, dir)...), dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.stop(o.Timeouts.Stop); err != nil {
			t.Error(err)
		}
	}()
	task := progress.From(ctx).Start("boot", o.Timeouts.Boot)
	c, err := r.wait(ctx, o, task)
	task.End(err)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Logf("ssh after %s", time.Since(began).Round(10*time.Millisecond))
	for _, line := range []string{
		"cat /sys/kernel/security/lsm", "stat -fc %T /sys/fs/cgroup", "cat /sys/module/apparmor/parameters/enabled", "ip -brief address", "ip route", "df -h /",
		"timeout 3 bash -c 'echo > /dev/tcp/1.1.1.1/53' && echo REACHES THE NETWORK || echo reaches no network",
		"timeout 3 bash -c 'echo > /dev/tcp/10.0.2.2/22' && echo REACHES THE HOST || echo reaches no host",
		"systemctl --failed --no-legend", "systemd-analyze | head -1", "systemctl start docker.service && docker info --format '{{.ServerVersion}} {{.CgroupVersion}} {{.CgroupDriver}} {{.Driver}} {{.SecurityOptions}}'",
		"ls -la /etc/ssh /run/sickbay", "exit 7",
	} {
		began := time.Now()
		out, err := c.Output(ctx, line)
		t.Logf("%s: %s %v (%s)", line, out, err, time.Since(began).Round(10*time.Millisecond))
	}
	if err := r.poweroff(ctx, c, o); err != nil {
		t.Fatal(err)
	}
	t.Logf("off after %s", time.Since(began).Round(time.Second))
}
