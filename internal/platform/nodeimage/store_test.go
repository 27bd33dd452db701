package nodeimage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestContentStore: the daemon is waited for, gets the whole layout, and has ended when stop returns. The programs are scripts.
func TestContentStore(t *testing.T) {
	const daemon = "#!/bin/sh\ntrap 'echo ended >> %/log; exit 0' TERM\ntouch %/up\nwhile :; do sleep 0.05; done\n"
	const ctr = "#!/bin/sh\n[ -e %/up ] || exit 1\ncase \"$*\" in *import*) tar -t >> %/log;; *list*) echo a:1;; esac\n"
	for name, c := range map[string]struct{ daemon, ctr, wanted, startErr, loadErr string }{
		"well":            {daemon: daemon, ctr: ctr, wanted: "a:1"},
		"a missing image": {daemon: daemon, ctr: ctr, wanted: "b:2", loadErr: "b:2 is not in the store, only a:1"},
		"no space":        {daemon: daemon, ctr: strings.Replace(ctr, "tar -t >> %/log", "echo no space >&2; exit 1", 1), wanted: "a:1", loadErr: "no space"},
		"an early end":    {daemon: "#!/bin/sh\necho bad config; exit 3\n", ctr: ctr, startErr: "bad config"},
	} {
		t.Run(name, func(t *testing.T) {
			bin, layout := t.TempDir(), t.TempDir()
			for file, text := range map[string]string{"containerd": c.daemon, "ctr": c.ctr} {
				if err := os.WriteFile(filepath.Join(bin, file), []byte(strings.ReplaceAll(text, "%", bin)), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(layout, "index.json"), make([]byte, 1<<20), 0o644); err != nil {
				t.Fatal(err)
			}
			s, err := startStore(t.Context(), bin, t.TempDir(), 3)
			if !fails(t, err, c.startErr) {
				return
			}
			fails(t, s.load(t.Context(), layout, []component{{Names: []string{c.wanted}}}), c.loadErr)
			s.stop()
			s.stop()
			log, _ := os.ReadFile(filepath.Join(bin, "log"))
			want := "index.json\nended\n"
			if strings.Contains(c.loadErr, "space") {
				want = "ended\n"
			}
			if string(log) != want {
				t.Errorf("log %q, want %q", log, want)
			}
		})
	}
}

// fails checks an error for a text, and answers whether there was none, as wanted.
func fails(t *testing.T, err error, with string) bool {
	t.Helper()
	switch {
	case with == "" && err != nil:
		t.Fatal(err)
	case with != "" && (err == nil || !strings.Contains(err.Error(), with)):
		t.Fatalf("error %v, want one with %q", err, with)
	}
	return with == ""
}
