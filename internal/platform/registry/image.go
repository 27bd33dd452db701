package registry

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// maxImage bounds what is read of an exported image: agnhost has 50 MB.
const maxImage = 512 << 20

// unpack writes an image archive, as `ctr images export` makes it, into a folder.
func unpack(archive io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack an image: %w", err)
	}
	defer root.Close()
	t := tar.NewReader(io.LimitReader(archive, maxImage))
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && h.Typeflag == tar.TypeReg {
			err = unpackFile(root, filepath.Clean(h.Name), t)
		}
		if err != nil {
			return fmt.Errorf("unpack an image: %w", err)
		}
	}
}

func unpackFile(root *os.Root, file string, content io.Reader) (err error) {
	if err := root.MkdirAll(filepath.Dir(file), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := root.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, content)
	return err
}

// readImage finds the image in a folder. What a registry elsewhere offers for many platforms has only one of them on a node.
func readImage(dir string) (v1.Image, error) {
	path, err := layout.FromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("read an exported image: %w", err)
	}
	index, err := path.ImageIndex()
	if err != nil {
		return nil, fmt.Errorf("read an exported image: %w", err)
	}
	img, err := firstImage(index)
	if err != nil {
		return nil, fmt.Errorf("read an exported image: %w", err)
	}
	return img, nil
}

func firstImage(index v1.ImageIndex) (v1.Image, error) {
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, d := range m.Manifests {
		if d.MediaType.IsIndex() {
			inner, err := index.ImageIndex(d.Digest)
			if err == nil {
				var img v1.Image
				if img, err = firstImage(inner); err == nil {
					return img, nil
				}
			}
			errs = append(errs, err)
			continue
		}
		img, err := index.Image(d.Digest)
		if err == nil {
			_, err = img.ConfigFile() // not there for platforms that were not exported
		}
		if err == nil {
			return img, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(append(errs, errors.New("it has no image"))...)
}

// relabel makes it another image: what a node is to pull must not be one that it has, nor vanish from it with one.
func relabel(base v1.Image, run, ref string) (v1.Image, error) {
	c, err := base.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read the image's configuration: %w", err)
	}
	c = c.DeepCopy()
	if c.Config.Labels == nil {
		c.Config.Labels = map[string]string{}
	}
	c.Config.Labels["org.opencontainers.image.ref.name"], c.Config.Labels["sickbay.dev/run"] = ref, run
	img, err := mutate.ConfigFile(base, c)
	if err != nil {
		return nil, fmt.Errorf("change the image's configuration: %w", err)
	}
	return img, nil
}

// push puts an image into the registry by the name the nodes know, at the address this machine reaches it by.
func push(ctx context.Context, img v1.Image, ref, address string, ca *authority, kind Certificate, auth authn.Authenticator) error {
	tag, err := name.NewTag(ref, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("push %s: %w", ref, err)
	}
	t := transport(address, ca, kind)
	defer t.CloseIdleConnections()
	if err := remote.Write(tag, img, remote.WithContext(ctx), remote.WithTransport(t), remote.WithAuth(auth)); err != nil {
		return fmt.Errorf("push %s: %w", ref, err)
	}
	return nil
}

// transport dials the address whatever the name is, and trusts the CA alone, or anybody where the certificate is bad on purpose.
// No proxy: this never leaves the machine.
func transport(address string, ca *authority, kind Certificate) *http.Transport {
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	return &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, InsecureSkipVerify: kind != Good},
	}
}

// load reads the base image from an archive.
func load(archive []byte) (img v1.Image, clean func(), err error) {
	dir, err := os.MkdirTemp("", "sickbay-image-")
	if err != nil {
		return nil, nil, fmt.Errorf("unpack an image: %w", err)
	}
	clean = func() { _ = os.RemoveAll(dir) }
	if err = unpack(bytes.NewReader(archive), dir); err == nil {
		img, err = readImage(dir)
	}
	if err != nil {
		clean()
		return nil, nil, err
	}
	return img, clean, nil
}
