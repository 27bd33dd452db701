package vm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sickbay-dev/sickbay/internal/process"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// running is a guest whose QEMU this process has started.
type running struct {
	dir   string
	port  int
	id    process.ID
	ended chan error // QEMU's end
}

// bootTries is how often a guest is started anew because its port was taken between our look and QEMU's.
const bootTries = 3

// start starts QEMU on the machine, whose port and console it fills in, for the guest of a folder. lasting is for one that outlives
// this process.
func start(m machine, dir string, lasting bool) (*running, error) {
	m.Console = filepath.Join(dir, consoleFile)
	for try := 1; ; try++ {
		r, err := startOnce(m, dir, lasting)
		if err == nil || try == bootTries || !strings.Contains(err.Error(), "host forwarding rule") {
			return r, err
		}
	}
}

func startOnce(m machine, dir string, lasting bool) (*running, error) {
	var err error
	if m.Port, err = freePort(); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(dir, qemuLog), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start the guest: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(qemu, m.arguments()...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	if lasting {
		process.Detach(cmd)
	} else {
		process.Leash(cmd, syscall.SIGKILL)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the guest: %w", err)
	}
	r := &running{dir: dir, port: m.Port, ended: make(chan error, 1)}
	go func() { r.ended <- cmd.Wait() }()
	if r.id, err = process.Of(cmd.Process.Pid); err != nil {
		_ = cmd.Process.Kill()
		<-r.ended
		return nil, r.died(err)
	}
	// What is wrong with its arguments, or its port, QEMU says within some milliseconds.
	select {
	case err := <-r.ended:
		return nil, r.died(err)
	case <-time.After(300 * time.Millisecond):
		return r, nil
	}
}

// died is the error of a guest whose QEMU has ended unasked.
func (r *running) died(err error) error {
	said, _ := os.ReadFile(filepath.Join(r.dir, qemuLog))
	text := text.Tail(string(said), 4)
	if console := lastWords(r.dir, 4); console != "" {
		text += "\nthe guest's last words: " + console
	}
	if err == nil {
		err = errors.New("it ended by itself")
	}
	return fmt.Errorf("%s: %w: %s", qemu, err, text)
}

// stop ends the guest at once.
func (r *running) stop(bound time.Duration) error {
	return r.id.End(context.Background(), true, bound)
}

// freePort asks the kernel for a port of 127.0.0.1.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("look for a port of 127.0.0.1 for the guest: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

// dialPoll is how often a guest that boots is tried.
const dialPoll = time.Second

// wait waits until the guest's ssh answers with its own key.
func (r *running) wait(asked context.Context, o Options, task progress.Task) (*Conn, error) {
	ctx, cancel := context.WithTimeoutCause(asked, o.Timeouts.Boot, fmt.Errorf("not within %s", o.Timeouts.Boot))
	defer cancel()
	for {
		c, err := dial(ctx, r.dir, r.port, o.Timeouts)
		if err == nil {
			return c, nil
		}
		if last := lastWords(r.dir, 1); last != "" {
			task.Detail("%s", last)
		}
		select {
		case <-ctx.Done():
			if asked.Err() != nil {
				return nil, context.Cause(asked) // Ctrl-C: nobody asks for the guest's last words
			}
			return nil, fmt.Errorf("wait for the guest to boot: %w: %w\nthe guest's last words: %s", context.Cause(ctx), err, lastWords(r.dir, 4))
		case qerr := <-r.ended:
			return nil, r.died(qerr)
		case <-time.After(dialPoll):
		}
	}
}

// poweroff shuts the guest down in its own order and waits for its end.
func (r *running) poweroff(ctx context.Context, c *Conn, o Options) error {
	// The connection ends with the guest: how is no matter.
	_, _ = c.Output(ctx, "systemctl poweroff")
	c.Close()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case err := <-r.ended:
		if err != nil {
			return r.died(err)
		}
		return nil
	case <-time.After(o.Timeouts.Stop):
		return fmt.Errorf("the guest was told to shut down and has not within %s: %s", o.Timeouts.Stop, lastWords(r.dir, 2))
	}
}
