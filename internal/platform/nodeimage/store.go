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

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/sickbay-dev/sickbay/internal/command"
	"github.com/sickbay-dev/sickbay/internal/process"
	"github.com/sickbay-dev/sickbay/internal/text"
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
	s, err := startStore(ctx, filepath.Join(p.cache.path(p.containerd), "bin"), work, configVersion(p.spec.Runtime))
	if err != nil {
		return err
	}
	defer s.stop()
	all, err := p.readComponents()
	if err != nil {
		return err
	}
	if err := s.load(ctx, p.cache.path(p.components), all); err != nil {
		return fmt.Errorf("importing the component images: %w", err)
	}
	s.stop() // the metadata file is complete only now

	l, err := newLayer(dir)
	if err != nil {
		return err
	}
	l.mkdir("var/lib/containerd", 0o711)
	for _, keep := range []string{"io.containerd.content.v1.content/blobs", "io.containerd.metadata.v1.bolt"} {
		l.tree("var/lib/containerd/"+keep, filepath.Join(s.root, filepath.FromSlash(keep)), 0o644)
	}
	return l.close()
}

// contentStore is a containerd that has a content store and nothing else.
type contentStore struct {
	bin, root, socket string
	log               bytes.Buffer
	ended             chan struct{}
	err               error // how it ended
	stop              func()
}

// startStore starts it with everything below a folder and a configuration of that version, and waits until it answers.
func startStore(ctx context.Context, bin, work string, version int) (*contentStore, error) {
	s := &contentStore{bin: bin, root: filepath.Join(work, "root"), socket: filepath.Join(work, "containerd.sock"), ended: make(chan struct{})}
	config := filepath.Join(work, "config.toml")
	// Everything but content and metadata is off: it must not touch this machine's network, cgroups or other stores.
	content := fmt.Sprintf(`version = %d
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.nri.v1.nri",
  "io.containerd.podsandbox.controller.v1.podsandbox", "io.containerd.internal.v1.restart", "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.overlayfs"]
[grpc]
address = %q
[ttrpc]
address = %q
`, version, s.root, filepath.Join(work, "state"), s.socket, s.socket+".ttrpc")
	if err := os.WriteFile(config, []byte(content), 0o600); err != nil {
		return nil, fmt.Errorf("preparing a content store: %w", err)
	}
	running, cancel := context.WithCancel(ctx)
	daemon := exec.CommandContext(running, filepath.Join(bin, "containerd"), "--config", config)
	daemon.Stdout, daemon.Stderr = &s.log, &s.log
	daemon.Cancel = func() error { return daemon.Process.Signal(syscall.SIGTERM) }
	daemon.WaitDelay = storeStop
	process.Leash(daemon, syscall.SIGTERM) // it must not outlive this process, however that ends
	if err := daemon.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("%s: %w", daemon, err)
	}
	go func() { s.err = daemon.Wait(); close(s.ended) }()
	s.stop = func() { cancel(); <-s.ended }

	var silent error
	err := wait.PollUntilContextTimeout(running, storePoll, storeReady, true, func(ctx context.Context) (bool, error) {
		select {
		case <-s.ended:
			return false, fmt.Errorf("it ended at once: %w", s.err)
		default:
			_, silent = command.Output(s.ctr(ctx, "--connect-timeout", "1s", "images", "list", "-q"))
			return silent == nil, nil
		}
	})
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("%s: %w: %w: %s", daemon, err, silent, text.Tail(s.log.String(), 15))
	}
	return s, nil
}

func (s *contentStore) ctr(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, filepath.Join(s.bin, "ctr"), append([]string{"--address", s.socket, "--namespace", "k8s.io"}, args...)...)
}

// load imports a layout, and checks that all its images are there. They are pinned, as kind does it: the kubelet must not collect
// what no registry could give back.
func (s *contentStore) load(ctx context.Context, layout string, all []component) error {
	cmd := s.ctr(ctx, "images", "import", "--local", "--no-unpack", "--all-platforms", "--label", "io.cri-containerd.pinned=pinned", "-")
	in, out := io.Pipe()
	cmd.Stdin = in
	piped := make(chan error, 1)
	go func() {
		err := tarFolder(out, layout)
		out.CloseWithError(err)
		piped <- err
	}()
	_, err := command.Output(cmd)
	in.Close() // whatever is still being written has no reader
	if perr := <-piped; err == nil {
		err = perr
	}
	if err != nil {
		return err
	}
	listed, err := command.Output(s.ctr(ctx, "images", "list", "-q"))
	if err != nil {
		return err
	}
	for _, c := range all {
		for _, n := range c.Names {
			if !slices.Contains(strings.Fields(listed), n) {
				return fmt.Errorf("%s is not in the store, only %s", n, strings.Join(strings.Fields(listed), " "))
			}
		}
	}
	return nil
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
