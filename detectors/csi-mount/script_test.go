package csimount

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

// Only ext is repaired, and only where nothing else is: an older filesystem's backup superblocks may be left below a living one.
func TestRepair(t *testing.T) {
	for _, tool := range []string{"mke2fs", "e2fsck", "blkid", "findmnt", "losetup"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	for _, c := range []struct {
		name    string
		over    string // what is written over the filesystem, at
		at      int64
		ext     bool // what the volume's type says
		refused string
	}{
		{"the first superblock is gone", strings.Repeat("\x00", 1024), 1024, true, ""},
		{"the first superblock is gone, of a volume without a type", strings.Repeat("\x00", 1024), 1024, false, "type is not told"},
		{"what blkid does not know lies over it", strings.Repeat("sickbay!", 1<<20), 0, true, "too much"},
		{"it is encrypted", "LUKS\xba\xbe\x00\x01aes" + strings.Repeat("\x00", 8192), 0, true, "only ext is repaired"},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "vol.img")
			if out, err := exec.CommandContext(t.Context(), "mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", image, "16M").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			f, err := os.OpenFile(image, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteAt([]byte(c.over), c.at)
			if err != nil || f.Close() != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(image)
			out, err := detectorstest.Script(t, elsewhere(repair("n", "w", image, c.ext).Exec, "/var/tmp", t.TempDir()), "")
			after, _ := os.ReadFile(image)
			if c.refused == "" && (err != nil || exec.CommandContext(t.Context(), "e2fsck", "-f", "-n", image).Run() != nil) {
				t.Errorf("not repaired: %v: %.500s", err, out)
			}
			if c.refused != "" && (err == nil || !strings.Contains(out, c.refused) || string(before) != string(after)) {
				t.Errorf("want %q and nothing written: %v: %.500s", c.refused, err, out)
			}
		})
	}
}

func elsewhere(argv []string, was, is string) []string {
	out := slices.Clone(argv)
	out[slices.Index(out, was)] = is
	return out
}
