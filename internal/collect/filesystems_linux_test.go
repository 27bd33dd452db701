package collect

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// On a disk that everything is on there are many entries: the largest file stays on the list, and so does the directory of many
// empty ones.
func TestLargest(t *testing.T) {
	uses := []v1alpha1.PathUse{{Path: "/core", Bytes: 1 << 40, Files: 1}, {Path: "/sessions", Files: 1e6}}
	for i := range int64(40) {
		uses = append(uses, v1alpha1.PathUse{Path: fmt.Sprint("/", i), Bytes: 100 + i, Files: 100 + i})
	}
	top := largest(uses)
	for _, want := range uses[:2] {
		if !slices.Contains(top, want) {
			t.Errorf("%s is missing: %v", want.Path, top)
		}
	}
	if top[0].Path != "/core" || len(top) != maxUsers+1 {
		t.Errorf("%v", top)
	}
}

// What lies beside CRI-O's storage is looked for as well, and the storage itself is not counted twice.
func TestBesideCRIOsStorage(t *testing.T) {
	l := at(t, tree(t, map[string]string{"/var/lib/containers/fill": "x", "/var/lib/containers/storage/overlay/a": "x", "/run/": "", "/tmp/": ""}))
	l.table = parseMounts("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n")
	set := settingsOf("cri-o")
	set.name = "cri-o"
	f := v1alpha1.Filesystem{MajorMinor: "8:1", Bytes: 100, BytesFree: 1}
	l.put(func(o *v1alpha1.Observation) { o.Filesystems = []v1alpha1.Filesystem{f} })
	must(t, l.topUsers(t.Context(), []v1alpha1.Filesystem{f}, set.walked(l.kubeletRoot())))
	var got []string
	for _, u := range l.obs.Filesystems[0].TopUsers {
		got = append(got, u.Path)
	}
	slices.Sort(got)
	if want := []string{"/var/lib/containers/fill", "/var/lib/containers/storage/overlay"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
