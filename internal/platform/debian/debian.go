// Package debian makes root file systems of Debian packages, from Debian's own archive and nobody else's.
package debian

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"al.essio.dev/pkg/shellescape"

	"github.com/sickbay-dev/sickbay/internal/process"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// Suite is Debian 12: its systemd still runs on cgroup v1 hosts, which later ones refuse.
const Suite = "bookworm"

// SnapshotEnv dates the packages: those that Debian had at that time are taken, from snapshot.debian.org.
const SnapshotEnv = "SICKBAY_DEBIAN_SNAPSHOT"

//go:embed debian.go
var recipe string

// Recipe is what decides about a root file system beside its options: this file, and the date that is asked for.
func Recipe() string { return recipe + os.Getenv(SnapshotEnv) }

// Options say what to make.
type Options struct {
	Format string // "tar" or "directory"
	Target string
	Arch   string
	// Packages beside the smallest set, and paths that none of them may install.
	Packages, Trimmed []string
	// Hooks are further options of mmdebstrap.
	Hooks []string
	// List is a file for the name, version and architecture of each package that was taken: the archive serves whatever is newest.
	List string
	// Epoch is the date of every file, in seconds; 0 for what it is.
	Epoch int64
}

// Bootstrap makes it.
func Bootstrap(ctx context.Context, o Options) error {
	sources, err := sources("/etc/apt", os.Getenv(SnapshotEnv))
	if err != nil {
		return err
	}
	args := []string{"--mode=root", "--variant=minbase", "--format=" + o.Format, "--architectures=" + o.Arch,
		`--aptopt=Acquire::Languages "none"`, `--aptopt=APT::Install-Recommends "false"`}
	for _, t := range o.Trimmed {
		args = append(args, "--dpkgopt=path-exclude="+t)
	}
	args = append(args, "--include="+strings.Join(o.Packages, ","),
		`--customize-hook=chroot "$1" dpkg-query -W -f '${Package} ${Version} ${Architecture}\n' > `+shellescape.Quote(o.List))
	args = append(append(args, o.Hooks...), Suite, o.Target)
	// Without a list mmdebstrap takes the suite with its updates and its security fixes from Debian's own archive.
	if sources != "" {
		f, err := os.CreateTemp("", "sickbay-*.sources")
		if err != nil {
			return fmt.Errorf("preparing a root file system: %w", err)
		}
		defer os.Remove(f.Name())
		_, err = f.WriteString(sources)
		if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
			return fmt.Errorf("preparing a root file system: %w", err)
		}
		args = append(args, f.Name())
	}
	var env []string
	if o.Epoch != 0 {
		env = append(env, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", o.Epoch))
	}
	return Run(ctx, env, "mmdebstrap", args...)
}

// politely is how long a program that was told to end may take before it is killed: it tidies up first.
const politely = 10 * time.Second

// Run runs a program of this machine with more variables; the error carries what it said last. As root it gets a mount namespace of its
// own: what it mounts (mmdebstrap /proc, /sys and /dev) goes with it, also when it or this process is killed.
func Run(ctx context.Context, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(append(os.Environ(), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin"), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = politely
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	process.Leash(cmd, syscall.SIGTERM)
	// The leash is the thread's: the kernel pulls it when the thread ends that started the program.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", name, context.Cause(ctx))
		}
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, text.Tail(out.String(), 15))
	}
	return nil
}

// keyring has the keys of Debian's archive. Whatever a source of this machine says of itself, only what they signed is taken.
var keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// sources answers this machine's own sources of the suite, since only those may be reachable from it (a mirror), less those that
// others sign; empty where it has none, as on Ubuntu. With a date they are the snapshot of that.
func sources(etcApt, snapshot string) (string, error) {
	var b strings.Builder
	stanza := func(uris, suites, more string) {
		fmt.Fprintf(&b, "Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n%s\n", uris, suites, keyring, more)
	}
	if snapshot != "" {
		if !snapshotForm.MatchString(snapshot) {
			return "", fmt.Errorf("%s is %q: give a date like 20261101T000000Z", SnapshotEnv, snapshot)
		}
		// What is dated has expired.
		stanza("http://snapshot.debian.org/archive/debian/"+snapshot, Suite+" "+Suite+"-updates", "Check-Valid-Until: no\n")
		stanza("http://snapshot.debian.org/archive/debian-security/"+snapshot, Suite+"-security", "Check-Valid-Until: no\n")
		return b.String(), nil
	}
	if _, err := os.Stat(keyring); err != nil {
		return "", nil // then mmdebstrap has its own
	}
	var found []map[string]string
	for _, pattern := range []string{"sources.list", "sources.list.d/*.list", "sources.list.d/*.sources"} {
		files, err := filepath.Glob(filepath.Join(etcApt, pattern))
		if err != nil {
			return "", fmt.Errorf("reading package sources: %w", err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				return "", fmt.Errorf("reading package sources: %w", err)
			}
			if strings.HasSuffix(f, ".sources") {
				found = append(found, stanzas(string(data))...)
			} else {
				found = append(found, lines(string(data))...)
			}
		}
	}
	for _, s := range found {
		suites := slices.DeleteFunc(strings.Fields(s["suites"]), func(s string) bool {
			return s != Suite && s != Suite+"-updates" && s != Suite+"-security" && s != Suite+"/updates"
		})
		if len(suites) > 0 && slices.Contains(strings.Fields(s["types"]), "deb") && slices.Contains(strings.Fields(s["components"]), "main") &&
			!strings.EqualFold(s["enabled"], "no") && debians(s["uris"], s["signed-by"]) {
			stanza(s["uris"], strings.Join(suites, " "), "")
		}
	}
	return b.String(), nil
}

var snapshotForm = regexp.MustCompile(`^\d{8}T\d{6}Z$`)

// debians tells whether a source is Debian's: signed by its keys, or where nothing is said of keys, named as its mirrors are. Other
// vendors name their suites after Debian's too.
func debians(uris, signed string) bool {
	if signed != "" {
		return strings.HasPrefix(filepath.Base(signed), "debian-archive-")
	}
	return uris != "" && !slices.ContainsFunc(strings.Fields(uris), func(uri string) bool {
		base := filepath.Base(strings.TrimRight(uri, "/"))
		return base != "debian" && base != "debian-security"
	})
}

// stanzas reads the newer form, by names in lower case.
func stanzas(data string) []map[string]string {
	var out []map[string]string
	for stanza := range strings.SplitSeq(strings.ReplaceAll(data, "\r", ""), "\n\n") {
		s := map[string]string{}
		for line := range strings.Lines(stanza) {
			if k, v, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, " ") {
				s[strings.ToLower(strings.TrimSpace(k))] = strings.TrimSpace(v)
			}
		}
		out = append(out, s)
	}
	return out
}

var oneLine = regexp.MustCompile(`(?m)^\s*deb\s+(?:\[([^\]\n]*)\]\s*)?(\S+)\s+(\S+)\s+([^#\n]+)`)

// lines reads the older form.
func lines(data string) []map[string]string {
	var out []map[string]string
	for _, m := range oneLine.FindAllStringSubmatch(data, -1) {
		s := map[string]string{"types": "deb", "uris": m[2], "suites": m[3], "components": m[4]}
		for _, o := range strings.Fields(m[1]) {
			if v, ok := strings.CutPrefix(o, "signed-by="); ok {
				s["signed-by"] = v
			}
		}
		out = append(out, s)
	}
	return out
}
