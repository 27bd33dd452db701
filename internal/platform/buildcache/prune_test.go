package buildcache

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSurplus(t *testing.T) {
	day := func(n int) time.Time { return time.Unix(int64(n)*86400, 0) }
	all := []Kept{
		{Name: "new", Bytes: 40, Used: day(9)},
		{Name: "half", Bytes: 5, Used: day(8), Half: true},
		{Name: "old", Bytes: 30, Used: day(1)},
		{Name: "older", Bytes: 20, Used: day(0)},
	}
	none := func(string) bool { return false }
	for _, c := range []struct {
		name   string
		limit  int64
		needed func(string) bool
		want   []string
	}{
		{"room for all", 100, none, []string{"half"}},
		{"exactly enough", 90, none, []string{"half"}},
		{"the oldest goes first", 89, none, []string{"half", "older"}},
		{"no more than must", 45, none, []string{"half", "older", "old"}},
		{"nothing may stay", 0, none, []string{"half", "older", "old", "new"}},
		{"what is needed stays, whatever the limit", 0, func(n string) bool { return n == "older" || n == "half" }, []string{"old", "new"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, k := range Surplus(all, c.limit, c.needed) {
				got = append(got, k.Name)
			}
			if len(got) != len(c.want) {
				t.Fatalf("removes %v, want %v", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Fatalf("removes %v, want %v", got, c.want)
				}
			}
		})
	}
}

func TestListAndRemove(t *testing.T) {
	c := newCache(t)
	if all, err := c.List(); err != nil || len(all) != 0 {
		t.Fatalf("without a cache: %v, %v", all, err)
	}
	p := Part{Name: "disk", Key: Hash("disk")}
	write(t, c.Path(p), "file", "some bytes")
	write(t, filepath.Join(c.Dir, "parts", making+"disk-1"), "file", "x")
	// A sparse file counts for what was written into it.
	f, err := os.Create(filepath.Join(c.Path(p), "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1 << 30); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(c.Dir, "parts", making+"disk-1"), long, long); err != nil {
		t.Fatal(err)
	}
	if err := c.Touch(p); err != nil {
		t.Fatal(err)
	}
	all, err := c.List()
	if err != nil || len(all) != 2 {
		t.Fatalf("%v, %v", all, err)
	}
	if !all[0].Half || all[1].Half || all[1].Name != filepath.Base(c.Path(p)) {
		t.Errorf("the half-made one is not told apart: %+v", all)
	}
	if all[1].Bytes <= 0 || all[1].Bytes > 1<<20 {
		t.Errorf("%d bytes for a few and a sparse gigabyte", all[1].Bytes)
	}
	for _, k := range all {
		if err := c.Remove(k.Name); err != nil {
			t.Error(err)
		}
	}
	if c.Has(p) {
		t.Error("it is still there")
	}
	if err := c.Touch(p); err == nil {
		t.Error("a part that is not there can be touched")
	}
}
