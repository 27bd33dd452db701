package debugpod

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/retry"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// enter runs a command ($2 and on) in the node's mount and cgroup namespace with a login's environment, and leaves its exit code in a file of the container, named by $1: the
// connection may break on the way. The image needs a shell. Without an nsenter of its own it runs the node's, by the node's loader;
// without either it changes its root.
const enter = `k=$1; shift
in='export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
[ ! -e /proc/1/ns/cgroup ] || [ /proc/self/ns/cgroup -ef /proc/1/ns/cgroup ] || exec nsenter -t 1 -C -- "$@"; exec "$@"'
h=/host; p=; l=
for d in "$h"/lib64 "$h"/usr/lib64 "$h"/lib/*-linux-* "$h"/usr/lib/*-linux-* "$h"/lib "$h"/usr/lib; do [ -d "$d" ] && p=$p:$d; done
for f in "$h"/lib/*-linux-*/ld-linux-*.so.* "$h"/lib64/ld-linux-*.so.* "$h"/lib/ld-linux-*.so.* "$h"/lib64/ld64.so.* "$h"/lib/ld64.so.*; do [ -x "$f" ] && l=$f && break; done
if command -v nsenter >/dev/null; then set -- nsenter -t 1 -m -- /bin/sh -c "$in" sh "$@"
elif [ "$l" ] && [ -x "$h/usr/bin/nsenter" ]; then set -- "$l" --library-path "${p#:}" "$h/usr/bin/nsenter" -t 1 -m -- /bin/sh -c "$in" sh "$@"
elif command -v chroot >/dev/null; then set -- chroot "$h" /bin/sh -c "$in" sh "$@"
else echo "neither the image nor the node has an nsenter, and the image has no chroot" >&2; exit 125
fi
"$@"
r=$?
echo "$r" >"/sickbay-$k"
exit "$r"`

// ended prints the exit code that enter left ($1), if the command has ended.
const ended = `read -r r <"/sickbay-$1" && echo "$r"`

// container is the one of a pod.
const container = "node"

// client reaches one node.
type client struct {
	s    *Session
	node string
}

func (c *client) Ready(ctx context.Context) error { return c.s.ready(ctx, c.node) }

func (c *client) Start(argv []string, s node.Streams) (node.Process, error) {
	p := c.s.has(c.node)
	if p == nil {
		return nil, errors.New("its pod is gone")
	}
	ctx, cancel := context.WithCancel(c.s.ctx)
	run := &running{c: c, pod: p.Name, key: strings.ToLower(rand.Text()), cancel: cancel, done: make(chan struct{})}
	s.Err = &heard{w: s.Err, any: &run.began}
	go func() {
		defer close(run.done)
		run.err = c.s.exec(ctx, run.pod, append([]string{"sh", "-c", enter, "sh", run.key}, argv...), s)
		if run.err != nil && run.began.Load() && !errors.As(run.err, new(utilexec.ExitError)) {
			run.err = run.resume(ctx)
		}
	}()
	return run, nil
}

// heard notes that the command has begun: it writes to its error stream first.
type heard struct {
	w   interface{ Write([]byte) (int, error) }
	any *atomic.Bool
}

func (h *heard) Write(p []byte) (int, error) {
	h.any.Store(true)
	if h.w == nil {
		return len(p), nil
	}
	return h.w.Write(p)
}

// Unreached asks the API what became of the pod. One that has ended is replaced at the next command.
func (c *client) Unreached(ctx context.Context, clientErr error, stderr string) error {
	said := clientErr.Error()
	if stderr != "" {
		said = stderr
	}
	return &node.UnreachedError{Node: c.node, Reason: c.became(ctx) + ": " + said, Way: otherWays}
}

// became tells what became of the pod.
func (c *client) became(ctx context.Context) string {
	const unknown = "no command could be run in the pod on it"
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeoutscale.Bound(askBound))
	defer cancel()
	mine := c.s.has(c.node)
	if mine == nil {
		return unknown
	}
	p, err := c.s.get(ctx, mine.Name)
	switch {
	case apierrors.IsNotFound(err), err == nil && p.UID != mine.UID:
		c.s.forget(ctx, c.node)
		return "the pod on it was deleted"
	case err != nil:
		return "the API server does not answer"
	case !isRunning(p):
		c.s.forget(ctx, c.node)
		return "the pod on it does not run: " + state(p)
	}
	return unknown
}

// running is a command in a pod.
type running struct {
	c        *client
	pod, key string
	cancel   context.CancelFunc
	began    atomic.Bool
	done     chan struct{}
	err      error
}

func (r *running) Wait() error { <-r.done; return r.err }
func (r *running) Kill()       { r.cancel() }

// resume finds out how a command ended to which the connection broke.
func (r *running) resume(ctx context.Context) error {
	broke := r.err
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(resumeBound))
	defer cancel()
	for {
		if p, err := r.c.s.get(ctx, r.pod); apierrors.IsNotFound(err) || err == nil && !isRunning(p) {
			return broke
		}
		var out strings.Builder
		if r.c.s.exec(ctx, r.pod, []string{"sh", "-c", ended, "sh", r.key}, node.Streams{Out: &out}) == nil {
			code, err := strconv.Atoi(strings.TrimSpace(out.String()))
			switch {
			case err != nil:
				return broke
			case code == 0:
				return nil
			}
			return utilexec.CodeExitError{Err: fmt.Errorf("exit status %d; the connection to it broke before: %w", code, broke), Code: code}
		}
		if retry.Sleep(ctx, time.Second) != nil {
			return broke
		}
	}
}

// exec runs a command in a pod by WebSocket, or by SPDY where the API server or a proxy does not take that.
func (s *Session) exec(ctx context.Context, pod string, argv []string, to node.Streams) error {
	core, err := typedcorev1.NewForConfig(s.o.REST)
	if err != nil {
		return err
	}
	url := core.RESTClient().Post().Namespace(s.o.Namespace).Resource("pods").Name(pod).SubResource("exec").VersionedParams(&corev1.PodExecOptions{
		Container: container, Command: argv, Stdin: to.In != nil, Stdout: to.Out != nil, Stderr: to.Err != nil,
	}, scheme.ParameterCodec).URL()
	ws, err := remotecommand.NewWebSocketExecutor(s.o.REST, http.MethodGet, url.String())
	if err != nil {
		return err
	}
	spdy, err := remotecommand.NewSPDYExecutor(s.o.REST, http.MethodPost, url)
	if err != nil {
		return err
	}
	e, err := remotecommand.NewFallbackExecutor(ws, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return err
	}
	return e.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: to.In, Stdout: to.Out, Stderr: to.Err})
}
