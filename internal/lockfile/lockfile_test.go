package lockfile

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
)

func TestLockIsTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Wait(t.Context(), path, "another")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*poll)
	defer cancel()
	if _, err := Wait(ctx, path, "another"); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("taken twice: %v", err)
	}
	unlock()
	if unlock, err = Wait(t.Context(), path, "another"); err != nil {
		t.Fatal(err)
	}
	unlock()
}
