package agent

import (
	"os"
	"os/exec"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func packed(t *testing.T, text string) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll([]byte(text), nil)
}

func TestUnpack(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	one := packed(t, "#!/bin/sh\necho one\n")
	first, err := unpack(one, "agent")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(first).Output(); err != nil || string(out) != "one\n" {
		t.Errorf("%q, %v", out, err)
	}
	was, _ := os.Stat(first)
	again, err := unpack(one, "agent")
	if now, _ := os.Stat(again); err != nil || again != first || !os.SameFile(was, now) {
		t.Errorf("unpacked twice: %s and %s, %v", first, again, err)
	}
	if other, err := unpack(packed(t, "two"), "agent"); err != nil || other == first {
		t.Errorf("other content has the same file %s, %v", other, err)
	}
	if path, err := unpack(one[:len(one)/2], "agent"); err == nil {
		t.Errorf("half an agent was unpacked to %s", path)
	} else if left, _ := os.ReadDir(os.Getenv("XDG_CACHE_HOME") + "/sickbay/agents"); len(left) != 3 {
		t.Errorf("%d folders, not 3", len(left))
	}
}
