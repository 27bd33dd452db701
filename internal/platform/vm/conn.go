package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/sickbay-dev/sickbay/internal/text"
)

// Conn is an ssh connection to the guest, as root.
type Conn struct {
	c   *ssh.Client
	ask time.Duration
}

// dial connects to the guest of a folder, and to nobody else: its key is known.
func dial(ctx context.Context, dir string, port int, t Timeouts) (*Conn, error) {
	raw, err := os.ReadFile(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, fmt.Errorf("read the guest's key: %w", err)
	}
	key, err := ssh.ParsePrivateKey(raw)
	if err != nil {
		return nil, fmt.Errorf("read the guest's key: %w", err)
	}
	known, err := knownhosts.New(filepath.Join(dir, knownFile))
	if err != nil {
		return nil, fmt.Errorf("read the guest's key: %w", err)
	}
	config := &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		// Known by its alias: the port is another at each boot.
		HostKeyCallback: func(_ string, remote net.Addr, k ssh.PublicKey) error { return known(alias+":22", remote, k) },
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.Dial, fmt.Errorf("no answer within %s", t.Dial))
	defer cancel()
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	var d net.Dialer
	tcp, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	// QEMU accepts before the guest does: the handshake is what has to be bounded.
	hungUp := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	c, chans, reqs, err := ssh.NewClientConn(tcp, addr, config) // it closes a connection that fails
	if !hungUp() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("ssh to the guest at %s: %w", addr, err)
	}
	return &Conn{c: ssh.NewClient(c, chans, reqs), ask: t.Ask}, nil
}

// Close ends the connection.
func (c *Conn) Close() { _ = c.c.Close() }

// Streams are a command's.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// ExitError is a command in the guest that ended with another code than 0.
type ExitError struct {
	Command string
	Code    int
	Said    string // its last lines on standard error, where nobody else got them
}

func (e *ExitError) Error() string {
	s := fmt.Sprintf("in the guest: %s: exit status %d", e.Command, e.Code)
	if e.Said != "" {
		s += ": " + e.Said
	}
	return s
}

// Run runs a shell's line in the guest. An end with another code than 0 is an *ExitError. When ctx ends the command goes on there
// and the error is ctx's: see Interrupt.
func (c *Conn) Run(ctx context.Context, line string, s Streams) error {
	session, err := c.c.NewSession()
	if err != nil {
		return fmt.Errorf("in the guest: %s: %w", line, err)
	}
	defer session.Close()
	var said bytes.Buffer
	session.Stdin, session.Stdout, session.Stderr = s.In, s.Out, s.Err
	if s.Err == nil {
		session.Stderr = &said
	}
	done := make(chan error, 1)
	go func() { done <- session.Run(line) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		return fmt.Errorf("in the guest: %s: %w", line, context.Cause(ctx))
	}
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		code := exit.ExitStatus()
		if exit.Signal() != "" {
			code = 128 + code
		}
		return &ExitError{Command: line, Code: code, Said: text.Tail(said.String(), 5)}
	}
	if err != nil {
		return fmt.Errorf("in the guest: %s: %w", line, err)
	}
	return nil
}

// Output runs a line that should be quick and returns what it printed.
func (c *Conn) Output(ctx context.Context, line string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.ask, fmt.Errorf("no answer within %s", c.ask))
	defer cancel()
	var out bytes.Buffer
	err := c.Run(ctx, line, Streams{Out: &out})
	return strings.TrimSpace(out.String()), err
}
