package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	fake "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// archive is an exported image, wrapped in an index as what was pulled for many platforms is.
func archive(t *testing.T, add ...tar.Header) []byte {
	t.Helper()
	img, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	return archiveOf(t, img, add...)
}

func archiveOf(t *testing.T, img v1.Image, add ...tar.Header) []byte {
	t.Helper()
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendIndex(mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img})); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range add {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What is pushed is another image than the base, and another for every name.
func TestPush(t *testing.T) {
	base, clean, err := load(archive(t))
	if err != nil {
		t.Fatal(err)
	}
	defer clean()
	server := httptest.NewTLSServer(fake.New())
	defer server.Close()
	ca, err := newAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ca.cert = server.Certificate() // the test server's own
	address := server.Listener.Addr().String()
	seen := map[string]bool{}
	for _, image := range []string{"shop/app:1.0", "shop/app:1.1"} {
		ref := "example.com/" + image
		img, err := relabel(base, "r", ref)
		if err != nil {
			t.Fatal(err)
		}
		if err := push(context.Background(), img, ref, address, ca, Good, authn.Anonymous); err != nil {
			t.Fatal(err)
		}
		tag, _ := name.NewTag(ref)
		got, err := remote.Image(tag, remote.WithTransport(transport(address, ca, Good)))
		if err != nil {
			t.Fatal(err)
		}
		id, err := got.ConfigName()
		if err != nil {
			t.Fatal(err)
		}
		seen[id.String()] = true
	}
	id, err := base.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	if seen[id.String()] || len(seen) != 2 {
		t.Errorf("pushed %v, made of %s", seen, id)
	}
}

// An archive cannot write beside the folder it is unpacked into.
func TestUnpackStaysInside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "in")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unpack(bytes.NewReader(archive(t, tar.Header{Name: "../out", Typeflag: tar.TypeReg, Mode: 0o644})), dir); err == nil {
		t.Error("../out was unpacked")
	}
	if _, err := os.Stat(filepath.Join(dir, "..", "out")); err == nil {
		t.Error("../out is there")
	}
}

func TestPullSecret(t *testing.T) {
	got, err := pullSecret("registry.r.test", "p")
	if err != nil || !strings.Contains(string(got), `{"auths":{"registry.r.test":{"username":"shop","password":"p","auth":"c2hvcDpw"}}}`) {
		t.Errorf("%s, %v", got, err)
	}
}

// Docker 20.10 loads only archives of its own kind, with layers that are packed with gzip or not at all: the content stays the same.
func TestDockerArchive(t *testing.T) {
	const ref, content = "sickbay.dev/registry:3.1.2", "some layer"
	packed, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
		tarball.WithCompression(compression.ZStd), tarball.WithMediaType(types.OCILayerZStd))
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.Config(empty.Image, v1.Config{Entrypoint: []string{"/registry"}})
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.AppendLayers(img, packed); err != nil {
		t.Fatal(err)
	}
	loadable, err := DockerArchive(archiveOf(t, img), ref)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	got, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(loadable)), nil }, &tag)
	if err != nil {
		t.Fatal(err)
	}
	config, err := got.ConfigFile()
	if err != nil || !slices.Equal(config.Config.Entrypoint, []string{"/registry"}) {
		t.Errorf("%v, %v", config, err)
	}
	layers, err := got.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers: %v", len(layers), err)
	}
	raw, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(raw)
	if err != nil {
		t.Fatalf("it is not packed with gzip: %v", err)
	}
	if text, err := io.ReadAll(z); string(text) != content || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := DockerArchive([]byte("no archive"), ref); err == nil {
		t.Error("what is no archive is one")
	}
}
