package cni

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/internal/facts"
)

// A restored address is as young as one whose sandbox is being made; only the latter is known to the runtime a moment later.
func TestReleaseAddresses(t *testing.T) {
	for _, c := range []struct {
		name  string
		young []string
		left  []string
		takes time.Duration
	}{
		{name: "all are old", left: []string{"10.244.1.2", "last_reserved_ip.0"}},
		{name: "one was restored just now, and a sandbox is being made", young: []string{"10.244.1.4", "10.244.1.5"}, left: []string{"10.244.1.2", "10.244.1.5", "last_reserved_ip.0"}, takes: time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, bin := t.TempDir(), t.TempDir()
			for name, id := range map[string]string{"10.244.1.2": "runs", "10.244.1.3": "gone", "10.244.1.4": "restored", "10.244.1.5": "made", "last_reserved_ip.0": "10.244.1.5"} {
				f := filepath.Join(dir, name)
				if err := os.WriteFile(f, []byte(id+"\r\neth0"), 0o600); err != nil {
					t.Fatal(err)
				}
				if !slices.Contains(c.young, name) {
					if err := os.Chtimes(f, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
						t.Fatal(err)
					}
				}
			}
			// It knows the sandbox that is being made from the second question on.
			ctr := "#!/bin/sh\necho runs\nif [ -e \"$0.asked\" ]; then echo made; fi\n: > \"$0.asked\"\n"
			if err := os.WriteFile(filepath.Join(bin, "crictl"), []byte(ctr), 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("sh", releaseAddresses("n", "w", dir, 1, facts.RuntimeOf{CLI: []string{"crictl"}}, "").Exec[1:]...)
			cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
			began := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if took := time.Since(began); took < c.takes {
				t.Errorf("it did not look twice: %s", took)
			}
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			var left []string
			for _, e := range entries {
				left = append(left, e.Name())
			}
			if !slices.Equal(left, c.left) {
				t.Errorf("left %v, want %v", left, c.left)
			}
		})
	}
}

// Where the runtime does not answer, nothing is known of any container, and nothing is removed.
func TestReleaseAddressesNeedsTheRuntime(t *testing.T) {
	dir, bin := t.TempDir(), t.TempDir()
	f := filepath.Join(dir, "10.244.1.2")
	if err := os.WriteFile(f, []byte("runs\r\neth0"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, ctr := range []string{"#!/bin/sh\nexit 1\n", "#!/bin/sh\n"} {
		if err := os.WriteFile(filepath.Join(bin, "crictl"), []byte(ctr), 0o700); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", releaseAddresses("n", "w", dir, 1, facts.RuntimeOf{CLI: []string{"crictl"}}, "").Exec[1:]...)
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("it ended well: %s", out)
		}
		if _, err := os.Stat(f); err != nil {
			t.Error(err)
		}
	}
}
