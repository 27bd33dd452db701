package cluster

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/remedy"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// RemedyTarget is the cluster as something plans are carried out on, with its administrator's access.
func (c *Cluster) RemedyTarget() remedy.Target {
	return remedy.Target{
		Nodes:    func(name string) (node.Node, bool) { return c.Node(name), c.Has(name) },
		Kube:     c.Kube(),
		REST:     c.RESTConfig(),
		Original: c.Original,
	}
}

// originalBound bounds making a container of the node's image, copying a file out and removing it: 0.3 s.
const originalBound = 30 * time.Second

// Original fetches a file as the node's image has it: the image is what a package is on a machine.
func (c *Cluster) Original(ctx context.Context, nodeName, path string) (*remedy.File, error) {
	i := slices.IndexFunc(c.nodes, func(n NodeInfo) bool { return n.Name == nodeName })
	if i < 0 {
		return nil, fmt.Errorf("cluster %s has no node %s", c.Name, nodeName)
	}
	// The node's name is on it, for whoever undoes a run on that node whose process was killed just now.
	out, err := run(ctx, c.eng, originalBound, "create", "--label", ownedLabel+"=true", "--label", Label+"="+c.Name,
		"--label", NodeLabel+"="+nodeName, "--network", "none", c.nodes[i].Image)
	if err != nil {
		return nil, fmt.Errorf("open the image of %s: %w", nodeName, err)
	}
	id := strings.TrimSpace(string(out))
	defer func() {
		_, _ = run(context.WithoutCancel(ctx), c.eng, originalBound, "rm", "--force", "--volumes", id)
	}()
	raw, err := run(ctx, c.eng, originalBound, "cp", id+":"+path, "-")
	if err != nil {
		return nil, fmt.Errorf("take %s from the image %s: %w", path, c.nodes[i].Image, err)
	}
	f, err := fileOf(raw)
	if err != nil {
		return nil, fmt.Errorf("take %s from the image %s: %w", path, c.nodes[i].Image, err)
	}
	return f, nil
}

// fileOf reads the one file of an archive.
func fileOf(archive []byte) (*remedy.File, error) {
	t := tar.NewReader(bytes.NewReader(archive))
	h, err := t.Next()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the engine sent an empty archive")
	}
	if err != nil {
		return nil, err
	}
	f := &remedy.File{Mode: uint32(h.Mode) & 0o7777, ModTime: h.ModTime}
	switch h.Typeflag {
	case tar.TypeSymlink:
		f.Link = h.Linkname
	case tar.TypeReg:
		if f.Content, err = io.ReadAll(t); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("it is neither a file nor a symbolic link")
	}
	return f, nil
}

// CopyImages puts images, by their names, onto a node: in one archive from each running node that has some of them. A node that does
// not give any is passed over, it may be ill as well; what nobody gave is an error.
func (c *Cluster) CopyImages(ctx context.Context, to string, refs ...string) error {
	missing := slices.Clone(refs)
	for _, n := range c.nodes {
		if len(missing) == 0 {
			break
		}
		if n.Name == to || n.State != "running" {
			continue
		}
		have, err := c.Images(ctx, n.Name)
		if err != nil {
			continue
		}
		gives := slices.DeleteFunc(slices.Clone(missing), func(ref string) bool { return !slices.Contains(have, ref) })
		if len(gives) == 0 {
			continue
		}
		archive, err := c.ExportImages(ctx, n.Name, gives...)
		if err != nil {
			continue
		}
		if _, err := c.Node(to).Run(ctx, node.Command{
			Argv: c.tools(to).imports, Stdin: bytes.NewReader(archive),
		}); err != nil {
			return fmt.Errorf("put %s onto node %s: %w", strings.Join(gives, ", "), to, err)
		}
		missing = slices.DeleteFunc(missing, func(ref string) bool { return slices.Contains(gives, ref) })
	}
	if len(missing) > 0 {
		return fmt.Errorf("put %s onto node %s: no other running node of cluster %s gave them", strings.Join(missing, ", "), to, c.Name)
	}
	return nil
}

// exportFile is where a node writes images before they are fetched.
const exportFile = "/var/lib/sickbay/export-%s.tar"

// ExportImages reads images of a node, as one archive. Over a file: docker 20.10 closes the output of an exec when its process
// ends, with what is still under way in it (on a busy machine the last 90 kB of 18 MB).
func (c *Cluster) ExportImages(ctx context.Context, nodeName string, refs ...string) (archive []byte, err error) {
	for range exportTries {
		if archive, err = c.exportImages(ctx, nodeName, refs); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("export images of %s: %w", nodeName, err)
	}
	return archive, nil
}

// exportTries is how often an export is tried: on a busy machine docker 20.10 also says that a process has ended well which is still
// at work, and the file is short then.
const exportTries = 3

func (c *Cluster) exportImages(ctx context.Context, nodeName string, refs []string) ([]byte, error) {
	n := c.Node(nodeName)
	file := fmt.Sprintf(exportFile, rand.Text()[:8])
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeoutscale.Bound(imageBound))
		defer cancel()
		_, _ = n.Run(ctx, node.Argv("rm", "-f", file)) // where the node does not answer, it goes with the node
	}()
	size, err := n.Run(ctx, node.Argv(append([]string{"sh", "-c", c.tools(nodeName).export, "sh", file}, refs...)...))
	if err != nil {
		return nil, err
	}
	raw, err := run(ctx, c.eng, loadBound, "cp", nodeName+":"+file, "-")
	if err != nil {
		return nil, err
	}
	f, err := fileOf(raw)
	if err != nil {
		return nil, err
	}
	if want := strings.TrimSpace(string(size)); want != strconv.Itoa(len(f.Content)) {
		return nil, fmt.Errorf("the archive has %d bytes, and the node says %q", len(f.Content), want)
	}
	return f.Content, whole(f.Content)
}

// whole reads an archive to its end: ctr says that it has ended well on a busy machine also where the archive is cut off.
func whole(archive []byte) error {
	if !bytes.HasSuffix(archive, make([]byte, 1024)) {
		return fmt.Errorf("the archive, of %d bytes, is cut off: it has no end", len(archive))
	}
	for t := tar.NewReader(bytes.NewReader(archive)); ; {
		if _, err := t.Next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("the archive, of %d bytes, is cut off: %w", len(archive), err)
		}
		if _, err := io.Copy(io.Discard, t); err != nil {
			return fmt.Errorf("the archive, of %d bytes, is cut off: %w", len(archive), err)
		}
	}
}

// Images lists the names of a node's images.
func (c *Cluster) Images(ctx context.Context, nodeName string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(imageBound))
	defer cancel()
	out, err := c.Node(nodeName).Run(ctx, node.Sh(c.tools(nodeName).names))
	if err != nil {
		return nil, fmt.Errorf("list the images of %s: %w", nodeName, err)
	}
	return slices.DeleteFunc(strings.Fields(string(out)), func(ref string) bool { return strings.HasPrefix(ref, "sha256:") }), nil
}
