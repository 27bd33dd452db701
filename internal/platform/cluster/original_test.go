package cluster

import (
	"archive/tar"
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestAnArchiveThatIsCutOff(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{"oci-layout", "blobs/sha256/a"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 3000, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat([]byte("x"), 3000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := whole(b.Bytes()); err != nil {
		t.Error(err)
	}
	for _, n := range []int{100, 1000, 512 + 3072, 3600, 4000, 6000} {
		if err := whole(b.Bytes()[:n]); err == nil || !strings.Contains(err.Error(), "is cut off") {
			t.Errorf("of %d bytes %d were taken for all: %v", b.Len(), n, err)
		}
	}
}

// Images come in one archive from each node that has some; a node that does not run gives none.
func TestCopyImages(t *testing.T) {
	eng, now, log := engineWith(t, world{Images: map[string][]string{
		"cp": {"pause", "dns", "sha256:1"}, "w1": {"pause"}, "w2": {"dns", "shop"}, "w3": {"rare"},
	}})
	c := &Cluster{Name: "c", eng: eng, nodes: []NodeInfo{
		{Name: "cp", State: "running"}, {Name: "w1", State: "running"}, {Name: "w2", State: "running"}, {Name: "w3", State: "paused"},
	}}
	err := c.CopyImages(t.Context(), "w1", "dns", "shop", "rare")
	if err == nil || !strings.Contains(err.Error(), "put rare onto node w1: no other running node") {
		t.Errorf("error %v, want one for the image of the paused node", err)
	}
	if got := now().Images["w1"]; !slices.Equal(got, []string{"pause", "dns", "shop"}) {
		t.Errorf("w1 has %v", got)
	}
	if n := strings.Count(log(), "images import"); n != 2 {
		t.Errorf("%d imports, want one from cp and one from w2:\n%s", n, log())
	}

	eng, _, log = engineWith(t, world{Images: map[string][]string{"cp": {"pause", "dns", "shop"}, "w1": {}}})
	c.eng = eng
	if err := c.CopyImages(t.Context(), "w1", "pause", "dns", "shop"); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log(), "images import"); n != 1 || strings.Contains(log(), " w2 ") {
		t.Errorf("%d imports, want one, and w2 not asked:\n%s", n, log())
	}
	if err := c.CopyImages(t.Context(), "w1"); err != nil {
		t.Error(err)
	}
}
