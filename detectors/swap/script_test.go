package swap

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestDropFromFstab(t *testing.T) {
	dir := t.TempDir()
	device, link := filepath.Join(dir, "sdb2"), filepath.Join(dir, "by-label")
	if err := os.WriteFile(device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(device, link); err != nil {
		t.Fatal(err)
	}
	const root = "UUID=0a / ext4 defaults 0 1\n"
	for in, want := range map[string]string{
		root + device + "\tnone\tswap\tsw 0 0\n":                                root,
		root + "# swap was on /x\n" + link + " none swap sw,pri=1 0 0\n":        root + "# swap was on /x\n",
		root + "  " + device + " none swap defaults\n/other none swap sw 0 0\n": root + "/other none swap sw 0 0\n",
		root + "#" + device + " none swap sw 0 0\n":                             root + "#" + device + " none swap sw 0 0\n",
		"UUID=nobody-has-this none swap sw 0 0\n":                               "UUID=nobody-has-this none swap sw 0 0\n",
		device + ".old none swap sw 0 0\n" + device + " /mnt ext4 ro 0 0\n":     device + ".old none swap sw 0 0\n" + device + " /mnt ext4 ro 0 0\n",
		"": "",
	} {
		if got, why := detectorstest.Edit(t, in, "", func(file string) v1alpha1.Step { return dropFromFstab("n", file, device) }); got != want || why != "" {
			t.Errorf("%q became %q, not %q %s", in, got, want, why)
		}
	}
}
