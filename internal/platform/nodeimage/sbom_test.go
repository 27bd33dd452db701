package nodeimage

import (
	"runtime/debug"
	"slices"
	"testing"
)

func TestSBOM(t *testing.T) {
	deb := debianComponents("libc6 2.36-9+deb12u10 amd64\nbash 5.2.15-2+b8 amd64\n\n")
	if len(deb) != 2 || deb[0] != (bomComponent{"library", "libc6", "2.36-9+deb12u10", "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12"}) {
		t.Errorf("%+v", deb)
	}
	got := goComponents(&debug.BuildInfo{GoVersion: "go1.26.8", Deps: []*debug.Module{
		{Path: "sigs.k8s.io/kind", Version: "v0.33.0"}, {Path: "a", Version: "v1", Replace: &debug.Module{Path: "b", Version: "v2.0.0+incompatible"}}}})
	want := []bomComponent{{"library", "stdlib", "1.26.8", "pkg:golang/stdlib@1.26.8"}, {"library", "sigs.k8s.io/kind", "v0.33.0", "pkg:golang/sigs.k8s.io/kind@v0.33.0"},
		{"library", "b", "v2.0.0+incompatible", "pkg:golang/b@v2.0.0%2Bincompatible"}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}
