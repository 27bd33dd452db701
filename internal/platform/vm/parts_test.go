package vm

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/internal/platform/buildcache"
	"github.com/sickbay-dev/sickbay/internal/process"
)

func TestBaseKey(t *testing.T) {
	a, err := basePart()
	if err != nil {
		t.Fatal(err)
	}
	b, err := basePart()
	if err != nil || a.Key != b.Key {
		t.Errorf("one source has two keys: %s and %s, %v", a.Key, b.Key, err)
	}
	// What the guest is made of is in the key because it is in the embedded files.
	for _, file := range []string{"base.go", "guest/etc/systemd/system/sickbay-payload.service", "guest/etc/ssh/sshd_config.d/10-sickbay.conf", "guest/etc/fstab"} {
		if _, err := own.ReadFile(file); err != nil {
			t.Errorf("%s is not part of the key: %v", file, err)
		}
	}
}

func TestPreparedKey(t *testing.T) {
	make := func(f func(*builder)) string {
		b := &builder{base: buildcache.Part{Name: "base", Key: buildcache.Hash("base")}, image: Image{Ref: "node:1"}}
		f(b)
		return b.preparedPart().Key
	}
	same := make(func(*builder) {})
	if again := make(func(*builder) {}); again != same {
		t.Error("one disk has two keys")
	}
	for name, change := range map[string]func(*builder){
		"another base":          func(b *builder) { b.base.Key = buildcache.Hash("other") },
		"another image":         func(b *builder) { b.image.Ref = "node:2" },
		"another content of it": func(b *builder) { b.image.Key = "sha256:1" },
	} {
		if make(change) == same {
			t.Errorf("%s: the key stays the same", name)
		}
	}
	if make(func(b *builder) { b.choice = Choice{KVM, ""}; b.o.CPUs = 7 }) != same {
		t.Error("how it is made is in the key: it gives the same disk")
	}
}

func TestWriteImageFillsSectors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "image")
	err := writeImage(t.Context(), file, Image{Write: func(_ context.Context, w io.Writer) error {
		_, err := io.Copy(w, strings.NewReader(strings.Repeat("x", 700)))
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Size() != 1024 {
		t.Errorf("%v, %v; want 1024 bytes", info.Size(), err)
	}
}

func TestMissing(t *testing.T) {
	needs := append(toRun, toBuild...)
	if got := missing(needs, func(p string) string { return p }); len(got) != 0 {
		t.Errorf("with everything there: %v", got)
	}
	got := missing(needs, func(p string) string { return map[string]string{"mkfs.ext4": "/sbin/mkfs.ext4"}[p] })
	if strings.Join(got, " ") != "qemu-system-x86 qemu-utils mmdebstrap" {
		t.Errorf("without: %v", got)
	}
	o := Options{NoInstall: true, Timeouts: Timeouts{Install: time.Second}}
	err := prepareHost(t.Context(), o, []hostNeed{{"sickbay-no-such-program", "no-such-package"}})
	if err == nil || !strings.Contains(err.Error(), "apt-get install no-such-package") {
		t.Errorf("%v, want what to install", err)
	}
}

// What a running guest rests on is never pruned, and the longest unused goes first.
func TestPruneKeepsWhatRuns(t *testing.T) {
	o := Options{Dir: t.TempDir(), Limit: 1}
	o, err := o.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	c := newCache(o)
	var names []string
	for _, n := range []string{"base", "prepared", "unused"} {
		p := buildcache.Part{Name: n, Key: buildcache.Hash(n), Make: func(_ context.Context, dir string) error {
			return os.WriteFile(filepath.Join(dir, "disk"), make([]byte, 10000), 0o600)
		}}
		if err := c.Ensure(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		names = append(names, filepath.Base(c.Path(p)))
	}
	s := self(t)
	s.Parts = names[:2]
	if err := os.MkdirAll(o.guest(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.save(o.guest()); err != nil {
		t.Fatal(err)
	}
	removed, err := Prune(t.Context(), o, true)
	if err != nil || len(removed) != 1 || removed[0].Name != names[2] {
		t.Errorf("removed %v, %v; want %s alone", removed, err, names[2])
	}
	// Once the guest is gone nothing holds them.
	s.Began++
	if err := s.save(o.guest()); err != nil {
		t.Fatal(err)
	}
	if removed, err := Prune(t.Context(), o, true); err != nil || len(removed) != 2 {
		t.Errorf("removed %v, %v; want both", removed, err)
	}
}

// self is a state whose process is this test's own.
func self(t *testing.T) state {
	t.Helper()
	return state{ID: process.Self(), Since: time.Now().UTC(), Port: 40001, CPUs: 2, MemoryMiB: 4096, Choice: Choice{TCG, "asked for"}, Image: "node:1"}
}
