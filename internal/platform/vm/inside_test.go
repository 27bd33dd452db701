package vm

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestRenaming(t *testing.T) {
	var out bytes.Buffer
	r := &renaming{w: &out, from: "/var/lib/sickbay-runs/1/report", to: "reports/today"}
	for _, p := range []string{"passed\nrepo", "rt: /var/lib/sick", "bay-runs/1/report/report.html\n", "the end, /var/lib/sickbay-runs/1/report"} {
		if n, err := r.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := r.flush(); err != nil {
		t.Fatal(err)
	}
	if want := "passed\nreport: reports/today/report.html\nthe end, reports/today"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// The guest's own tar takes a program, and another of the same name over it.
func TestTakePrograms(t *testing.T) {
	if out, err := exec.Command("tar", "--version").Output(); err != nil || !strings.Contains(string(out), "GNU tar") {
		t.Skip("this machine's tar is not the guest's")
	}
	dir := t.TempDir()
	file := filepath.Join(t.TempDir(), "program")
	for _, text := range []string{"old", "new"} {
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := errors.Join(writePrograms(w, []Program{{Name: "sickbay", File: file}}), w.Close()); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", takePrograms+dir)
		cmd.Stdin = &b
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got, err := os.ReadFile(filepath.Join(dir, Sickbay)); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// What a guest sends is somebody else's: only files and folders are taken, and only below the folder.
func TestUnpack(t *testing.T) {
	archive := func(headers ...tar.Header) *bytes.Buffer {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			h.Size = int64(len(h.Name))
			if h.Typeflag != tar.TypeReg {
				h.Size = 0
			}
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if h.Typeflag == tar.TypeReg {
				if _, err := w.Write([]byte(h.Name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return &b
	}
	top := t.TempDir()
	dir := filepath.Join(top, "report")
	err := unpack(archive(
		tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}, tar.Header{Typeflag: tar.TypeReg, Name: "./report.json", Mode: 0o644},
		tar.Header{Typeflag: tar.TypeReg, Name: "./bundle/nodes/one.json", Mode: 0o600},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "./link", Linkname: "/etc/passwd"},
	), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"report.json", "bundle/nodes/one.json"} {
		if b, err := os.ReadFile(filepath.Join(dir, f)); err != nil || string(b) != "./"+f {
			t.Errorf("%s: %q, %v", f, b, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "link")); err == nil {
		t.Error("a link was taken")
	}
	if err := unpack(archive(tar.Header{Typeflag: tar.TypeReg, Name: "../escaped", Mode: 0o644}), dir); err == nil {
		t.Error("a name that leads out was taken")
	}
	if _, err := os.Stat(filepath.Join(top, "escaped")); err == nil {
		t.Error("a file outside was written")
	}
	// sickbay may have ended before it wrote a report.
	if err := unpack(strings.NewReader(""), filepath.Join(top, "none")); err != nil {
		t.Errorf("nothing at all: %v", err)
	}
}

func TestPayload(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("ELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	k, err := newKeys()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, payloadFile)
	if err := writePayload(file, k, []Program{{Name: "sickbay", File: program}}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size()%512 != 0 {
		t.Errorf("%v, %v: it holds a key, and a disk consists of sectors", info.Mode(), err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := map[string]int64{}
	r := tar.NewReader(f)
	for h, err := r.Next(); err == nil; h, err = r.Next() {
		got[h.Name] = h.Mode
	}
	want := map[string]int64{"run/sickbay/": 0o755, "run/sickbay/authorized_keys": 0o600, "run/sickbay/ssh_host_ed25519_key": 0o600, "run/sickbay/ssh_host_ed25519_key.pub": 0o644, "opt/sickbay/bin/sickbay": 0o755}
	for name, mode := range want {
		if got[name] != mode {
			t.Errorf("%s has mode %o, want %o", name, got[name], mode)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v", got)
	}
	before, err := digest([]Program{{Name: "sickbay", File: program}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, []byte("ELF2"), 0o755); err != nil {
		t.Fatal(err)
	}
	if after, err := digest([]Program{{Name: "sickbay", File: program}}); err != nil || after == before {
		t.Errorf("another program has the same digest, %v", err)
	}
}

func TestKeys(t *testing.T) {
	a, err := newKeys()
	if err != nil {
		t.Fatal(err)
	}
	b, err := newKeys()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(a.clientPub, b.clientPub) || bytes.Equal(a.clientPub, a.hostPub) {
		t.Error("two guests have one key")
	}
	s, err := ssh.ParsePrivateKey(a.client)
	if err != nil || !bytes.Equal(ssh.MarshalAuthorizedKey(s.PublicKey()), a.clientPub) {
		t.Errorf("the two halves do not belong together: %v", err)
	}
	dir := t.TempDir()
	if err := a.save(dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, keyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: ssh refuses a key that others may read", info.Mode(), err)
	}
}

func TestPlainConsole(t *testing.T) {
	if got := plain("[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mssh.service\x1b[0m.\r\n"); got != "[  OK  ] Started ssh.service.\n" {
		t.Errorf("%q", got)
	}
}

func TestWatched(t *testing.T) {
	w := &watched{want: []byte("root fs"), seen: make(chan struct{})}
	for _, p := range []string{"Linux version\nUnable to mount ro", "ot fs on", " unknown"} {
		if _, err := w.Write([]byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-w.seen:
	default:
		t.Error("not seen across two writes")
	}
	if w.last() != "Unable to mount root fs on unknown" {
		t.Errorf("%q", w.last())
	}
}
