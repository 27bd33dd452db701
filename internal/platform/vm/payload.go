package vm

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Program is a file of this machine that the guest gets into binDir.
type Program struct {
	Name string // there
	File string // here
}

// binDir is where the guest has sickbay and its agent.
const binDir = "/opt/sickbay/bin"

// writePayload writes the archive that the guest unpacks at its root while it boots.
func writePayload(file string, k keys, programs []Program) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // it holds a private key
	if err != nil {
		return fmt.Errorf("write what the guest gets: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := tar.NewWriter(f)
	small := func(name string, mode int64, data []byte) error {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data)), ModTime: time.Now()}); err != nil {
			return err
		}
		_, err := w.Write(data)
		return err
	}
	err = errors.Join(
		w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "run/sickbay/", Mode: 0o755, ModTime: time.Now()}),
		small("run/sickbay/authorized_keys", 0o600, k.clientPub),
		small("run/sickbay/ssh_host_ed25519_key", 0o600, k.host),
		small("run/sickbay/ssh_host_ed25519_key.pub", 0o644, k.hostPub),
		writePrograms(w, programs),
		w.Close(),
	)
	if err != nil {
		return fmt.Errorf("write what the guest gets: %w", err)
	}
	return nil
}

func writePrograms(w *tar.Writer, programs []Program) error {
	for _, p := range programs {
		if err := writeProgram(w, p); err != nil {
			return err
		}
	}
	return nil
}

func writeProgram(w *tar.Writer, p Program) error {
	f, err := os.Open(p.File)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: filepath.Join(binDir, p.Name)[1:], Mode: 0o755, Size: info.Size(), ModTime: info.ModTime()}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}

// digest tells whether the guest has the programs as they are now.
func digest(programs []Program) (string, error) {
	h := sha256.New()
	for _, p := range slices.SortedFunc(slices.Values(programs), func(a, b Program) int { return len(a.Name) - len(b.Name) }) {
		f, err := os.Open(p.File)
		if err != nil {
			return "", fmt.Errorf("read what the guest gets: %w", err)
		}
		fmt.Fprintf(h, "%s\n", p.Name)
		_, err = io.Copy(h, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return "", fmt.Errorf("read what the guest gets: %w", err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
