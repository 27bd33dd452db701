package agent

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/klauspost/compress/zstd"
)

// BinaryEnv names an agent binary to use instead of looking for one.
const BinaryEnv = "SICKBAY_AGENT"

// Binary finds the agent for a node's architecture (GOARCH): $SICKBAY_AGENT, embedded in this program, or beside it. It is run on nodes
// as root, so it is taken from nowhere else: the working directory, and what is above it, may be anybody's.
func Binary(arch string) (string, error) {
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
	return "", fmt.Errorf("no agent for linux/%s: this sickbay was built without it, and %s is not beside it; use the program that `make build` makes, or name an agent with %s", arch, name, BinaryEnv)
}

// unpack writes an embedded agent to the user's cache, once for each content. Only a complete file gets its name, so that two
// processes may do it at the same time.
func unpack(packed []byte, name string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil || !mine(cache) {
		cache = "/var/cache" // without HOME, as a service of systemd; or `sudo -E`, with another user's HOME
	}
	sum := sha256.Sum256(packed)
	dir := filepath.Join(cache, "sickbay", "agents", hex.EncodeToString(sum[:])[:12])
	path := filepath.Join(dir, name)
	if isFile(path) && mine(path) {
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

// mine tells whether nobody but this user, or root, can change a file or folder, or what is to become it.
func mine(p string) bool {
	var st syscall.Stat_t
	for err := syscall.Stat(p, &st); err != nil; err = syscall.Stat(p, &st) {
		if p == filepath.Dir(p) {
			return false
		}
		p = filepath.Dir(p)
	}
	return (int(st.Uid) == os.Geteuid() || st.Uid == 0) && st.Mode&0o022 == 0
}
