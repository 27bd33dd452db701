package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sickbay-dev/sickbay/internal/command"
)

// makeStore17 is makeStore with the client of containerd 1.7, which pins images only after importing them.
func (p *plan) makeStore17(ctx context.Context, dir string) (err error) {
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
	if err := s.load17(ctx, p.cache.path(p.components), all); err != nil {
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

func (s *contentStore) load17(ctx context.Context, layout string, all []component) error {
	cmd := s.ctr(ctx, "images", "import", "--local", "--no-unpack", "--all-platforms", "-")
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
	if err = errors.Join(err, <-piped); err != nil {
		return err
	}
	for _, c := range all {
		for _, n := range c.Names {
			if _, err := command.Output(s.ctr(ctx, "images", "label", n, "io.cri-containerd.pinned=pinned")); err != nil {
				return err // as where it is not in the store
			}
		}
	}
	return nil
}
