package collect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// execFunc runs a command and hands its output to take as it comes. It returns at the context's end, whatever the command does.
type execFunc func(ctx context.Context, take func(io.Reader) error, argv ...string) error

// runCommand is the execFunc of a real node.
func runCommand(ctx context.Context, take func(io.Reader) error, argv ...string) error {
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=cat", "SYSTEMD_LESS="}
	// The command must not outlive the look, and a pipe that some grandchild holds open must not keep the look waiting.
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.WaitDelay = 100 * time.Millisecond
	var stderr bytes.Buffer
	c.Stderr = &limited{buf: &stderr, left: 4096}
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	started := make(chan error, 1)
	go func() { started <- c.Start() }()
	select {
	case err = <-started:
	case <-ctx.Done():
		// The binary itself lies on a filesystem that does not answer.
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", argv[0], err)
	}
	stop := context.AfterFunc(ctx, func() { _ = out.Close() })
	takeErr := take(out)
	stop()
	if takeErr != nil {
		_ = c.Process.Kill()
	}
	err = c.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if takeErr != nil {
		return fmt.Errorf("%s: %w", argv[0], takeErr)
	}
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return fmt.Errorf("%s: %w: %s", brief(argv), err, strings.TrimSpace(stderr.String()))
		}
		return fmt.Errorf("%s: %w", brief(argv), err)
	}
	return nil
}

func brief(argv []string) string {
	return strings.Join(argv[:min(2, len(argv))], " ")
}

// limited keeps the beginning of a stream and drops the rest.
type limited struct {
	buf  *bytes.Buffer
	left int
}

func (w *limited) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	w.buf.Write(p[:n])
	w.left -= n
	return len(p), nil
}

// output runs a command and gives what it printed.
func (l *look) output(ctx context.Context, s *source, argv ...string) (string, error) {
	d := strings.Join(argv, " ")
	if len(d) > 120 {
		d = d[:120] + " …"
	}
	s.doing.Store(&d)
	var b []byte
	err := l.exec(ctx, func(r io.Reader) error {
		var err error
		b, err = io.ReadAll(io.LimitReader(r, maxFile))
		return err
	}, argv...)
	return string(b), err
}
