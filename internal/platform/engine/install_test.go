package engine

import (
	"os"
	"testing"

	"github.com/sickbay-dev/sickbay/internal/platform/apt"
)

// TestInstallLive really installs, on a machine that has nothing. It changes that machine, so that it has to be asked for:
//
//	SICKBAY_TEST_INSTALL=1 go test ./engine -run TestInstallLive
func TestInstallLive(t *testing.T) {
	if os.Getenv("SICKBAY_TEST_INSTALL") == "" {
		t.Skip("SICKBAY_TEST_INSTALL is not set")
	}
	opts := Options{OwnOnly: true}.withDefaults()
	d, err := Find(t.Context(), opts)
	if err != nil || d.Plan != InstallAndStart {
		t.Fatalf("%s, %v", d, err)
	}
	t.Log(d)
	if err := apt.Provide(t.Context(), opts.Timeouts.Install, true, "a container engine", "", d.Packages...); err != nil {
		t.Fatal(err)
	}
	if d, err = Find(t.Context(), opts); err != nil || d.Plan != StartPrivate {
		t.Fatalf("%s, %v", d, err)
	}
}
