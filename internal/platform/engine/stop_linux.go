package engine

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/sickbay-dev/sickbay/internal/platform/blockdev"
	"github.com/sickbay-dev/sickbay/internal/progress"
)

// stop is Down, under the lock. It goes on where something fails: the less is left, the better.
func stop(ctx context.Context, opts Options, task progress.Task) error {
	task.Detail("containers")
	networks, held, err := removeContainers(ctx, opts)
	task.Detail("daemons")
	errs := []error{err, endDaemons(ctx, opts)}
	task.Detail("the host's state")
	errs = append(errs, endCgroups(ctx, opts),
		unmountUnder(opts.execRoot(), opts.containerdState(), opts.dataRoot(), opts.containerdRoot()),
		restoreHost(ctx, opts, networks))
	for _, l := range blockdev.Loops() {
		if l.Orphan() || slices.ContainsFunc(held, l.Same) {
			errs = append(errs, l.Detach())
		}
	}
	for _, dir := range []string{opts.execRoot(), opts.containerdState()} {
		errs = append(errs, removeTree(dir))
	}
	errs = append(errs, removeFile(opts.RunDir+"/client"))
	_ = os.Remove(opts.RunDir) // when nothing else is in it
	if opts.Purge {
		task.Detail("images and volumes")
		errs = append(errs, purge(opts))
	}
	return errors.Join(errs...)
}

// removeContainers empties the running engine of containers, with their anonymous volumes, and of networks, and returns the
// bridges of the latter, and the loop devices of files that only the containers had. An engine that does not answer is not an error.
func removeContainers(ctx context.Context, opts Options) (bridges []string, held []blockdev.Loop, err error) {
	ctx, cancel := context.WithTimeout(ctx, opts.Timeouts.Stop)
	defer cancel()
	api := socketAPI(opts.socket())
	if _, err := private(ctx, opts); err != nil {
		return nil, nil, nil
	}
	var containers []struct {
		ID string `json:"Id"`
	}
	var networks []struct {
		ID      string `json:"Id"`
		Name    string
		Driver  string
		Options map[string]string
	}
	if err := api.get(ctx, "/containers/json?all=1", &containers); err != nil {
		return nil, nil, err
	}
	var pids []int
	for _, c := range containers {
		var state struct{ State struct{ Pid int } }
		if api.get(ctx, "/containers/"+url.PathEscape(c.ID)+"/json", &state) == nil && state.State.Pid > 0 {
			pids = append(pids, state.State.Pid)
		}
	}
	// An active swap file cannot be deleted, and its path means something only in there.
	for _, s := range blockdev.Swaps() {
		s.OffBelow(opts.dataRoot(), pids)
	}
	for _, l := range blockdev.Loops() {
		if l.Below(opts.dataRoot(), pids) {
			held = append(held, l)
		}
	}
	blockdev.Thaw(pids...)
	var group errgroup.Group
	group.SetLimit(4) // more only wait for each other in the engine
	for _, c := range containers {
		group.Go(func() error { return api.delete(ctx, "/containers/"+url.PathEscape(c.ID)+"?force=1&v=1") })
	}
	errs := []error{group.Wait()}
	if err := api.get(ctx, "/networks", &networks); err != nil {
		return nil, held, errors.Join(append(errs, err)...)
	}
	for _, n := range networks {
		if n.Name == "bridge" || n.Name == "host" || n.Name == "none" {
			continue
		}
		if n.Driver == "bridge" {
			bridge := n.Options["com.docker.network.bridge.name"]
			if bridge == "" {
				bridge = "br-" + n.ID[:min(12, len(n.ID))]
			}
			bridges = append(bridges, bridge)
		}
		errs = append(errs, api.delete(ctx, "/networks/"+url.PathEscape(n.ID)))
	}
	return bridges, held, errors.Join(errs...)
}

func purge(opts Options) error {
	var errs []error
	for _, dir := range []string{opts.dataRoot(), opts.containerdRoot(), opts.cliDir()} {
		errs = append(errs, removeTree(dir))
	}
	for _, file := range []string{opts.runtime(), opts.dockerdConfig(), opts.containerdConfig(), opts.log(), opts.log() + ".1"} {
		errs = append(errs, removeFile(file))
	}
	_ = os.Remove(opts.StateDir + "/bin")
	return errors.Join(errs...)
}

// removeTree deletes a directory that nothing is mounted in: behind a mount may be somebody's data.
func removeTree(dir string) error {
	if left := mountsUnder(dir); len(left) > 0 {
		return fmt.Errorf("%s is not removed: %s is still mounted", dir, left[0].Mountpoint)
	}
	return os.RemoveAll(dir)
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
