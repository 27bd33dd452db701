package registry

import (
	"archive/tar"
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	fake "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// archive is an exported image, wrapped in an index as what was pulled for many platforms is.
func archive(t *testing.T, add ...tar.Header) []byte {
	t.Helper()
	img, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
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
