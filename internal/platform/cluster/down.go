package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/retry"
)

// DownOptions say which cluster to take down.
type DownOptions struct {
	Name     string // DefaultName when empty
	Timeouts Timeouts
}

// Down gives an adopted cluster back, or removes a cluster of ours and everything that came with it: containers, their volumes, and with the last cluster the
// network and the host's rules. It needs neither the API nor a kubeconfig nor healthy nodes, only the engine. A cluster that is
// not there is no error: what else is left of it is removed all the same.
func Down(ctx context.Context, e *engine.Engine, o DownOptions) (err error) {
	if o.Name == "" {
		o.Name = DefaultName
	}
	o.Timeouts = o.Timeouts.withDefaults()
	unlock, err := lock(ctx, o.Name)
	if err != nil {
		return err
	}
	defer unlock()
	image := ""
	c, err := Find(ctx, e, o.Name)
	switch {
	case errors.As(err, new(*NotFoundError)):
	case err != nil:
		return err
	case !c.Ours:
		return &TakenError{
			What: fmt.Sprintf("cluster %s was not made by sickbay", o.Name),
			Way:  fmt.Sprintf("it is left as it is; `kind delete cluster --name %s` removes it", o.Name),
		}
	case c.Adopted:
		return c.Release(ctx)
	default:
		image = c.Image
	}
	task := progress.From(ctx).Start("take cluster "+o.Name+" down", o.Timeouts.Quiet+o.Timeouts.Remove)
	defer func() { task.End(err) }()
	return takeDown(ctx, e, o.Name, image, o.Timeouts)
}

// takeDown removes what belongs to a cluster that is known to be ours, or that is being made.
func takeDown(ctx context.Context, e *engine.Engine, name, image string, t Timeouts) error {
	cs, err := containersOf(ctx, e, name)
	if err != nil {
		return err
	}
	quiet(ctx, e, cs, t.Quiet)
	swapsOff(e, cs)
	var errs []error
	errs = append(errs, removeContainers(ctx, e, name, t.Remove))
	if errs[0] != nil && sweepHost(ctx, e, cs) {
		// A process that hangs on a frozen filesystem cannot be killed; thawed from the host it can.
		errs[0] = removeContainers(ctx, e, name, t.Remove)
	}
	errs = append(errs, removeVolumes(ctx, e, cs))
	loopsOff(e)
	errs = append(errs, Unshelter(ctx, e, image))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take cluster %s down: %w", name, err)
	}
	return forget(name)
}

// removeRules removes the table when it may be there. Where neither the host's nft nor an image is at hand there was no cluster
// of this engine to make the table for.
func removeRules(ctx context.Context, e *engine.Engine, image string) error {
	if image == "" && hostNFT(e) == "" {
		return nil
	}
	return unisolate(ctx, e, image)
}

// anyNodeImage is some image that has nft, for when the cluster's own is not known any more.
func anyNodeImage(ctx context.Context, e *engine.Engine) string {
	out, err := run(ctx, e, lookBound, "images", "--format", "{{.Repository}}:{{.Tag}}")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, "<none>") {
			continue
		}
		if strings.HasPrefix(line, "sickbay.dev/node:") || strings.HasPrefix(line, "kindest/node:") {
			return line
		}
	}
	return ""
}

// settle is what a node does before its container is removed: the agent undoes faults, then what would outlive the container
// or keep it from dying goes without the agent's help: frozen filesystems, swap and loop devices are the kernel's, not the
// container's. /proc/swaps and the loop devices are those of the whole machine: only paths of sickbay's, and a loop device only
// when its file's inode is the one this node has under that path (swapoff checks that itself).
const settle = `for a in /var/lib/sickbay/agent-*; do
  [ -x "$a" ] && [ -n "$(ls -A /var/lib/sickbay/journal 2>/dev/null)" ] && timeout 15 "$a" recover --all >/dev/null 2>&1
done
while read -r _ _ _ _ at _ rest; do
  case "$rest" in *" /dev/loop"*) timeout 2 fsfreeze -u "$at" >/dev/null 2>&1;; esac
done </proc/self/mountinfo
while read -r file _; do
  case "$file" in /var/lib/sickbay/*) timeout 10 swapoff "$file";; esac
done </proc/swaps
for l in /sys/block/loop*/loop/backing_file; do
  [ -e "$l" ] || continue
  read -r file <"$l" || continue
  d=${l#/sys/block/}; d=/dev/${d%%/*}
  case "$file" in /var/lib/sickbay/*)
    [ "$(stat -c %i "$file" 2>/dev/null)" = "$(losetup -n -O BACK-INO "$d" | tr -d ' ')" ] && losetup -d "$d" >/dev/null 2>&1;;
  esac
done
true`

// quiet wakes paused nodes and lets every running one settle, all at once, for a bounded time. Failures are not errors: a node
// that cannot settle is removed all the same.
func quiet(ctx context.Context, e *engine.Engine, cs []container, bound time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	var wg sync.WaitGroup
	for _, c := range cs {
		wg.Go(func() {
			if c.State.Status == "paused" {
				if _, err := run(ctx, e, bound, "unpause", c.name()); err != nil {
					return
				}
			} else if c.State.Status != "running" {
				return
			}
			_, _ = node.Container(e, c.name()).Run(ctx, node.Sh(settle))
		})
	}
	wg.Wait()
}

// removeContainers removes a cluster's nodes, their anonymous volumes, and what carries our label for it.
func removeContainers(ctx context.Context, e *engine.Engine, name string, bound time.Duration) error {
	var cs []container
	for _, filter := range []string{"label=" + kindClusterLabel + "=" + name, "label=" + Label + "=" + name} {
		found, err := inspectAll(ctx, e, filter)
		if err != nil {
			return err
		}
		cs = append(cs, found...)
	}
	var g errgroup.Group
	for _, c := range cs {
		g.Go(func() error {
			// SIGKILL first: rm -f waits ten seconds on some versions for a systemd that ignores SIGTERM.
			_, _ = run(ctx, e, bound, "kill", "--signal", "KILL", c.ID)
			_, err := run(ctx, e, bound, "rm", "--force", "--volumes", c.ID)
			if err != nil && !strings.Contains(strings.ToLower(err.Error()), "no such container") && !strings.Contains(err.Error(), "already in progress") {
				return fmt.Errorf("remove container %s: %w", c.name(), err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	// "already in progress" and a daemon's yes are not yet gone.
	end := time.Now().Add(bound)
	for {
		left, err := containersOf(ctx, e, name)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("container %s is still there after %s", left[0].name(), bound)
		}
		if retry.Sleep(ctx, readyPoll) != nil {
			return context.Cause(ctx)
		}
	}
}

// removeVolumes removes what rm --volumes left, for instance of a container that somebody else removed half-way.
func removeVolumes(ctx context.Context, e *engine.Engine, cs []container) error {
	var errs []error
	for _, c := range cs {
		for _, m := range c.Mounts {
			if m.Type != "volume" || m.Name == "" {
				continue
			}
			_, err := run(ctx, e, lookBound, "volume", "rm", "--force", m.Name)
			if err != nil && !strings.Contains(strings.ToLower(err.Error()), "no such volume") {
				errs = append(errs, fmt.Errorf("remove the volume of %s: %w", c.name(), err))
			}
		}
	}
	return errors.Join(errs...)
}
