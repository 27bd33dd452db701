package collect

import (
	"cmp"
	"context"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// rolePath is a path that kubelet, runtime or CNI depend on, and what for.
type rolePath struct{ path, role string }

func (s settings) rolePaths(kubelet string) []rolePath {
	return []rolePath{
		{kubelet, "nodefs"},
		{s.root, "imagefs"},
		{s.state, "containerd-state"},
		{"/var/log", "logs"},
		{"/run", "run"},
		{"/run/netns", "netns"},
		{"/tmp", "tmp"},
		{"/run/cni-ipam-state", "cni-state"},
		{"/var/lib/cni", "cni-state"},
		{s.cniConf, "cni-conf"},
		{"/", "root"},
	}
}

// walked are those paths, and what CRI-O's storage lies in: a directory for all that the containers libraries keep.
func (s settings) walked(kubelet string) []rolePath {
	paths := s.rolePaths(kubelet)
	if beside := path.Dir(s.root); s.name == "cri-o" && beside == "/var/lib/containers" {
		paths = append(paths, rolePath{beside, "imagefs"})
	}
	return paths
}

const (
	// usedPercent is from where on the largest users of a filesystem are looked for: below, nobody asks, and it costs time.
	usedPercent = 75
	// walkBound and walkEntries bound that search. What was counted by then is a lower bound.
	walkBound   = 600 * time.Millisecond
	walkEntries = 60000
	maxUsers    = 12
)

// filesystems asks every path side by side: on a dead filesystem statfs itself may never return.
func (l *look) filesystems(ctx context.Context, _ *source) error {
	set := l.settings()
	paths := set.rolePaths(l.kubeletRoot())
	found := make([]*v1alpha1.Filesystem, len(paths))
	index := make([]int, len(paths))
	for i := range index {
		index[i] = i
	}
	each(ctx, l, v1alpha1.SourceFilesystems, index, func(i int) string { return paths[i].path }, func(_ context.Context, s *source, i int) error {
		fsys, err := l.statfs(paths[i].path)
		if os.IsNotExist(err) {
			return nil // nothing lies there on this node
		}
		if err != nil {
			return err
		}
		fsys.Roles = []string{paths[i].role}
		l.mu.Lock()
		found[i] = fsys
		l.mu.Unlock()
		return nil
	})
	l.mu.Lock()
	merged := mergeByDevice(found)
	l.mu.Unlock()
	l.put(func(o *v1alpha1.Observation) { o.Filesystems = merged })
	return l.topUsers(ctx, merged, set.walked(l.kubeletRoot()))
}

func (l *look) statfs(p string) (*v1alpha1.Filesystem, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(l.root.path(p), &st); err != nil {
		return nil, &fs.PathError{Op: "statfs", Path: p, Err: err}
	}
	real := p
	if target, err := l.root.readlink(p); err == nil {
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(p), target)
		}
		real = target
	}
	m, _ := l.table.of(real)
	bs := int64(st.Frsize)
	if bs == 0 {
		bs = int64(st.Bsize)
	}
	return &v1alpha1.Filesystem{
		Path: p, Mount: m.target, Device: m.source, MajorMinor: m.majorMinor, Type: m.fstype,
		Bytes: int64(st.Blocks) * bs, BytesFree: int64(st.Bavail) * bs,
		Inodes: int64(st.Files), InodesFree: int64(st.Ffree),
		ReadOnly: int64(st.Flags)&unix.ST_RDONLY != 0,
	}, nil
}

// mergeByDevice makes one entry of paths on the same filesystem. The same device mounted read-only elsewhere is another.
func mergeByDevice(in []*v1alpha1.Filesystem) []v1alpha1.Filesystem {
	var out []v1alpha1.Filesystem
next:
	for _, f := range in {
		if f == nil {
			continue
		}
		for i := range out {
			if out[i].MajorMinor == f.MajorMinor && out[i].ReadOnly == f.ReadOnly && f.MajorMinor != "" {
				for _, r := range f.Roles {
					if !slices.Contains(out[i].Roles, r) {
						out[i].Roles = append(out[i].Roles, r)
					}
				}
				continue next
			}
		}
		out = append(out, *f)
	}
	return out
}

// topUsers finds what takes the space of filesystems that are running full.
func (l *look) topUsers(ctx context.Context, all []v1alpha1.Filesystem, paths []rolePath) error {
	byDevice := map[string][]string{}
	for _, f := range all {
		if !nearlyFull(f) {
			continue
		}
		for _, rp := range paths {
			if m, ok := l.table.of(rp.path); ok && m.majorMinor == f.MajorMinor && slices.Contains([]string{"nodefs", "imagefs", "logs", "cni-state", "containerd-state"}, rp.role) {
				byDevice[f.MajorMinor] = append(byDevice[f.MajorMinor], rp.path)
			}
		}
	}
	var devices []string
	for d := range byDevice {
		devices = append(devices, d)
	}
	each(ctx, l, v1alpha1.SourceFilesystems, devices, func(d string) string { return byDevice[d][0] }, func(ctx context.Context, s *source, d string) error {
		ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(walkBound))
		defer cancel()
		var uses []v1alpha1.PathUse
		left := walkEntries
		for _, p := range byDevice[d] {
			uses = append(uses, l.entries(ctx, s, p, byDevice[d], &left)...)
		}
		top := largest(uses)
		l.put(func(o *v1alpha1.Observation) {
			for i := range o.Filesystems {
				if o.Filesystems[i].MajorMinor == d {
					o.Filesystems[i].TopUsers = top
				}
			}
		})
		return nil
	})
	return nil
}

// largest are the largest by bytes, and with them those with the most files: many small files may be what eats the inodes.
func largest(uses []v1alpha1.PathUse) []v1alpha1.PathUse {
	by := func(size func(v1alpha1.PathUse) int64) []v1alpha1.PathUse {
		return slices.SortedStableFunc(slices.Values(uses), func(a, b v1alpha1.PathUse) int { return cmp.Compare(size(b), size(a)) })
	}
	byBytes, byFiles := by(func(u v1alpha1.PathUse) int64 { return u.Bytes }), by(func(u v1alpha1.PathUse) int64 { return u.Files })
	top := byBytes[:min(len(byBytes), maxUsers)]
	for _, u := range byFiles[:min(len(byFiles), 3)] {
		if !slices.Contains(top, u) {
			top = append(top, u)
		}
	}
	return top
}

func nearlyFull(f v1alpha1.Filesystem) bool {
	full := func(total, free int64) bool { return total > 0 && (total-free)*100 >= total*usedPercent }
	return full(f.Bytes, f.BytesFree) || full(f.Inodes, f.InodesFree)
}

// entries sums up each entry directly below dir, on dir's filesystem only, and leaves out those that are looked into themselves.
func (l *look) entries(ctx context.Context, s *source, dir string, except []string, left *int) []v1alpha1.PathUse {
	if s.at(l, "listing", dir) != nil {
		return nil
	}
	var st unix.Stat_t
	if unix.Stat(l.root.path(dir), &st) != nil {
		return nil
	}
	names, err := l.root.names(dir, 2000)
	if err != nil {
		return nil
	}
	var out []v1alpha1.PathUse
	for _, n := range names {
		u := v1alpha1.PathUse{Path: path.Join(dir, n)}
		if slices.Contains(except, u.Path) {
			continue
		}
		d := "walking " + u.Path
		s.doing.Store(&d)
		u.Dir = l.sum(ctx, u.Path, st.Dev, &u, left)
		if u.Files > 0 {
			out = append(out, u)
		}
	}
	return out
}

// sum adds a path and what lies below it to u, and tells whether it is a directory.
func (l *look) sum(ctx context.Context, p string, dev uint64, u *v1alpha1.PathUse, left *int) bool {
	if *left <= 0 || ctx.Err() != nil {
		return false
	}
	*left--
	var st unix.Stat_t
	if unix.Lstat(l.root.path(p), &st) != nil || st.Dev != dev {
		return false
	}
	u.Bytes += st.Blocks * 512
	u.Files++
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return false
	}
	names, err := l.root.names(p, walkEntries)
	if err != nil {
		return true
	}
	for _, n := range names {
		l.sum(ctx, p+"/"+n, dev, u, left)
	}
	return true
}
