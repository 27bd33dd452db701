package vm

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/internal/platform/buildcache"
	"github.com/sickbay-dev/sickbay/internal/progress"
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
	c := buildcache.Cache{Dir: o.Dir, What: "guest"}
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

// TestLiveInside asks the sickbay in the guest that is up (`sickbay vm up`).
func TestLiveInside(t *testing.T) {
	o := live(t)
	g, err := Find(o)
	if err != nil {
		t.Skip(err)
	}
	var out, errs bytes.Buffer
	code, err := g.Sickbay(t.Context(), Call{Args: []string{"version"}, Streams: Streams{Out: &out, Err: &errs}})
	if err != nil || code != 0 || !strings.HasPrefix(out.String(), "sickbay ") {
		t.Errorf("version: %d, %v: %s%s", code, err, out.String(), errs.String())
	}
	// An exit code and a report that was never written.
	report := filepath.Join(t.TempDir(), "report")
	code, err = g.Sickbay(t.Context(), Call{Args: []string{"run", "no-such-scenario"}, Report: report, Streams: Streams{Out: &out, Err: &errs}})
	if err != nil || code != 2 || !strings.Contains(errs.String(), "no-such-scenario") {
		t.Errorf("a wrong request: %d, %v: %s", code, err, errs.String())
	}
	// The interruption goes in, and its exit code comes out. doctor proves the engine with a container, which takes some seconds there.
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(4*time.Second, cancel)
	began := time.Now()
	code, err = g.Sickbay(ctx, Call{Args: []string{"doctor"}, Streams: Streams{Out: &out, Err: &errs}})
	t.Logf("interrupted after %s: %d, %v: %s", time.Since(began).Round(10*time.Millisecond), code, err, errs.String())
	if err != nil || code != 130 {
		t.Errorf("interrupted: %d, %v", code, err)
	}
	// A folder comes back with what is in it.
	c, err := g.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Output(t.Context(), "mkdir -p /var/tmp/back/bundle && echo one > /var/tmp/back/report.json && head -c 3000000 /dev/urandom > /var/tmp/back/bundle/two"); err != nil {
		t.Fatal(err)
	}
	if err := g.fetch(t.Context(), "/var/tmp/back", report); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(report, "bundle", "two")); err != nil || info.Size() != 3000000 {
		t.Errorf("%v, %v", info, err)
	}
}
