package vm

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"

	"github.com/sickbay-dev/sickbay/internal/progress"
)

// Sickbay is the program in the guest.
const Sickbay = binDir + "/sickbay"

// runsDir is where the guest keeps what its runs report, a folder each.
const runsDir = "/var/lib/sickbay-runs"

// takePrograms is what the guest runs to get programs from its standard input into the folder that follows. A program that runs cannot
// be written over, but its name can be given to another.
const takePrograms = "tar --extract --unlink-first --directory "

// refresh gives the guest the programs as they are now, where they differ from what it has.
func (g *Guest) refresh(ctx context.Context, programs []Program) (err error) {
	sum, err := digest(programs)
	if err != nil || sum == g.s.Programs {
		return err
	}
	task := progress.From(ctx).Start("copy sickbay into the guest", 0)
	defer func() { task.End(err) }()
	c, err := g.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	r, w := io.Pipe()
	go func() {
		t := tar.NewWriter(w)
		w.CloseWithError(errors.Join(writePrograms(t, programs), t.Close()))
	}()
	defer r.Close()
	if err := c.Run(ctx, takePrograms+"/", Streams{In: r}); err != nil {
		return err
	}
	g.s.Programs = sum
	return g.s.save(g.o.guest())
}

// Call is one call of sickbay in the guest.
type Call struct {
	// Args are sickbay's, without the program's name. Report adds to them.
	Args []string
	// Report is the folder of this machine that receives what sickbay reports there; empty for none. "--report" and the guest's
	// folder are added to Args.
	Report string
	// Files are put, by name, below the folder that sickbay runs in.
	Files map[string][]byte
	Streams
}

// Sickbay runs sickbay in the guest and answers its exit code. What it wrote for people names this machine's folder, not the
// guest's. When ctx ends sickbay is interrupted there, and recovers before this returns. The report comes back in any case.
func (g *Guest) Sickbay(ctx context.Context, call Call) (code int, err error) {
	c, err := g.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	id := strconv.FormatInt(time.Now().UnixNano(), 36)
	dir := path.Join(runsDir, id)
	if _, err := c.Output(ctx, "mkdir -p "+dir); err != nil {
		return 0, err
	}
	if err := c.put(ctx, dir, call.Files); err != nil {
		return 0, err
	}
	words := append([]string{Sickbay}, call.Args...)
	if call.Report != "" {
		words = append(words, "--report", path.Join(dir, "report"))
	}
	for i := range words {
		words[i] = shellescape.Quote(words[i])
	}
	pidFile := path.Join(dir, "pid")
	line := fmt.Sprintf("cd %s && echo $$ > %s && exec %s", dir, pidFile, strings.Join(words, " "))

	streams := call.Streams
	if call.Report != "" {
		out := &renaming{w: streams.Out, from: path.Join(dir, "report"), to: call.Report}
		defer func() { err = errors.Join(err, out.flush()) }()
		streams.Out = out
	}
	// sickbay is what ends this, not our ctx: it is told, and then recovers.
	inner, giveUp := context.WithCancelCause(context.WithoutCancel(ctx))
	defer giveUp(nil)
	stop := context.AfterFunc(ctx, func() {
		// On a connection of its own: this one may be what hangs.
		tell, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.o.Timeouts.Dial+g.o.Timeouts.Ask)
		defer cancel()
		if c2, err := g.connect(tell); err == nil {
			_, _ = c2.Output(tell, fmt.Sprintf("kill -INT $(cat %s)", pidFile)) // it may just have ended
			c2.Close()
		}
		time.AfterFunc(g.o.Timeouts.Recover, func() {
			giveUp(fmt.Errorf("it was interrupted and did not end within %s", g.o.Timeouts.Recover))
		})
	})
	defer stop()
	err = c.Run(inner, line, streams)
	var exit *ExitError
	switch {
	case errors.As(err, &exit):
		code, err = exit.Code, nil
	case err != nil && !g.s.Alive():
		return 0, fmt.Errorf("the guest has ended meanwhile (its process %d is gone) and with it what ran there: `sickbay vm up` boots another, of the same disk: %w", g.s.PID, err)
	}
	if call.Report != "" {
		// On a context of its own: a run that was interrupted has a report, too.
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.o.Timeouts.Recover)
		defer cancel()
		err = errors.Join(err, g.fetch(back, path.Join(dir, "report"), call.Report))
	}
	return code, err
}

// put writes files below a folder of the guest's.
func (c *Conn) put(ctx context.Context, dir string, files map[string][]byte) error {
	if len(files) == 0 {
		return nil
	}
	var archive bytes.Buffer
	t := tar.NewWriter(&archive)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(files[name])), ModTime: time.Now()}); err != nil {
			return err
		}
		if _, err := t.Write(files[name]); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	if err := c.Run(ctx, "tar --extract --directory "+shellescape.Quote(dir), Streams{In: &archive}); err != nil {
		return fmt.Errorf("copy files into the guest: %w", err)
	}
	return nil
}

// fetch brings a folder of the guest's to this machine. One that is not there is no error: sickbay may have ended before it wrote.
func (g *Guest) fetch(ctx context.Context, from, to string) (err error) {
	c, err := g.connect(ctx)
	if err != nil {
		return fmt.Errorf("bring the report back: %w", err)
	}
	defer c.Close()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := c.Run(ctx, fmt.Sprintf("if [ -d %[1]s ]; then tar --create --directory %[1]s . ; fi", from), Streams{Out: w})
		w.CloseWithError(err) // io.EOF for the reader when it is nil
		done <- err
	}()
	uerr := unpack(r, to)
	if uerr != nil {
		_ = r.CloseWithError(uerr)
		c.Close() // whoever writes there waits for a reader that is gone
	}
	if rerr := <-done; uerr == nil {
		uerr = rerr
	}
	if uerr != nil {
		return fmt.Errorf("bring the report back from the guest (it is there in %s, `sickbay vm shell` leads to it): %w", from, uerr)
	}
	return nil
}

// unpack writes an archive's folders and files below dir. No name in it leads out of there, and nothing but folders and files is
// taken.
func unpack(r io.Reader, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			// tar pads its output; who writes must not find the pipe closed.
			_, err = io.Copy(io.Discard, r)
			return err
		}
		if err != nil {
			return err
		}
		name := filepath.FromSlash(path.Clean(h.Name))
		switch h.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(name, 0o755)
		case tar.TypeReg:
			if err = root.MkdirAll(filepath.Dir(name), 0o755); err == nil {
				err = unpackFile(root, name, h.FileInfo().Mode().Perm(), t)
			}
		}
		if err != nil {
			return err
		}
	}
}

func unpackFile(root *os.Root, name string, mode fs.FileMode, r io.Reader) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// Shell is the ssh command that leads into the guest, with words to run there or none for a shell: the user's own client, for a
// terminal of its own.
func (g *Guest) Shell(words []string) (*exec.Cmd, error) {
	client, err := exec.LookPath("ssh")
	if err != nil {
		return nil, fmt.Errorf("a shell in the guest needs the ssh client (on Debian or Ubuntu: apt-get install openssh-client): %w", err)
	}
	dir := g.o.guest()
	args := []string{"-F", "none", "-i", filepath.Join(dir, keyFile), "-p", strconv.Itoa(g.s.Port),
		"-o", "IdentitiesOnly=yes", "-o", "HostKeyAlias=" + alias, "-o", "UserKnownHostsFile=" + filepath.Join(dir, knownFile),
		"-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR"}
	if len(words) > 0 {
		q := make([]string, len(words))
		for i, w := range words {
			q[i] = shellescape.Quote(w)
		}
		args = append(args, "root@127.0.0.1", "PATH="+binDir+":$PATH "+strings.Join(q, " "))
	} else {
		args = append(args, "-t", "root@127.0.0.1", "PATH="+binDir+":$PATH exec bash -l")
	}
	return exec.Command(client, args...), nil
}
