package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A node's words in an error do nothing to the terminal.
func TestErrorsArePlain(t *testing.T) {
	if got := message(errors.New("node n: \x1b]0;owned\x07\x1b[2J\u202e")); strings.ContainsAny(got, "\x1b\x07\u202e") || !strings.Contains(got, `\u001b]0;owned`) {
		t.Errorf("%q", got)
	}
}

func TestTrustCA(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, []byte("no certificate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"sha256:12", "sha256:" + strings.Repeat("x", 64), file, file + ".gone"} {
		if code, _, stderr := call(t, &fakeDeps{t: t}, "", "diagnose", "--local", "--trust-ca", word); code != exitUsage || !strings.Contains(stderr, "--trust-ca") {
			t.Errorf("%s: exit code %d: %s", word, code, stderr)
		}
	}
	sum := strings.Repeat("AB:", 31) + "AB"
	if got, err := trustedCAs([]string{"sha256:" + sum}); err != nil || got[0].SHA256 != strings.Repeat("ab", 32) {
		t.Errorf("%+v %v", got, err)
	}
}

// --script writes a new file for its owner alone, and never over another.
func TestDiagnoseScript(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fix.sh")
	bundle := recorded + "conflist-missing"
	if code, _, stderr := call(t, &fakeDeps{t: t}, "", "diagnose", "-q", "--bundle", bundle, "--script", file); code != exitNo {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o600 || st.Size() == 0 {
		t.Errorf("%v %v", st, err)
	}
	if code, _, stderr := call(t, &fakeDeps{t: t}, "", "diagnose", "-q", "--bundle", bundle, "--script", file); code != exitUsage || !strings.Contains(stderr, "file exists") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
