package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// bounds of one transport, in one place.
const (
	// pidGrace is how long a cancelled Run waits for the process to say who it is: `docker exec` costs 60 to 200 ms, ten
	// times that on a machine that is starting five nodes.
	pidGrace = 2 * time.Second
	// killBound bounds the exec that ends the in-node process; a paused node answers at once, a hung engine never.
	killBound = 5 * time.Second
	// clientGrace is how long the client may take to notice that its process was ended, before it is killed as well.
	clientGrace = 2 * time.Second
	// keepOutput is how much of an error stream an ExitError keeps, and the longest first line that is waited for.
	keepOutput = 4 << 10
	// maxOutput is as much of a command's output as is held: an observation of a busy node has half a megabyte.
	maxOutput = 16 << 20
)

// announce makes the process on the node say who it is before it becomes the command: its own /proc stat line, whose process
// group and start time name it even after its number was reused. Nothing is written on the node and no agent is needed.
const announce = `read -r s </proc/$$/stat; echo "sickbay-pid $s" >&2; exec "$@"`

// endGroup ends the announced process's group ($1 pid, $2 process group, $3 start time), unless the pid is another process by now.
const endGroup = `read -r s 2>/dev/null <"/proc/$1/stat" || exit 0
s=${s##*) }; g=$2; t=$3; p=$1
# shellcheck disable=SC2086 # its fields
set -- $s
[ "${20}" = "$t" ] || exit 0
# No "--" before the group: dash takes it for a process.
kill -9 "-$g" 2>/dev/null || kill -9 "$p"`

// UnreachedError is a node on which nothing could be run: its container is gone, stopped or paused, its engine or host does not answer.
type UnreachedError struct {
	Node   string
	Reason string // one clause: "its container is paused"
	Way    string // the way out, may be empty
	Err    error  // what the client said
}

func (e *UnreachedError) Error() string {
	s := fmt.Sprintf("node %s was not reached: %s", e.Node, e.Reason)
	if e.Way != "" {
		s += "; " + e.Way
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *UnreachedError) Unwrap() error { return e.Err }

// Brief is the error for a person who knows which node it is about: the client's own words first, then the way out.
func (e *UnreachedError) Brief() string {
	s := e.Reason
	if e.Err != nil {
		s = e.Err.Error()
	}
	if e.Way != "" {
		s += "; " + e.Way
	}
	return s
}

// Client is a way to a node.
type Client interface {
	// Ready makes the node reachable. It is called before each command.
	Ready(ctx context.Context) error
	// Start begins argv on the node. It must not be bound to a caller's context: ending the client does not end the process on the
	// node, so Run ends them in the right order itself.
	Start(argv []string, s Streams) (Process, error)
	// Unreached explains why the client failed before the command began.
	Unreached(ctx context.Context, clientErr error, stderr string) error
}

// Streams are those of a command. In may be nil.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Process is the client's end of a command.
type Process interface {
	// Wait waits for the command's end. The error of one that exited non-zero has ExitCode() or ExitStatus().
	Wait() error
	// Kill ends the client, and not what runs on the node.
	Kill()
}

// Remote is a node that a client reaches.
func Remote(name string, c Client) Node { return &transport{name: name, to: c, elsewhere: true} }

// Elsewhere tells that a node is on another machine, as far as that is known.
func Elsewhere(n Node) bool {
	t, ok := n.(*transport)
	return ok && t.elsewhere
}

// program is a client that is a program of this machine, such as docker or ssh.
type program struct {
	// command gives the process that runs argv on the node.
	command   func(argv []string, stdin bool) *exec.Cmd
	unreached func(ctx context.Context, clientErr error, stderr string) error
}

func (program) Ready(context.Context) error { return nil }

func (p program) Start(argv []string, s Streams) (Process, error) {
	c := p.command(argv, s.In != nil)
	c.Stdin, c.Stdout, c.Stderr = s.In, s.Out, s.Err
	// A child that the command left behind may hold the streams open for ever.
	c.WaitDelay = timeoutscale.Bound(clientGrace)
	return running{c}, c.Start()
}

func (p program) Unreached(ctx context.Context, clientErr error, stderr string) error {
	return p.unreached(ctx, clientErr, stderr)
}

type running struct{ *exec.Cmd }

func (r running) Kill() { _ = r.Process.Kill() }

// transport runs commands through a client.
type transport struct {
	name      string
	program   func(file string) string // set where the node has the programs of this machine
	to        Client
	elsewhere bool

	archOnce sync.Mutex
	arch     string
}

func (t *transport) Name() string { return t.name }

func (t *transport) Run(ctx context.Context, cmd Command) ([]byte, error) {
	if len(cmd.Argv) == 0 {
		return nil, fmt.Errorf("on node %s: no command to run", t.name)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("on node %s: %s: %w", t.name, brief(cmd.Argv), err)
	}
	if err := t.to.Ready(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stdout := held{full: func() { cancel(errTooMuch) }}
	stderr := &stream{to: cmd.Stderr, announced: make(chan struct{})}
	s := Streams{In: cmd.Stdin, Out: &stdout, Err: stderr}
	if cmd.Stdout != nil {
		s.Out = cmd.Stdout
	}
	c, err := t.to.Start(append([]string{"sh", "-c", announce, "sh"}, cmd.Argv...), s)
	if err != nil {
		return nil, &UnreachedError{Node: t.name, Reason: "its client did not start", Err: err}
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()

	select {
	case err := <-done:
		if errors.Is(context.Cause(ctx), errTooMuch) {
			return nil, fmt.Errorf("on node %s: %s: %w", t.name, brief(cmd.Argv), errTooMuch)
		}
		return t.result(ctx, cmd.Argv, stdout.buf.Bytes(), stderr, err)
	case <-ctx.Done():
	}
	killErr := t.end(stderr, done)
	select {
	case <-done:
	case <-time.After(timeoutscale.Bound(clientGrace)):
		c.Kill()
		<-done
	}
	err = fmt.Errorf("on node %s: %s: %w", t.name, brief(cmd.Argv), context.Cause(ctx))
	if killErr != nil {
		err = fmt.Errorf("%w (and the process may still run: %w)", err, killErr)
	}
	return stdout.buf.Bytes(), err
}

var errTooMuch = fmt.Errorf("it printed more than %d MiB", maxOutput>>20)

// held keeps the beginning of an output and says when it is full.
type held struct {
	buf  bytes.Buffer // not embedded: io.Copy would fill it by its ReadFrom
	full func()
}

func (h *held) Write(p []byte) (int, error) {
	if room := maxOutput - h.buf.Len(); len(p) > room {
		h.buf.Write(p[:room])
		h.full()
		return len(p), nil
	}
	return h.buf.Write(p)
}

// end ends the process on the node.
func (t *transport) end(s *stream, done chan error) error {
	wait := time.NewTimer(timeoutscale.Bound(pidGrace))
	defer wait.Stop()
	select {
	case <-s.announced:
	case err := <-done:
		done <- err
		return nil
	case <-wait.C:
		return errors.New("it never said its process number")
	}
	pid, pgrp, start, err := parseStat(s.stat())
	if err != nil {
		return err
	}
	var out bytes.Buffer
	c, err := t.to.Start([]string{"sh", "-c", endGroup, "sh", pid, pgrp, start}, Streams{Err: &out})
	if err != nil {
		return err
	}
	over := time.AfterFunc(timeoutscale.Bound(killBound), c.Kill)
	defer over.Stop()
	if err := c.Wait(); err != nil {
		return fmt.Errorf("ending process %s: %w: %s", pid, err, lastLines(out.Bytes()))
	}
	return nil
}

func (t *transport) result(ctx context.Context, argv []string, stdout []byte, s *stream, err error) ([]byte, error) {
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // the command ended with 0, something it started keeps its streams
	}
	if err == nil {
		return stdout, nil
	}
	tail := s.tail()
	if !s.has() {
		return stdout, t.to.Unreached(ctx, err, tail)
	}
	code := exitCode(err)
	if code < 0 {
		return stdout, &UnreachedError{Node: t.name, Reason: "the connection broke while " + brief(argv) + " ran", Err: err}
	}
	if lost(tail) {
		return stdout, &UnreachedError{Node: t.name, Reason: "the connection broke while " + brief(argv) + " ran", Err: errors.New(tail)}
	}
	if tail == "" {
		tail = lastLines(stdout)
	}
	return stdout, &ExitError{Node: t.name, Argv: argv, Code: code, Output: tail}
}

// exitCode is a command's exit code by its client's error, negative where that is of something else.
func exitCode(err error) int {
	var here interface{ ExitCode() int }
	var there interface{ ExitStatus() int }
	switch {
	case errors.As(err, &here):
		return here.ExitCode()
	case errors.As(err, &there):
		return there.ExitStatus()
	}
	return -1
}

// lost tells whether the client's own last words are those of a lost engine or connection; its exit code does not say.
func lost(tail string) bool {
	last := tail[strings.LastIndexByte(tail, '\n')+1:]
	for _, s := range []string{
		"error during connect:", "Cannot connect to the Docker daemon", "Cannot connect to Podman",
		"closed by remote host.", "client_loop: send disconnect:", " not responding.", // ssh
	} {
		if strings.Contains(last, s) {
			return true
		}
	}
	return false
}

func (t *transport) Put(ctx context.Context, file string, mode os.FileMode, content io.Reader) error {
	if !path.IsAbs(file) {
		return fmt.Errorf("on node %s: put %q: the path is not absolute", t.name, file)
	}
	// The size travels with the file: a client that dies half-way looks like the end of the file to the node.
	data, err := io.ReadAll(content)
	if err != nil {
		return fmt.Errorf("on node %s: put %s: read the content: %w", t.name, file, err)
	}
	const script = `f=$1; t="$f.sickbay-$$"; trap 'rm -f "$t"' EXIT
mkdir -p "${f%/*}/" && cat >"$t" && [ "$(wc -c <"$t")" -eq "$3" ] && chmod "$2" "$t" && mv -f "$t" "$f"`
	_, err = t.Run(ctx, Command{
		Argv:  []string{"sh", "-c", script, "put", file, fmt.Sprintf("%04o", mode.Perm()), strconv.Itoa(len(data))},
		Stdin: bytes.NewReader(data),
	})
	var exit *ExitError
	if errors.As(err, &exit) {
		return &ExitError{Node: t.name, Argv: []string{"put", file}, Code: exit.Code, Output: exit.Output}
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", file, err)
	}
	return nil
}

func (t *transport) Arch(ctx context.Context) (string, error) {
	t.archOnce.Lock()
	defer t.archOnce.Unlock()
	if t.arch != "" {
		return t.arch, nil
	}
	out, err := t.Run(ctx, Argv("uname", "-m"))
	if err != nil {
		return "", fmt.Errorf("ask for the architecture: %w", err)
	}
	machine := strings.TrimSpace(string(out))
	arch, ok := goArch[machine]
	if !ok {
		return "", fmt.Errorf("node %s has architecture %q, for which there is no agent", t.name, machine)
	}
	t.arch = arch
	return arch, nil
}

var goArch = map[string]string{
	"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64",
	"ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64", "armv7l": "arm", "armv6l": "arm", "i686": "386",
}

// Machines are the names that machines of an architecture have for it, a space between them.
func Machines(arch string) string {
	var out []string
	for machine, a := range goArch {
		if a == arch {
			out = append(out, machine)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// parseStat takes pid, process group and start time out of a /proc/PID/stat line.
func parseStat(line string) (pid, pgrp, start string, err error) {
	pid, _, _ = strings.Cut(line, " ")
	i := strings.LastIndex(line, ") ")
	if i < 0 {
		return "", "", "", fmt.Errorf("unreadable process line %q", line)
	}
	f := strings.Fields(line[i+2:])
	if len(f) < 20 {
		return "", "", "", fmt.Errorf("unreadable process line %q", line)
	}
	return pid, f[2], f[19], nil
}

// stream takes the announcement off an error stream, passes the rest on and keeps its end.
type stream struct {
	to        io.Writer
	announced chan struct{}

	mu    sync.Mutex
	head  []byte // until the first line is complete
	first string // the announcement
	past  bool   // the first line is behind us
	last  []byte
}

const announcement = "sickbay-pid "

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(p)
	if !s.past {
		s.head = append(s.head, p...)
		i := bytes.IndexByte(s.head, '\n')
		if i < 0 && len(s.head) <= keepOutput {
			return n, nil
		}
		s.past = true
		p = s.head
		if line, ok := strings.CutPrefix(string(s.head[:max(i, 0)]), announcement); ok {
			s.first = strings.TrimSuffix(line, "\r")
			close(s.announced)
			p = s.head[i+1:]
		}
		s.head = nil
	}
	s.last = append(s.last, p...)
	if over := len(s.last) - keepOutput; over > 0 {
		s.last = append(s.last[:0], s.last[over:]...)
	}
	if s.to != nil && len(p) > 0 {
		if _, err := s.to.Write(p); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (s *stream) has() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first != ""
}

func (s *stream) stat() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first
}

func (s *stream) tail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return lastLines(append(s.last[:len(s.last):len(s.last)], s.head...))
}

// lastLines is the end of an output, at whole lines, without what a terminal would not print.
func lastLines(b []byte) string {
	const lines = 12
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	s := strings.Join(all, "\n")
	if len(s) > keepOutput {
		s = s[len(s)-keepOutput:]
	}
	return strings.Map(printable, strings.ToValidUTF8(s, "�"))
}

// printable drops what moves a cursor, sets a title or turns the order of characters around: a node may say anything, and its last
// words are shown on a terminal.
func printable(r rune) rune {
	if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
		return -1
	}
	return r
}

// brief is a command for an error message: scripts are long.
func brief(argv []string) string {
	s := strings.Join(argv, " ")
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		s = s[:i] + " …"
	}
	const most = 160
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + " …"
	}
	return s
}
