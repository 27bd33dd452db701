package detector

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// maxAnswer bounds an answer, maxSaid what is kept of standard error.
const (
	maxAnswer = 4 << 20
	maxSaid   = 16 << 10
)

// program is a detector in a process of its own, a new one for each look or one that stays.
type program struct {
	argv  []string
	stays bool

	mu  sync.Mutex
	now *process // that stays
}

// Exec is the entry of a program that is started for each look, or once a run when it stays.
func Exec(name string, stays bool, argv ...string) Entry {
	scheme := "exec:"
	if stays {
		scheme = "exec+stay:"
	}
	return Entry{Name: name, Spec: scheme + strings.Join(argv, " "), Role: v1alpha1.RoleContestant, Open: func() (Detector, error) {
		if err := canRun(argv[0]); err != nil {
			return nil, err
		}
		return &program{argv: argv, stays: stays}, nil
	}}
}

// canRun is why a program cannot be started, with the way out for a file that is there and is no program of $PATH.
func canRun(name string) error {
	_, err := exec.LookPath(name)
	fi, there := os.Stat(name)
	if err == nil || there != nil || !fi.Mode().IsRegular() {
		return err
	}
	bare, runs := filepath.Base(name) == name, fi.Mode()&0o111 != 0
	switch {
	case bare && runs:
		return fmt.Errorf("%[1]s is not in $PATH: name the file in this folder as ./%[1]s", name)
	case bare:
		return fmt.Errorf("%[1]s is not in $PATH: name the file in this folder as ./%[1]s, and make it executable with `chmod +x %[1]s`", name)
	case !runs:
		return fmt.Errorf("%[1]s is not executable: `chmod +x %[1]s` makes it so", name)
	}
	return err
}

func (p *program) Diagnose(ctx context.Context, look Look) (v1alpha1.Diagnosis, error) {
	request, err := json.Marshal(look.DetectorRequest)
	if err != nil {
		return v1alpha1.Diagnosis{}, err
	}
	request = append(request, '\n')
	var raw []byte
	if p.stays {
		raw, err = p.next(ctx, look, request)
	} else {
		raw, err = p.once(ctx, look, request)
	}
	if err != nil || look.Act && len(bytes.TrimSpace(raw)) == 0 {
		return v1alpha1.Diagnosis{}, err
	}
	d, err := decode(raw)
	if err != nil {
		_ = p.Close() // what it says next may be the rest of this
	}
	return d, err
}

func decode(raw []byte) (v1alpha1.Diagnosis, error) {
	var d v1alpha1.Diagnosis
	dec := json.NewDecoder(bytes.NewReader(raw))
	err := dec.Decode(&d)
	if err == nil && dec.More() {
		err = errors.New("there is more behind it")
	}
	if err == nil && (d.Kind != "" && d.Kind != v1alpha1.KindDiagnosis || d.APIVersion != "" && d.APIVersion != v1alpha1.APIVersion) {
		err = fmt.Errorf("it is a %s %s", d.APIVersion, d.Kind)
	}
	if err != nil {
		return v1alpha1.Diagnosis{}, fmt.Errorf("its answer is no %s Diagnosis (%w): %q", v1alpha1.APIVersion, err, text.Short(string(raw[:min(len(raw), 400)]), 100))
	}
	return d, nil
}

// process is a program that runs, in a process group of its own: what it started is ended with it.
type process struct {
	*exec.Cmd
	said tail
	talk *staying      // of one that stays
	gone chan struct{} // closed when it is to end
}

func (p *program) command(look Look) *process {
	c := &process{Cmd: exec.Command(p.argv[0], p.argv[1:]...)}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Stderr = &c.said
	c.WaitDelay = time.Second // for a grandchild that left the group and holds the pipes
	var names []string
	for _, n := range look.Nodes {
		names = append(names, n.Name)
	}
	// For programs that do not want to read JSON.
	c.Env = append(os.Environ(), "KUBECONFIG="+look.Kubeconfig, "SICKBAY_NODES="+strings.Join(names, " "),
		"SICKBAY_SINCE="+look.Since.UTC().Format(time.RFC3339))
	if look.Act {
		c.Env = append(c.Env, "SICKBAY_ACT=1")
	}
	return c
}

func (c *process) kill() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }

// failed is why a program gave no answer, with the last it said.
func (c *process) failed(why string) error {
	if said := text.Tail(c.said.String(), 3); said != "" {
		why += ": " + text.Short(said, 300)
	}
	return errors.New(why)
}

func (p *program) once(ctx context.Context, look Look, request []byte) ([]byte, error) {
	c := p.command(look)
	out := &limited{full: make(chan struct{})}
	c.Stdin, c.Stdout = bytes.NewReader(request), out
	if err := c.Start(); err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	var err error
	ended := false
	select {
	case err = <-done:
		ended = true
	case <-ctx.Done():
	case <-out.full:
	}
	c.kill() // also what it left behind
	if !ended {
		select {
		case err = <-done:
		case <-time.After(grace):
			err = errors.New("it could not be ended")
		}
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case out.over():
		return nil, fmt.Errorf("it wrote more than %s", text.Bytes(maxAnswer))
	case errors.As(err, &exit) && exit.ExitCode() == 1 && len(bytes.TrimSpace(out.kept.Bytes())) > 0:
		return out.kept.Bytes(), nil // as `sickbay diagnose` exits where something is wrong
	case errors.As(err, &exit):
		return nil, c.failed("it ended with " + exit.String())
	// A program may answer without having read its request, and leave a child that holds its output.
	case err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, exec.ErrWaitDelay):
		return nil, c.failed(err.Error())
	case len(bytes.TrimSpace(out.kept.Bytes())) == 0 && !look.Act:
		return nil, c.failed("it answered nothing")
	}
	return out.kept.Bytes(), nil
}

// staying is a process that answers one line for each line.
type staying struct {
	in    io.WriteCloser
	lines chan []byte // closed when it has ended or written too much
	over  bool
}

// next asks the process that stays, starting it where it does not run. One that did not answer as it must is ended: what it writes later
// would be taken for the answer to another look.
func (p *program) next(ctx context.Context, look Look, request []byte) (raw []byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		if err := p.start(look); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			p.end()
		}
	}()
	c := p.now
	go func() { _, _ = c.talk.in.Write(request) }() // one that has ended shows in what it writes, one that does not read at the deadline
	select {
	case line, ok := <-c.talk.lines:
		switch {
		case ok:
			return line, nil
		case c.talk.over:
			return nil, fmt.Errorf("it wrote more than %s", text.Bytes(maxAnswer))
		default:
			return nil, c.failed("it has ended")
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *program) start(look Look) error {
	c := p.command(look)
	in, err := c.StdinPipe()
	if err != nil {
		return err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	c.talk = &staying{in: in, lines: make(chan []byte)}
	c.gone = make(chan struct{})
	go func() {
		defer close(c.talk.lines)
		scan := bufio.NewScanner(out)
		scan.Buffer(nil, maxAnswer)
		for scan.Scan() {
			if len(bytes.TrimSpace(scan.Bytes())) == 0 {
				continue
			}
			select {
			case c.talk.lines <- bytes.Clone(scan.Bytes()):
			case <-c.gone:
				return
			}
		}
		c.talk.over = errors.Is(scan.Err(), bufio.ErrTooLong)
	}()
	p.now = c
	return nil
}

// end ends the process that stays. The caller holds p.mu.
func (p *program) end() {
	if p.now == nil {
		return
	}
	c := p.now
	p.now = nil
	close(c.gone)
	_ = c.talk.in.Close()
	c.kill()
	go func() { _ = c.Wait() }() // a process that waits in the kernel must not be waited for
}

// Close ends the process.
func (p *program) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
	return nil
}

// limited keeps at most maxAnswer; full is closed when there was more. The buffer is no embedded one: its ReadFrom knows no bound.
type limited struct {
	kept bytes.Buffer
	full chan struct{}
	once sync.Once
}

func (l *limited) Write(b []byte) (int, error) {
	if l.kept.Len()+len(b) > maxAnswer {
		l.once.Do(func() { close(l.full) })
		return 0, errors.New("too much")
	}
	return l.kept.Write(b)
}

func (l *limited) over() bool {
	select {
	case <-l.full:
		return true
	default:
		return false
	}
}

// tail keeps the last of what is written.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if len(t.b) > maxSaid {
		t.b = append([]byte(nil), t.b[len(t.b)-maxSaid:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
