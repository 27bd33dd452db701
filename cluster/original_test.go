package cluster

import (
	"archive/tar"
	"bytes"
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
