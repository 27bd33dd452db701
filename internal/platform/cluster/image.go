package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// DefaultWorkloadImage is what is pulled and loaded when the node image carries no agnhost, as kind's own does not.
const DefaultWorkloadImage = "registry.k8s.io/e2e-test-images/agnhost:2.66.1"

// imageBound bounds one question to a node's runtime while five nodes start on two cores.
const imageBound = 30 * time.Second

// loadBound bounds loading one image into one node: agnhost is 50 MB, and 2 s.
const loadBound = 3 * time.Minute

// WorkloadImage is the image scenarios run their pods from: agnhost, as it is called on the nodes. It is never pulled.
func (c *Cluster) WorkloadImage(ctx context.Context) (string, error) {
	for _, n := range c.nodes {
		if n.State != "running" {
			continue
		}
		images, err := c.workloadImages(ctx, n.Name)
		if err == nil && len(images) > 0 {
			return images[0].ref, nil
		}
	}
	return "", fmt.Errorf("no node of cluster %s has an agnhost image", c.Name)
}

type workloadImage struct {
	ref    string
	pinned bool
}

func (c *Cluster) workloadImages(ctx context.Context, name string) ([]workloadImage, error) {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(imageBound))
	defer cancel()
	out, err := c.Node(name).Run(ctx, node.Sh(c.tools(name).workload))
	if err != nil {
		return nil, fmt.Errorf("list the images of %s: %w", name, err)
	}
	var images []workloadImage
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 2 {
			images = append(images, workloadImage{f[0], f[1] == "1"})
		}
	}
	return images, nil
}

// pinWorkloadImage makes sure that every node has agnhost and keeps it: under DiskPressure the kubelet deletes images no
// container uses, preloaded ones included, and where no registry answers they never come back.
func (c *Cluster) pinWorkloadImage(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	missing := make(chan struct{}, len(c.nodes))
	for _, n := range c.nodes {
		g.Go(func() error {
			images, err := c.workloadImages(gctx, n.Name)
			if err != nil {
				return err
			}
			if len(images) == 0 {
				missing <- struct{}{}
			}
			return c.pin(gctx, n.Name, images)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if len(missing) == 0 {
		return nil
	}
	if err := c.LoadImage(ctx, DefaultWorkloadImage); err != nil {
		return err
	}
	g, gctx = errgroup.WithContext(ctx)
	for _, n := range c.nodes {
		g.Go(func() error { return c.pin(gctx, n.Name, []workloadImage{{ref: DefaultWorkloadImage}}) })
	}
	return g.Wait()
}

func (c *Cluster) pin(ctx context.Context, name string, images []workloadImage) error {
	pin := c.tools(name).pin
	for _, i := range images {
		if i.pinned || pin == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(imageBound))
		defer cancel()
		if _, err := c.Node(name).Run(ctx, node.Argv(slices.Concat(pin, []string{i.ref, "io.cri-containerd.pinned=pinned"})...)); err != nil {
			return fmt.Errorf("pin the workload image on %s: %w", name, err)
		}
	}
	return nil
}

// LoadImage puts an image of the engine on every running node, pulling it into the engine first where it is not there.
func (c *Cluster) LoadImage(ctx context.Context, ref string) (err error) {
	task := progress.From(ctx).Start("load "+ref+" into the nodes", timeoutscale.Bound(loadBound))
	defer func() { task.End(err) }()
	if _, err := run(ctx, c.eng, lookBound, "image", "inspect", ref); err != nil {
		task.Detail("pulling it")
		if _, err := run(ctx, c.eng, loadBound, "pull", "--quiet", ref); err != nil {
			return fmt.Errorf("the nodes need %s, and it is neither on the engine nor to be pulled: %w", ref, err)
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2) // each reads and unpacks the whole image
	for _, n := range c.nodes {
		if n.State == "running" {
			g.Go(func() error { return c.loadInto(gctx, n.Name, ref) })
		}
	}
	return g.Wait()
}

func (c *Cluster) loadInto(ctx context.Context, name, ref string) error {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(loadBound))
	defer cancel()
	save := c.eng.Command(ctx, "save", ref)
	var said bytes.Buffer
	save.Stderr = &said
	image, err := save.StdoutPipe()
	if err != nil {
		return err
	}
	if err := save.Start(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(save.Args, " "), err)
	}
	_, err = c.Node(name).Run(ctx, node.Command{Argv: append(slices.Clone(c.tools(name).load), ref), Stdin: image})
	if werr := wait(save); err == nil && werr != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(save.Args, " "), ended(werr), strings.TrimSpace(said.String()))
	}
	if err != nil {
		return fmt.Errorf("load %s: %w", ref, err)
	}
	return nil
}

// wait ends a command whose reader may have gone.
func wait(c *exec.Cmd) error {
	c.WaitDelay = time.Second
	return c.Wait()
}
