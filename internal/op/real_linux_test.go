package op_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/internal/op"
)

// ranInNamespace runs the test again in a mount namespace of its own, so that no mount of it is seen outside. There it
// answers false, and the test goes on.
func ranInNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv("SICKBAY_TEST_NAMESPACE") != "" {
		return false
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts a loop filesystem")
	}
	for _, tool := range []string{"unshare", "mkfs.ext4"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skipf("needs loop devices: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "SICKBAY_TEST_NAMESPACE=1")
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil && strings.Contains(string(out), "unshare failed"):
		t.Skipf("needs a mount namespace: %s", out)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Fatalf("it did not run:\n%s", out)
	}
	t.Logf("%s", out)
	return true
}

var host = op.Host()

// on attaches an operation to this machine.
func on[O op.Op](o O) O {
	op.Attach(o, host)
	return o
}

func real(t *testing.T, made ...*op.LoopFS) op.Env {
	t.Helper()
	return op.Env{
		Dir: t.TempDir(), Persist: func() error { return nil },
		Made: func() ([]*op.LoopFS, error) { return made, nil },
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// loopsOf lists the loop devices that have an image below dir; others on this host are nobody's business here.
func loopsOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	must(t, err)
	var out []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil && strings.HasPrefix(string(b), dir) {
			out = append(out, strings.TrimSpace(string(b)))
		}
	}
	return out
}

func TestRealLoopFilesystem(t *testing.T) {
	if ranInNamespace(t) {
		return
	}
	ctx := t.Context()
	target := t.TempDir()
	must(t, os.WriteFile(target+"/before", []byte("content"), 0o640))
	l := on(&op.LoopFS{Target: target, Bytes: 64 << 20, Seed: true})
	env := real(t, l)
	must(t, l.Save(ctx, env))
	must(t, l.Do(ctx, env))
	t.Cleanup(func() { _ = l.Undo(context.Background(), env) })
	if b, err := os.ReadFile(target + "/before"); err != nil || string(b) != "content" {
		t.Fatalf("the copy: %q, %v", b, err)
	}
	must(t, os.WriteFile(target+"/during", []byte("x"), 0o600))
	st, err := host.Stat(l.Image)
	must(t, err)
	if st.Blocks < st.Size {
		t.Errorf("the image is sparse: %d of %d bytes allocated; filled, it would take the host's disk", st.Blocks, st.Size)
	}

	fill := on(&op.Fill{Path: target, Name: "big", LeaveBytes: 1 << 20})
	env.Index = 1
	must(t, fill.Save(ctx, env))
	began := time.Now()
	must(t, fill.Do(ctx, env))
	room, err := host.Statfs(target)
	must(t, err)
	t.Logf("filled in %s: %d KiB of %d MiB free", time.Since(began), room.Free>>10, room.Bytes>>20)
	if room.Free > 1<<20+8192 || room.Free < 1<<20-256<<10 {
		t.Errorf("%d bytes free, wanted about 1 MiB", room.Free)
	}

	freeze := on(&op.Freeze{Path: target})
	env.Index = 2
	must(t, freeze.Save(ctx, env))
	must(t, freeze.Do(ctx, env))
	if r, err := freeze.Pending(ctx, env); err != nil || r.Todo == "" {
		t.Errorf("frozen, and it says %+v, %v", r, err)
	}
	if err := fill.Do(ctx, env); !refused(err) {
		t.Errorf("fill of a frozen filesystem: %v, wanted a refusal instead of waiting for ever", err)
	}

	// The preparation goes although the fill and the freeze are still there.
	began = time.Now()
	must(t, l.Undo(ctx, env))
	t.Logf("undone, frozen and full, in %s", time.Since(began))
	names, err := host.List(target)
	must(t, err)
	if !slices.Equal(names, []string{"before"}) {
		t.Errorf("after undo the directory has %v, wanted only what it had before", names)
	}
	if left := loopsOf(t, env.Dir); len(left) > 0 {
		t.Errorf("still attached: %v", left)
	}
	if _, err := os.Stat(l.Image); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the image is still there: %v", err)
	}
	for _, o := range []op.Op{freeze, fill, l} {
		if r, err := o.Pending(ctx, env); err != nil || !r.Nothing() {
			t.Errorf("%s: %+v, %v", o.Describe(), r, err)
		}
		must(t, o.Undo(ctx, env))
	}
}

func TestRealFillInodes(t *testing.T) {
	if ranInNamespace(t) {
		return
	}
	ctx := t.Context()
	target := t.TempDir()
	l := on(&op.LoopFS{Target: target, Bytes: 64 << 20, Inodes: 2000})
	env := real(t, l)
	must(t, l.Save(ctx, env))
	must(t, l.Do(ctx, env))
	t.Cleanup(func() { _ = l.Undo(context.Background(), env) })
	fill := on(&op.Fill{Path: target, Name: "s", Inodes: true})
	env.Index = 1
	must(t, fill.Save(ctx, env))
	must(t, fill.Do(ctx, env))
	if _, err := os.Create(target + "/one-more"); err == nil {
		t.Error("there was an inode left")
	}
	room, err := host.Statfs(target)
	must(t, err)
	if room.InodesFree != 0 || room.Free < 10<<20 {
		t.Errorf("%+v: wanted no inodes and plenty of bytes", room)
	}
	must(t, fill.Undo(ctx, env))
	if r, err := fill.Pending(ctx, env); err != nil || !r.Nothing() {
		t.Errorf("%+v, %v", r, err)
	}
	must(t, l.Undo(ctx, env))
}

func refused(err error) bool {
	var r *op.RefusedError
	return errors.As(err, &r)
}

// broken fails at one call, as a preparation does half-way.
type broken struct {
	op.Sys
	mount, attach bool
	run           string // the program that fails
}

var errBroken = errors.New("broken on purpose")

func (b broken) Mount(source, target, fstype string, flags op.MountFlag, data string) error {
	if b.mount {
		return errBroken
	}
	return b.Sys.Mount(source, target, fstype, flags, data)
}

func (b broken) Run(ctx context.Context, argv ...string) ([]byte, error) {
	if argv[0] == b.run {
		return nil, errBroken
	}
	return b.Sys.Run(ctx, argv...)
}

func (b broken) AttachLoop(n int, image, tag string) (func() error, error) {
	if b.attach {
		return nil, errBroken
	}
	return b.Sys.AttachLoop(n, image, tag)
}

// TestRealFillerCannotHurtTheHost makes the preparation fail half-way and fills all the same, as it once happened.
func TestRealFillerCannotHurtTheHost(t *testing.T) {
	if ranInNamespace(t) {
		return
	}
	ctx := t.Context()
	attack := func(t *testing.T, env op.Env, path string) {
		t.Helper()
		before, err := host.List(path)
		must(t, err)
		dir, err := host.OpenDir(path)
		must(t, err)
		dev := dir.Dev()
		must(t, dir.Close())
		for _, o := range []op.Op{
			&op.Fill{Path: path, Name: "big", Dev: dev}, &op.Fill{Path: path, Name: "many", Inodes: true, Dev: dev}, &op.Freeze{Path: path, Dev: dev},
		} {
			on(o)
			if err := o.Save(ctx, env); !refused(err) {
				t.Errorf("%s: save: %v, wanted a refusal", o.Describe(), err)
			}
			// Do refuses by itself: it trusts neither Save nor the device that is recorded.
			if err := o.Do(ctx, env); !refused(err) {
				t.Errorf("%s: %v, wanted a refusal", o.Describe(), err)
			} else {
				t.Log(err)
			}
		}
		after, err := host.List(path)
		must(t, err)
		if !slices.Equal(before, after) {
			t.Errorf("something was written: %v, then %v", before, after)
		}
	}
	for name, b := range map[string]broken{
		"mkfs fails": {run: "mkfs.ext4"}, "attach fails": {attach: true}, "mount fails": {mount: true}, "the copy fails": {run: "cp"},
	} {
		t.Run(name, func(t *testing.T) {
			target := t.TempDir()
			l := on(&op.LoopFS{Target: target, Bytes: 64 << 20, Seed: true})
			env := real(t, l)
			must(t, l.Save(ctx, env))
			b.Sys = host
			n := host
			n.Commands, n.Filesystems, n.LoopDevices = b, b, b
			op.Attach(l, n)
			if err := l.Do(ctx, env); !errors.Is(err, errBroken) {
				t.Fatalf("the preparation: %v", err)
			}
			attack(t, env, target)
			must(t, l.Undo(ctx, env))
			if left := loopsOf(t, env.Dir); len(left) > 0 {
				t.Errorf("still attached: %v", left)
			}
		})
	}
	t.Run("never prepared", func(t *testing.T) { attack(t, real(t), t.TempDir()) })
	prepared := func(t *testing.T) (*op.LoopFS, op.Env, string) {
		target := t.TempDir()
		l := on(&op.LoopFS{Target: target, Bytes: 64 << 20})
		env := real(t, l)
		must(t, l.Save(ctx, env))
		must(t, l.Do(ctx, env))
		t.Cleanup(func() { _ = l.Undo(context.Background(), env) })
		return l, env, target
	}
	t.Run("unmounted meanwhile", func(t *testing.T) {
		_, env, target := prepared(t)
		f := on(&op.Fill{Path: target, Name: "big"})
		must(t, f.Save(ctx, env))
		must(t, host.Unmount(target, false))
		if err := f.Do(ctx, env); !refused(err) {
			t.Errorf("%v, wanted a refusal", err)
		}
		attack(t, env, target)
	})
	t.Run("a loop of somebody else's", func(t *testing.T) {
		_, env, target := prepared(t)
		env.Made = func() ([]*op.LoopFS, error) { return nil, nil }
		attack(t, env, target)
	})
	t.Run("larger than made", func(t *testing.T) {
		l, env, target := prepared(t)
		small := *l
		small.Bytes = 1 << 20
		env.Made = func() ([]*op.LoopFS, error) { return []*op.LoopFS{&small}, nil }
		attack(t, env, target)
	})
	t.Run("another filesystem in our image", func(t *testing.T) {
		l, env, target := prepared(t)
		other := *l
		other.UUID = "00000000-0000-0000-0000-000000000000"
		env.Made = func() ([]*op.LoopFS, error) { return []*op.LoopFS{&other}, nil }
		attack(t, env, target)
	})
	t.Run("the journal cannot be read", func(t *testing.T) {
		_, env, target := prepared(t)
		env.Made = func() ([]*op.LoopFS, error) { return nil, errBroken }
		attack(t, env, target)
	})
	t.Run("no room on the host", func(t *testing.T) {
		l := on(&op.LoopFS{Target: t.TempDir(), Bytes: 1 << 60})
		if err := l.Save(ctx, real(t)); err == nil {
			t.Error("an image larger than the host's disk was not refused")
		}
	})
}

func TestRealSwap(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: swapon")
	}
	ctx := t.Context()
	env := real(t)
	if room, err := host.Statfs(env.Dir); err != nil || room.Type != "ext4" && room.Type != "xfs" {
		t.Skipf("needs ext4 or xfs below %s, has %q (%v)", env.Dir, room.Type, err)
	}
	s := on(&op.Swap{Path: filepath.Join(t.TempDir(), "swapfile"), Bytes: 1 << 20})
	must(t, s.Save(ctx, env))
	if err := s.Do(ctx, env); err != nil {
		_ = s.Undo(ctx, env)
		t.Skipf("this host does not allow swap: %v", err)
	}
	t.Cleanup(func() { _ = s.Undo(context.Background(), env) })
	swaps, err := host.Swaps()
	must(t, err)
	if !slices.Contains(swaps, s.Path) && !slices.Contains(swaps, s.Twin) {
		t.Errorf("not in /proc/swaps: %v", swaps)
	}
	if r, err := s.Pending(ctx, env); err != nil || r.Todo == "" {
		t.Errorf("active, and it says %+v, %v", r, err)
	}
	must(t, s.Undo(ctx, env))
	must(t, s.Undo(ctx, env))
	if r, err := s.Pending(ctx, env); err != nil || !r.Nothing() {
		t.Errorf("undone, and it says %+v, %v", r, err)
	}
	if _, err := os.Stat(s.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the swap file is still there: %v", err)
	}
}

func TestRealHalt(t *testing.T) {
	ctx := t.Context()
	cmd := exec.CommandContext(ctx, "sleep", "60")
	must(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	env := real(t)
	p, err := host.Process(cmd.Process.Pid)
	must(t, err)
	h := on(&op.Halt{Unit: "sleep", PID: p.PID, Start: p.Start})
	must(t, h.Do(ctx, env))
	if r, err := h.Pending(ctx, env); err != nil || r.Todo == "" {
		t.Errorf("stopped, and it says %+v, %v", r, err)
	}
	must(t, h.Undo(ctx, env))
	other := on(&op.Halt{Unit: "sleep", PID: p.PID, Start: p.Start + 1})
	if err := other.Do(ctx, env); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a process that started at another time was signalled: %v", err)
	}
}

func TestRealFile(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	p := dir + "/config"
	must(t, os.WriteFile(p, []byte("good\n"), 0o640))
	old := time.Unix(1_600_000_000, 0)
	must(t, os.Chtimes(p, old, old))
	env := real(t)
	immutable := os.Geteuid() == 0
	if err := host.SetImmutable(p, true); err != nil {
		immutable = false
	}
	xattr := host.SetXattr(dir+"/config", "user.note", []byte("kept")) == nil
	f := on(&op.File{Path: p, Data: []byte("bad\n")})
	must(t, f.Save(ctx, env))
	must(t, f.Do(ctx, env))
	if b, _ := os.ReadFile(p); string(b) != "bad\n" {
		t.Fatalf("content %q", b)
	}
	must(t, f.Undo(ctx, env))
	must(t, f.Undo(ctx, env))
	st, err := host.Stat(p)
	must(t, err)
	if immutable && !st.Immutable {
		t.Error("the immutable attribute was not restored")
	}
	must(t, host.SetImmutable(p, false))
	if b, _ := os.ReadFile(p); string(b) != "good\n" || st.Mode.Perm() != 0o640 || !st.Modified.Equal(old) {
		t.Errorf("restored: %q %s %s", b, st.Mode, st.Modified)
	}
	if x, err := host.Xattrs(p); err != nil || xattr && string(x["user.note"]) != "kept" {
		t.Errorf("extended attributes %v, %v", x, err)
	}
}

// CRI-O binds a folder of its root onto itself: the filesystem is then mounted twice, once below itself.
func TestRealLoopFilesystemBoundBelowItself(t *testing.T) {
	if ranInNamespace(t) {
		return
	}
	ctx, target := t.Context(), t.TempDir()
	must(t, os.Mkdir(target+"/overlay", 0o700))
	l := on(&op.LoopFS{Target: target, Bytes: 64 << 20, Seed: true})
	env := real(t, l)
	must(t, l.Save(ctx, env))
	must(t, l.Do(ctx, env))
	t.Cleanup(func() { _ = l.Undo(context.Background(), env) })
	must(t, host.Mount(target+"/overlay", target+"/overlay", "", op.Bind, ""))
	must(t, l.Undo(ctx, env))
	if left := loopsOf(t, path.Dir(l.Image)); len(left) > 0 {
		t.Errorf("loop devices are left: %v", left)
	}
}
