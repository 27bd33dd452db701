package collect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// VerbLook is the verb with which the agent starts itself as the child that may hang.
const VerbLook = "look"

// grace is what the child gets beyond its own bound to hand over what it has.
const grace = 500 * time.Millisecond

// Supervise looks in a child process and returns its observation as JSON. The child may be left behind, waiting in the kernel;
// this process touches no file of the node and always ends. self is the agent's own path.
func Supervise(ctx context.Context, self string, opts protocol.ObserveOptions) ([]byte, error) {
	opts = stretched("/", opts) // /proc never hangs
	in, err := json.Marshal(opts)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	c := exec.Command(self, VerbLook)
	c.Env = append(os.Environ(), timeoutscale.Env+"="+timeoutscale.Format(timeoutscale.Factor()))
	c.Stdin = bytes.NewReader(in)
	c.Stdout = w // a pipe of our own: what the child may hold open for ever is never the caller's standard output
	var stderr bytes.Buffer
	c.Stderr = &limited{buf: &stderr, left: 4096}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("start the looking process %s: %w", self, err)
	}
	_ = w.Close()
	// It is waited for whenever it ends: an agent that stays would gather the dead otherwise.
	ended := make(chan struct{})
	go func() {
		_ = c.Wait()
		close(ended)
	}()
	type answer struct {
		doc json.RawMessage
		err error
	}
	got := make(chan answer, 1)
	go func() {
		// One whole document ends the wait: the child may never exit.
		var a answer
		a.err = json.NewDecoder(r).Decode(&a.doc)
		got <- a
	}()
	timer := time.NewTimer(opts.Overall + timeoutscale.Bound(grace))
	defer timer.Stop()
	select {
	case a := <-got:
		if a.err == nil {
			return a.doc, nil
		}
		_ = c.Process.Kill()
		if errors.Is(a.err, io.EOF) {
			said := "and does not end"
			select {
			case <-ended:
				said = string(bytes.TrimSpace(stderr.Bytes()))
			case <-timer.C:
			}
			return nil, fmt.Errorf("the looking process gave no answer: %s", said)
		}
		return nil, fmt.Errorf("the looking process: %w", a.err)
	case <-timer.C:
		_ = c.Process.Kill() // takes effect when the kernel lets go of it
		return nil, fmt.Errorf("the looking process %d gave no answer within %s and was left behind", c.Process.Pid, opts.Overall+timeoutscale.Bound(grace))
	case <-ctx.Done():
		_ = c.Process.Kill()
		return nil, ctx.Err()
	}
}
