package collect

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
)

// pulls is a node whose journal has failed pulls, so long ago, from these registries.
func pulls(ago time.Duration, hosts ...string) execFunc {
	return func(_ context.Context, take func(io.Reader) error, argv ...string) error {
		if argv[0] != "journalctl" || slices.Contains(argv, "_TRANSPORT=audit") {
			return os.ErrNotExist
		}
		var out strings.Builder
		for i, h := range hosts {
			raw, err := json.Marshal(map[string]string{
				"__CURSOR": fmt.Sprint("c", i), "__REALTIME_TIMESTAMP": fmt.Sprint(time.Now().Add(-ago).UnixMicro()), "PRIORITY": "3", "_PID": "7", "_SYSTEMD_UNIT": "kubelet.service",
				"MESSAGE": `E1129 00:00:00.000000 7 x.go:1] "Failed to pull image" image "` + h + `/app:1"`,
			})
			if err != nil {
				return err
			}
			out.Write(append(raw, '\n'))
		}
		return take(strings.NewReader(out.String()))
	}
}

// swallowing is a handshake with three registries: one that does not resolve, one that refuses, one that swallows packets until release
// is closed, whatever its caller's patience.
func swallowing(release chan struct{}) func(context.Context, string, string, []*x509.Certificate, bool) reached {
	return func(_ context.Context, host, _ string, _ []*x509.Certificate, _ bool) reached {
		switch {
		case strings.HasPrefix(host, "unresolvable"):
			return reached{result: "dns"}
		case strings.HasPrefix(host, "refusing"):
			return reached{result: "refused"}
		}
		<-release
		return reached{result: "timeout"}
	}
}

// Five nodes with old events of three registries: every answer is complete while a handshake with one of these still hangs.
func TestNobodyWaitsForOldRegistries(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	r := tree(t, nil)
	target := diagnose.Target{}
	for i := range 5 {
		name := fmt.Sprint("n", i)
		target.Nodes = append(target.Nodes, diagnose.Node{Name: name, Agent: diagnose.AgentFunc(func(ctx context.Context, _ diagnose.Ask) (*v1alpha1.Observation, error) {
			l := newLook(protocol.ObserveOptions{Node: name, Overall: time.Hour, PerSource: time.Hour}, r,
				pulls(8*time.Minute, "unresolvable.example.test:5000", "refusing.example.test:5000", "swallowing.example.test:5000"))
			l.shake = swallowing(release)
			return l.run(ctx), nil
		})})
	}
	got, err := diagnose.Look(t.Context(), target, diagnose.Options{NodeTimeout: time.Hour})
	if err != nil || len(got) != 5 {
		t.Fatalf("%d nodes, %v", len(got), err)
	}
	for name, o := range got {
		if why, no := o.Unreadable(v1alpha1.SourceReach); no {
			t.Errorf("%s: %s", name, why)
		}
		if len(o.Journal.Lines) != 3 {
			t.Errorf("%s: %+v", name, o.Journal)
		}
		for _, h := range o.Registries {
			if strings.HasPrefix(h.Host, "swallowing") {
				t.Errorf("%s: %+v", name, h)
			}
		}
	}
}

// A pull that goes on is waited for: its registry may be what is wrong.
func TestFreshPullsAreWaitedFor(t *testing.T) {
	release := make(chan struct{})
	l := newLook(protocol.ObserveOptions{Overall: time.Hour, PerSource: time.Hour}, tree(t, nil), pulls(time.Second, "swallowing.example.test:5000"))
	shaken := swallowing(release)
	l.shake = func(ctx context.Context, host, name string, ca []*x509.Certificate, system bool) reached {
		go func() { <-l.rest; close(release) }() // all else is done: only now it answers
		return shaken(ctx, host, name, ca, system)
	}
	o := l.run(t.Context())
	if len(o.Registries) != 1 || o.Registries[0].Mirrors[0].Reach != "timeout" {
		t.Errorf("%+v %+v", o.Registries, o.Unknown)
	}
}

// What brings the reading of one source down is that source alone.
func TestPanicIsOneSource(t *testing.T) {
	l := at(t, tree(t, nil))
	s := newSource("firewall")
	l.read(t.Context(), s, func(context.Context, *source) error { panic("hostile rule") })
	if why, no := l.obs.Unreadable("firewall"); !no || !strings.Contains(why, "hostile rule") {
		t.Errorf("%q", why)
	}
	if !s.done {
		t.Error("the source has no end")
	}
}

// auditd's file is read from where the last look left it.
func TestAuditCursor(t *testing.T) {
	record := func(what string) string {
		return fmt.Sprintf("type=AVC msg=audit(%d.000:9): avc:  denied  { %s }\n", time.Now().Unix(), what)
	}
	r := tree(t, map[string]string{auditLog: record("first") + "type=AVC msg=aud"})
	look := func(cursor string) *v1alpha1.Observation {
		l := newLook(protocol.ObserveOptions{Cursor: cursor}, r, noCommands)
		return read(t, l, l.audit)
	}
	one := look("")
	if len(one.Kmsg) != 1 || !strings.Contains(one.Journal.Cursor, auditPart) {
		t.Fatalf("%+v", one)
	}
	must(t, os.WriteFile(r.path(auditLog), []byte(record("first")+record("second")), 0o600))
	two := look(one.Journal.Cursor)
	if len(two.Kmsg) != 1 || !strings.Contains(two.Kmsg[0].Text, "second") {
		t.Errorf("%+v", two.Kmsg)
	}
	if three := look(two.Journal.Cursor); len(three.Kmsg) != 0 {
		t.Errorf("%+v", three.Kmsg)
	}
	must(t, os.Rename(r.path(auditLog), r.path(auditLog+".1")))
	must(t, os.WriteFile(r.path(auditLog), []byte(record("rotated")), 0o600))
	if four := look(two.Journal.Cursor); len(four.Kmsg) != 1 {
		t.Errorf("after a rotation: %+v", four.Kmsg)
	}
	c := cursors{journal: "s=1;i=2", kmsg: 7, boot: "b", audit: "5@9"}
	if got := parseCursors(c.String()); got != c {
		t.Errorf("%+v", got)
	}
}

// Whatever path a process has on its command line: a device is never opened, and nothing is read that its user may not read.
func TestScriptOpensNoDevice(t *testing.T) {
	dir := t.TempDir()
	dev, link := filepath.Join(dir, "device"), filepath.Join(dir, "link")
	if err := unix.Mknod(dev, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil { // the null device stands for /dev/watchdog
		t.Skip(err)
	}
	must(t, os.Symlink(dev, link))
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := unix.InotifyAddWatch(fd, dev, unix.IN_OPEN); err != nil {
		t.Skip(err)
	}
	l := newLook(protocol.ObserveOptions{}, "/", runCommand)
	_ = l.script("sh -c sleep "+dev+" "+link, 0)
	if n, _ := unix.Read(fd, make([]byte, 4096)); n > 0 {
		t.Error("a device named on a command line was opened")
	}
	private, public := filepath.Join(dir, "private.sh"), filepath.Join(dir, "public.sh")
	must(t, os.WriteFile(private, []byte("#!/bin/sh\nprivate\n"), 0o700))
	must(t, os.WriteFile(public, []byte("#!/bin/sh\npublic\n"), 0o755))
	if got := l.script("sh "+private+" "+public, 12345); !strings.Contains(got, "public") {
		t.Errorf("as another user: %q", got)
	}
	if got := l.script("sh "+private, 0); !strings.Contains(got, "private") {
		t.Errorf("as root: %q", got)
	}
}
