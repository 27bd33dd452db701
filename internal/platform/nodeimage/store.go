package nodeimage

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// storeReady bounds how long containerd may take to answer: it has nothing to load and answers within a second.
	storeReady = 30 * time.Second
	storePoll  = 100 * time.Millisecond
	// storeStop is how long it may take to end after SIGTERM before it is killed.
	storeStop = 10 * time.Second
)

// makeStore imports the component images into a content store, with the containerd just built and without unpacking, and
// turns the store into a layer. What a node then finds in /var/lib/containerd is what an import on the node had left.
func (p *plan) makeStore(ctx context.Context, dir string) (err error) {
	work, err := os.MkdirTemp("", "sickbay-store-")
	if err != nil {
		return fmt.Errorf("preparing a content store: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	root, socket := filepath.Join(work, "root"), filepath.Join(work, "containerd.sock")
	bin := filepath.Join(p.cache.path(p.containerd), "bin")
	config := filepath.Join(work, "config.toml")
	// Everything but content and metadata is off: it must not touch this machine's network, cgroups or other stores.
	text := fmt.Sprintf(`version = 3
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.nri.v1.nri",
  "io.containerd.podsandbox.controller.v1.podsandbox", "io.containerd.internal.v1.restart", "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.overlayfs"]
[grpc]
address = %q
[ttrpc]
address = %q
`, root, filepath.Join(work, "state"), socket, socket+".ttrpc")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return fmt.Errorf("preparing a content store: %w", err)
	}

	var log bytes.Buffer
	daemon := exec.CommandContext(ctx, filepath.Join(bin, "containerd"), "--config", config)
	daemon.Stdout, daemon.Stderr = &log, &log
	daemon.Cancel = func() error { return daemon.Process.Signal(syscall.SIGTERM) }
	daemon.WaitDelay = storeStop
	if err := daemon.Start(); err != nil {
		return fmt.Errorf("%s: %w", daemon, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- daemon.Wait() }()
	running := true
	stop := func() {
		if running {
			running = false
			_ = daemon.Process.Signal(syscall.SIGTERM) // it may have ended by itself
			select {
			case <-ended:
			case <-time.After(storeStop):
				_ = daemon.Process.Kill()
				<-ended
			}
		}
	}
	defer stop()

	ctr := func(ctx context.Context, args ...string) *exec.Cmd {
		return exec.CommandContext(ctx, filepath.Join(bin, "ctr"), append([]string{"--address", socket, "--namespace", "k8s.io"}, args...)...)
	}
	ready, cancel := context.WithTimeout(ctx, storeReady)
	defer cancel()
	tick := time.NewTicker(storePoll)
	defer tick.Stop()
	for {
		if _, err = output(ctr(ready, "--connect-timeout", "1s", "images", "list", "-q")); err == nil {
			break
		}
		select {
		case werr := <-ended:
			running = false
			return fmt.Errorf("%s ended at once: %w: %s", daemon, werr, tail(log.String()))
		case <-ready.Done():
			return fmt.Errorf("%s did not answer within %s: %w: %s", daemon, storeReady, err, tail(log.String()))
		case <-tick.C:
		}
	}

	components := p.cache.path(p.components)
	// Pinned, as kind does it: the kubelet must not collect what no registry could give back.
	load := ctr(ctx, "images", "import", "--local", "--no-unpack", "--all-platforms", "--label", "io.cri-containerd.pinned=pinned", "-")
	in, err := load.StdinPipe()
	if err != nil {
		return fmt.Errorf("%s: %w", load, err)
	}
	piped := make(chan error, 1)
	go func() { piped <- errors.Join(tarFolder(in, components), in.Close()) }()
	_, lerr := output(load)
	if lerr != nil {
		in.Close() // whatever is still being written has no reader
	}
	if perr := <-piped; lerr == nil {
		lerr = perr
	}
	if lerr != nil {
		return fmt.Errorf("importing the component images: %w", lerr)
	}
	listed, err := output(ctr(ctx, "images", "list", "-q"))
	if err != nil {
		return err
	}
	all, err := p.readComponents()
	if err != nil {
		return err
	}
	for _, c := range all {
		for _, n := range c.Names {
			if !slices.Contains(strings.Fields(listed), n) {
				return fmt.Errorf("importing the component images: %s is not in the store, only %s", n, strings.Join(strings.Fields(listed), " "))
			}
		}
	}
	stop() // the metadata file is complete only now

	l, err := newLayer(dir)
	if err != nil {
		return err
	}
	if err := l.mkdir("var/lib/containerd", 0o711); err != nil {
		return err
	}
	for _, keep := range []string{"io.containerd.content.v1.content/blobs", "io.containerd.metadata.v1.bolt"} {
		err := l.tree("var/lib/containerd/"+keep, filepath.Join(root, filepath.FromSlash(keep)), func(string) int64 { return 0o644 })
		if err != nil {
			return err
		}
	}
	return l.close()
}

// tarFolder streams a folder as tar.
func tarFolder(w io.Writer, dir string) error {
	t := tar.NewWriter(w)
	if err := t.AddFS(os.DirFS(dir)); err != nil {
		return err
	}
	return t.Close()
}

// sideImage finds the component with the name.
func (p *plan) sideImage(name string) (component, error) {
	all, err := p.readComponents()
	if err != nil {
		return component{}, err
	}
	var known []string
	for _, c := range all {
		if slices.Contains(c.Names, name) {
			return c, nil
		}
		known = append(known, c.Names...)
	}
	return component{}, fmt.Errorf("no image %s is built here: there are %s", name, strings.Join(known, ", "))
}
