package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/process"
)

// ownProcesses finds the daemons of the private engine by their programs and by their command lines, which name its files: whoever has
// one of these files open in an editor is none of them. A pid file would be wrong after a crash.
func ownProcesses(opts Options) []Process {
	roles := []struct{ role, program, argument string }{
		{roleDockerd, "dockerd", opts.dockerdConfig()},
		{roleContainerd, "containerd", opts.containerdConfig()},
		{roleShim, "containerd-shim-runc-v2", opts.containerdSocket()},
	}
	var out []Process
	for _, p := range process.All() {
		for _, r := range roles {
			if p.Runs(r.program) && slices.Contains(p.Args[1:], r.argument) {
				out = append(out, Process{ID: p.ID, Role: r.role, Command: strings.Join(p.Args, " ")})
				break
			}
		}
	}
	return out
}

// otherDaemons finds engines of others, and of these the ones that share this network namespace and with it the packet filter.
func otherDaemons(opts Options) (anywhere, here []int) {
	own := ownProcesses(opts)
	namespace, _ := os.Readlink("/proc/self/ns/net")
	for _, p := range process.All() {
		if !p.Runs("dockerd") || slices.ContainsFunc(own, func(o Process) bool { return o.ID == p.ID }) {
			continue
		}
		anywhere = append(anywhere, p.PID)
		if there, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", p.PID)); err == nil && there == namespace {
			here = append(here, p.PID)
		}
	}
	return anywhere, here
}

// endCgroups kills whatever still runs in the containers' cgroups and removes them. It is what cleans up after an engine that
// died: its containers live on without it.
func endCgroups(ctx context.Context, opts Options) error {
	var errs []error
	for _, root := range ownCgroups(opts) {
		inside := process.InCgroup("/" + filepath.Base(root))
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || d.Name() != "cgroup.procs" {
				return nil
			}
			data, _ := os.ReadFile(path)
			for _, p := range inside {
				if slices.Contains(strings.Fields(string(data)), strconv.Itoa(p.PID)) {
					errs = append(errs, p.End(ctx, false, opts.Timeouts.Stop))
				}
			}
			return nil
		})
		errs = append(errs, removeCgroup(root))
	}
	return errors.Join(errs...)
}

func ownCgroups(opts Options) []string {
	var out []string
	for _, glob := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		for _, name := range []string{opts.cgroup(), opts.cgroup() + ".slice"} {
			paths, _ := filepath.Glob(glob + "/" + name)
			for _, p := range paths {
				if info, err := os.Lstat(p); err == nil && info.IsDir() {
					out = append(out, p)
				}
			}
		}
	}
	return out
}

func removeCgroup(root string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeCgroup(filepath.Join(root, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(root); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the cgroup: %w", err)
	}
	return nil
}
