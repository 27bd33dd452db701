package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sickbay-dev/sickbay/internal/lockfile"
	"github.com/sickbay-dev/sickbay/internal/platform/buildcache"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/trusted"
)

// Need is what a guest is made of beside its packages.
type Need struct {
	// Image finds the node image. It is called only when a guest has to be made, and may take long.
	Image func(ctx context.Context) (Image, error)
	// Programs finds sickbay and its agent for the guest.
	Programs func(ctx context.Context) ([]Program, error)
}

// usual are times on two cores under software emulation, shown until this machine has its own.
var usual = map[string]time.Duration{"base": 100 * time.Second, "prepared": 5 * time.Minute, "boot": 25 * time.Second}

func newCache(o Options) *buildcache.Cache {
	return &buildcache.Cache{Dir: o.Dir, What: "guest", Usual: usual}
}

// Guest is the guest that is up.
type Guest struct {
	o Options
	s state
}

// Up boots a guest, or answers the one that is up: with the programs as they are now. Disks are built where they are not in the
// cache. When ctx ends, what was begun is gone; what was finished stays in the cache.
func Up(ctx context.Context, o Options, need Need) (*Guest, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	asked := o
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	unlock, err := lockGuest(ctx, o)
	if err != nil {
		return nil, err
	}
	defer unlock()
	programs, err := need.Programs(ctx)
	if err != nil {
		return nil, err
	}
	g, err := find(o)
	switch {
	case err == nil:
		if err := g.suits(asked); err != nil {
			return nil, err
		}
		if err := g.refresh(ctx, programs); err != nil {
			return nil, fmt.Errorf("a guest is up and does not take this sickbay (`sickbay vm down` ends it): %w", err)
		}
		return g, nil
	case !errors.Is(err, errNoGuest):
		return nil, err
	}
	// What a guest that was killed has left is of no use to anybody.
	if err := clear(o); err != nil {
		return nil, err
	}
	b, prepared, err := disks(ctx, o, need.Image)
	if err != nil {
		return nil, err
	}
	return b.boot(ctx, prepared, programs)
}

// suits refuses a guest of another size than the one asked for.
func (g *Guest) suits(asked Options) error {
	switch {
	case asked.CPUs != 0 && asked.CPUs != g.s.CPUs, asked.MemoryMiB != 0 && asked.MemoryMiB != g.s.MemoryMiB, asked.Accel != "" && asked.Accel != g.s.Choice.Accel:
		return fmt.Errorf("a guest with %d CPUs, %d MiB and %s is up, and another is wanted: `sickbay vm down` first", g.s.CPUs, g.s.MemoryMiB, g.s.Choice.Accel)
	}
	return nil
}

// disks makes what is missing, and answers with the builder and the disk to boot overlays of.
func disks(ctx context.Context, o Options, image func(context.Context) (Image, error)) (*builder, buildcache.Part, error) {
	none := buildcache.Part{}
	base, err := basePart()
	if err != nil {
		return nil, none, err
	}
	b := &builder{o: o, cache: newCache(o), base: base}
	if err := trusted.Path(o.Dir); err != nil { // a disk in it is booted, and its programs are root's there
		return nil, none, fmt.Errorf("cache folder: %w; set SICKBAY_CACHE to a folder of your own", err)
	}
	needs := slices.Clone(toRun)
	if !b.cache.Has(base) {
		if os.Geteuid() != 0 {
			return nil, none, errors.New("building the guest's disk needs root, once, for its root file system: run this with sudo; a guest whose disk is there needs none")
		}
		needs = append(needs, toBuild...)
	}
	if err := prepareHost(ctx, o, needs); err != nil {
		return nil, none, err
	}
	// Before the image is looked for: that may take ten minutes, and is in vain without room.
	if err := room(b); err != nil {
		return nil, none, err
	}
	if b.image, err = image(ctx); err != nil {
		return nil, none, fmt.Errorf("find a node image for the guest: %w", err)
	}
	prepared := b.preparedPart()
	if !b.cache.Has(base) || !b.cache.Has(prepared) {
		unlock, err := b.cache.Lock(ctx)
		if err != nil {
			return nil, none, err
		}
		defer unlock()
	}
	if err := b.ensure(ctx, 1, base); err != nil {
		return nil, none, err
	}
	if b.choice, err = choose(ctx, o, filepath.Join(b.cache.Path(base), kernel)); err != nil {
		return nil, none, err
	}
	if err := b.ensure(ctx, 2, prepared); err != nil {
		return nil, none, err
	}
	// The base after what rests on it: it is never the older one, and so never goes first.
	if err := errors.Join(b.cache.Touch(prepared), b.cache.Touch(base)); err != nil {
		return nil, none, err
	}
	return b, prepared, b.shrink(ctx, base, prepared)
}

// ensure makes one of the two parts unless it is there.
func (b *builder) ensure(ctx context.Context, step int, p buildcache.Part) (err error) {
	if b.cache.Has(p) {
		return nil
	}
	b.task = progress.From(ctx).Start(fmt.Sprintf("build the guest's disk, step %d/2: %s", step, p.Name), 0)
	b.task.Expect(b.cache.Expected(p.Name))
	defer func() { b.task.End(err) }()
	return b.cache.Ensure(ctx, p)
}

// room refuses where the disks would not fit.
func room(b *builder) error {
	// Measured and rounded up: the folder and the file system made of it are there at the same time; a cluster's nodes write what is
	// left.
	needs := []buildcache.Need{{Path: b.o.Dir, Why: "the overlay a guest writes to", Bytes: 4 * buildcache.GiB}}
	if !b.cache.Has(b.base) {
		needs = append(needs, buildcache.Need{Path: b.o.Dir, Why: "the base disk", Bytes: 2 * buildcache.GiB}, buildcache.Need{Path: b.o.Dir, Why: "the disk with the node image", Bytes: 3 * buildcache.GiB})
	}
	return buildcache.CheckSpace("a virtual machine", "free some, `sickbay vm prune`, or set SICKBAY_CACHE to a roomier place", needs, buildcache.FreeSpace)
}

// shrink keeps the cache within its limit.
func (b *builder) shrink(ctx context.Context, inUse ...buildcache.Part) error {
	removed, err := prune(b.o, func(name string) bool {
		for _, p := range inUse {
			if filepath.Base(b.cache.Path(p)) == name {
				return true
			}
		}
		return false
	})
	for _, k := range removed {
		progress.From(ctx).Note("removed %s from the cache, %s, to keep it within its limit", k.Name, text.Bytes(k.Bytes))
	}
	return err
}

// boot boots an overlay of the prepared disk.
func (b *builder) boot(ctx context.Context, prepared buildcache.Part, programs []Program) (_ *Guest, err error) {
	dir := b.o.guest()
	task := progress.From(ctx).Start(fmt.Sprintf("boot the guest (%s, %d CPUs, %s)", b.choice.Accel, b.o.CPUs, text.Bytes(int64(b.o.MemoryMiB)<<20)), b.o.Timeouts.Boot)
	task.Expect(b.cache.Expected("boot"))
	defer func() { task.End(err) }()
	defer b.cache.Measure("boot")(&err)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for the guest: %w", err)
	}
	defer func() {
		if err != nil {
			// Also after Ctrl-C: what was begun goes away again.
			err = errors.Join(err, clear(b.o))
		}
	}()
	k, err := newKeys()
	if err != nil {
		return nil, err
	}
	sum, err := digest(programs)
	if err != nil {
		return nil, err
	}
	overlay := filepath.Join(dir, overlayFile)
	if err := errors.Join(k.save(dir), writePayload(filepath.Join(dir, payloadFile), k, programs)); err != nil {
		return nil, err
	}
	if err := createOverlay(ctx, overlay, filepath.Join(b.cache.Path(prepared), preparedFile), "qcow2"); err != nil {
		return nil, err
	}
	r, err := start(b.machine(bootDisks(overlay, dir)...), dir, true)
	if err != nil {
		return nil, err
	}
	g := &Guest{o: b.o, s: state{
		ID: r.id, Since: time.Now().UTC(), Port: r.port, CPUs: b.o.CPUs, MemoryMiB: b.o.MemoryMiB,
		Choice: b.choice, Image: b.image.Ref, Programs: sum,
		Parts: []string{filepath.Base(b.cache.Path(b.base)), filepath.Base(b.cache.Path(prepared))},
	}}
	// Before the wait: whoever comes meanwhile knows whose process it is.
	if err := g.s.save(dir); err != nil {
		return nil, err
	}
	c, err := r.wait(ctx, b.o, task)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	task.Detail("waiting for its container engine")
	bound, cancel := context.WithTimeoutCause(ctx, b.o.Timeouts.Boot, fmt.Errorf("not within %s", b.o.Timeouts.Boot))
	defer cancel()
	if err := c.Run(bound, "systemctl start docker.service", Streams{}); err != nil {
		return nil, err
	}
	return g, nil
}

// lockGuest keeps two commands from making or removing the guest at the same time.
func lockGuest(ctx context.Context, o Options) (unlock func(), err error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for the guest: %w", err)
	}
	return lockfile.Wait(ctx, o.lock(), "another sickbay that makes or removes the guest")
}

// find answers the guest that is up, or errNoGuest.
func find(o Options) (*Guest, error) {
	s, err := load(o.guest())
	if err != nil {
		return nil, err
	}
	if !s.Alive() {
		return nil, fmt.Errorf("its process %d is gone: %w", s.PID, errNoGuest)
	}
	return &Guest{o: o, s: s}, nil
}

// Find answers the guest that is up. That none is up is an error that says how to get one.
func Find(o Options) (*Guest, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	g, err := find(o)
	if errors.Is(err, errNoGuest) {
		return nil, fmt.Errorf("%w: `sickbay vm up` boots one", err)
	}
	return g, err
}

// connect connects to the guest.
func (g *Guest) connect(ctx context.Context) (*Conn, error) {
	return dial(ctx, g.o.guest(), g.s.Port, g.o.Timeouts)
}

// Image is the node image in the guest's engine.
func (g *Guest) Image() string { return g.s.Image }

// Accel is how the guest's processor is made.
func (g *Guest) Accel() Accel { return g.s.Choice.Accel }
