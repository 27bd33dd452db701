package agent

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// BinaryEnv names an agent binary to use instead of looking for one.
const BinaryEnv = "SICKBAY_AGENT"

const module = "module github.com/sickbay-dev/sickbay\n"

// Binary finds the agent for a node's architecture (GOARCH): $SICKBAY_AGENT, embedded in this program, beside it, else built from the
// source tree.
func Binary(ctx context.Context, arch string) (string, error) {
	if p := os.Getenv(BinaryEnv); p != "" {
		if _, err := os.Stat(p); err != nil {
			return "", fmt.Errorf("$%s: %w", BinaryEnv, err)
		}
		return p, nil
	}
	name := "sickbay-agent-linux-" + arch
	if packed, err := embedded.ReadFile("embedded/" + name + ".zst"); err == nil {
		return unpack(packed, name)
	}
	if exe, err := os.Executable(); err == nil {
		if p := filepath.Join(filepath.Dir(exe), name); isFile(p) {
			return p, nil
		}
	}
	root, ok := sourceRoot()
	if !ok {
		return "", fmt.Errorf("no agent for linux/%s: this sickbay was built without it, %s is not beside it, and this is not its source tree; run `make build` there, or name one with %s", arch, name, BinaryEnv)
	}
	out := filepath.Join(root, "bin", name)
	if os.Getenv("SICKBAY_E2E") != "" && isFile(out) {
		return out, nil // make has just built it
	}
	// The source tree may have changed since: go build costs 0.3 s when it has not.
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "./cmd/sickbay-agent")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if b, err := cmd.CombinedOutput(); err != nil {
		if isFile(out) {
			return out, nil
		}
		return "", fmt.Errorf("build the agent for linux/%s in %s: %w\n%s", arch, root, err, strings.TrimSpace(string(b)))
	}
	return out, nil
}

// unpack writes an embedded agent to the user's cache, once for each content. Only a complete file gets its name, so that two
// processes may do it at the same time.
func unpack(packed []byte, name string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "/var/cache" // without HOME: a service of systemd, as root
	}
	sum := sha256.Sum256(packed)
	dir := filepath.Join(cache, "sickbay", "agents", hex.EncodeToString(sum[:])[:12])
	path := filepath.Join(dir, name)
	if isFile(path) {
		return path, nil
	}
	r, err := zstd.NewReader(bytes.NewReader(packed))
	if err != nil {
		return "", fmt.Errorf("unpack %s: %w", name, err)
	}
	defer r.Close()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("unpack %s: %w", name, err)
	}
	f, err := os.CreateTemp(dir, name+".*")
	if err != nil {
		return "", fmt.Errorf("unpack %s: %w", name, err)
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, r)
	err = cmp.Or(err, f.Chmod(0o755), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return "", fmt.Errorf("unpack %s: %w", name, err)
	}
	return path, nil
}

func isFile(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.Mode().IsRegular()
}

// sourceRoot is the module's root at or above the working directory, or beside the program's bin/.
func sourceRoot() (string, bool) {
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, dir := range starts {
		for {
			if b, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && strings.HasPrefix(string(b), module) {
				return dir, true
			}
			up := filepath.Dir(dir)
			if up == dir {
				break
			}
			dir = up
		}
	}
	return "", false
}
