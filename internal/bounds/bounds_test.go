package bounds

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestJSON(t *testing.T) {
	object := `{"source":"kubelet","at":"2026-11-24T00:00:00Z","text":"a line"},`
	for name, c := range map[string]struct {
		raw  string
		much bool
	}{
		"lines":             {"[" + strings.Repeat(object, 50_000) + "{}]", false},
		"few empty ones":    {"[" + strings.Repeat("{},", 1000) + "{}]", false},
		"empty ones":        {"[" + strings.Repeat("{},", 200_000) + "{}]", true},
		"nulls":             {"[" + strings.Repeat("null,", 200_000) + "null]", true},
		"nested":            {strings.Repeat("[", 100) + strings.Repeat("]", 100), true},
		"nested objects":    {strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100), true},
		"brackets in texts": {`["` + strings.Repeat(`[{\"`, 100_000) + `"]`, false},
		"too many":          {"[" + strings.Repeat(object, maxObjects+1) + "{}]", true},
		"cut short":         {`[{"a":"\`, false},
	} {
		err := JSON([]byte(c.raw))
		if much := (*TooMuchError)(nil); errors.As(err, &much) != c.much {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(file, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadFile(file, 5); err != nil || string(b) != "12345" {
		t.Errorf("%q %v", b, err)
	}
	if _, err := ReadFile(file, 4); err == nil {
		t.Error("a file that is too large was read")
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := ReadFile(pipe, 5); err == nil { // and it does not wait
		t.Error("a pipe was read")
	}
	if _, err := ReadAll(strings.NewReader("12345"), 4); err == nil {
		t.Error("more than the bound was read")
	}
}
