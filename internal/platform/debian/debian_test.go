package debian

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A process of its own, to be killed: it runs what it is told to as mmdebstrap is run.
func TestMain(m *testing.M) {
	if script := os.Getenv("RUN_AS_MMDEBSTRAP"); script != "" {
		_ = Run(context.Background(), nil, "sh", "-c", script)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Nothing but Debian's own archive feeds the root of a node, and only what Debian's keys signed.
func TestSources(t *testing.T) {
	keyring = filepath.Join(t.TempDir(), "keys.gpg")
	write(t, filepath.Dir(keyring), "keys.gpg", "")
	for name, tt := range map[string]struct {
		files map[string]string
		want  string // URIs and suites
	}{
		"Debian's container": {map[string]string{"sources.list.d/debian.sources": "Types: deb\n# http://snapshot.debian.org/archive/debian/20250520T000000Z\nURIs: http://deb.debian.org/debian\nSuites: bookworm bookworm-updates bookworm-backports\nComponents: main contrib\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\nTypes: deb\nURIs: http://deb.debian.org/debian-security\nSuites: bookworm-security\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"},
			"http://deb.debian.org/debian bookworm bookworm-updates; http://deb.debian.org/debian-security bookworm-security"},
		"a mirror in the older form": {map[string]string{"sources.list": "# deb http://x/debian bookworm main\ndeb [ arch=amd64 ] http://mirror.example/debian bookworm main # ours\ndeb-src http://mirror.example/debian bookworm main\n"},
			"http://mirror.example/debian bookworm"},
		"it trusts itself": {map[string]string{"sources.list.d/x.sources": "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\nTrusted: yes\n"},
			"http://mirror.example/debian bookworm"},
		"HashiCorp": {map[string]string{"sources.list.d/hashicorp.list": "deb [signed-by=/usr/share/keyrings/hashicorp-archive-keyring.gpg] https://apt.releases.hashicorp.com bookworm main\n"}, ""},
		"sury":      {map[string]string{"sources.list.d/php.list": "deb https://packages.sury.org/php/ bookworm main\n"}, ""},
		"Microsoft": {map[string]string{"sources.list.d/m.sources": "Types: deb\nURIs: https://packages.microsoft.com/debian/12/prod\nSuites: bookworm\nComponents: main\nSigned-By: /usr/share/keyrings/microsoft-prod.gpg\n"}, ""},
		"a key in the stanza": {map[string]string{"sources.list.d/m.sources": "Types: deb\nURIs: https://evil.example/debian\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n"},
			"https://evil.example/debian bookworm"}, // and what it serves is refused: Debian did not sign it
		"another release": {map[string]string{"sources.list": "deb http://deb.debian.org/debian trixie main\n"}, ""},
		"switched off":    {map[string]string{"sources.list.d/x.sources": "Enabled: no\nTypes: deb\nURIs: http://deb.debian.org/debian\nSuites: bookworm\nComponents: main\n"}, ""},
		"none":            {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range tt.files {
				write(t, dir, file, text)
			}
			got, err := sources(dir, "")
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, s := range stanzas(got) {
				if len(s) == 0 {
					continue
				}
				all = append(all, s["uris"]+" "+s["suites"])
				if s["signed-by"] != keyring || s["components"] != "main" || s["trusted"] != "" {
					t.Errorf("%v", s)
				}
			}
			if strings.Join(all, "; ") != tt.want {
				t.Errorf("got %q, want %q", strings.Join(all, "; "), tt.want)
			}
		})
	}
}

func TestSnapshot(t *testing.T) {
	got, err := sources(t.TempDir(), "20261101T000000Z")
	if err != nil || strings.Count(got, "/20261101T000000Z\n") != 2 || !strings.Contains(got, "bookworm-security") {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range []string{"yesterday", "20261101T000000Z/../../evil", "2026"} {
		if got, err := sources(t.TempDir(), bad); err == nil {
			t.Errorf("%q gives %s", bad, got)
		}
	}
	t.Setenv(SnapshotEnv, "")
	undated := Recipe()
	t.Setenv(SnapshotEnv, "20261101T000000Z")
	if Recipe() == undated {
		t.Error("a date makes no other image")
	}
}

// What a program mounts does not outlive it, nor is it seen here.
func TestRunMountsAlone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	dir := t.TempDir()
	if err := Run(t.Context(), nil, "sh", "-c", "mount -t tmpfs none "+dir+" && touch "+dir+"/inside && test -e "+dir+"/inside"); err != nil {
		t.Skip(err) // mounts are forbidden here altogether
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v, %v: the mount is seen outside", left, err)
	}
}

// Neither an end before its time nor a kill -9 of this program leaves a mount on the machine, or the program that made it.
func TestRunKilledMountsAlone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	for name, kill := range map[string]bool{"the context ends": false, "kill -9": true} {
		t.Run(name, func(t *testing.T) {
			dir, told := t.TempDir(), filepath.Join(t.TempDir(), "pid")
			// As mmdebstrap, which is busy in a child and has no time to unmount.
			script := "mount -t tmpfs none " + dir + " && touch " + dir + "/inside; echo $$ > " + told + "; exec sleep 600"
			ended := make(chan error, 1)
			var stop func()
			if kill {
				c := exec.CommandContext(t.Context(), os.Args[0])
				c.Env = append(os.Environ(), "RUN_AS_MMDEBSTRAP="+script)
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
				stop = func() { _ = c.Process.Kill() }
				go func() { ended <- c.Wait() }()
			} else {
				ctx, cancel := context.WithCancel(t.Context())
				stop = cancel
				go func() { ended <- Run(ctx, nil, "sh", "-c", script) }()
			}
			pid := await(t, func() string { raw, _ := os.ReadFile(told); return strings.TrimSpace(string(raw)) })
			stop()
			<-ended
			await(t, func() string {
				if raw, err := os.ReadFile("/proc/" + pid + "/stat"); err == nil && !strings.Contains(string(raw), ") Z ") {
					return ""
				}
				return "gone"
			})
			mounts, err := os.ReadFile("/proc/self/mountinfo")
			if err != nil || strings.Contains(string(mounts), dir) {
				t.Errorf("%v: the mount stays", err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
				t.Errorf("%v, %v: the mount is seen outside", left, err)
			}
		})
	}
}

// await waits for a word.
func await(t *testing.T, f func() string) string {
	t.Helper()
	for range 3000 {
		if s := f(); s != "" {
			return s
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it never came")
	return ""
}
