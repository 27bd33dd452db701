package collect

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"path"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// pluginSockets tells which plugin sockets the kubelet could use, and whether somebody answers there. Connecting proves little:
// the kernel accepts for a process that is stopped. So the greeting of HTTP/2 is exchanged, which every gRPC server answers by
// itself; a registration or device RPC is the kubelet's alone.
func (l *look) pluginSockets(ctx context.Context, s *source) error {
	type candidate struct{ path, kind, name string }
	var found []candidate
	list := func(dir string, add func(p, name string)) error {
		if err := s.at(l, "listing", dir); err != nil {
			return err
		}
		names, err := l.root.names(dir, 200)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, n := range names {
			add(path.Join(dir, n), n)
		}
		return nil
	}
	isSocket := func(p string) bool {
		fi, err := l.root.lstat(p)
		return err == nil && fi.Mode()&fs.ModeSocket != 0
	}
	err := errors.Join(
		list(l.kubeletRoot()+"/device-plugins", func(p, n string) {
			if isSocket(p) && n != "kubelet.sock" {
				found = append(found, candidate{p, "device-plugin", strings.TrimSuffix(n, ".sock")})
			}
		}),
		list(l.kubeletRoot()+"/plugins_registry", func(p, n string) {
			if isSocket(p) {
				found = append(found, candidate{p, "csi-registration", strings.TrimSuffix(strings.TrimSuffix(n, ".sock"), "-reg")})
			}
		}),
		list(l.kubeletRoot()+"/plugins", func(p, n string) {
			names, err := l.root.names(p, 50)
			if err != nil {
				return
			}
			for _, sock := range names {
				if q := path.Join(p, sock); isSocket(q) {
					found = append(found, candidate{q, "csi", n})
				}
			}
		}),
	)
	if err := s.at(l, "greeting", "plugin sockets"); err != nil {
		return err
	}
	out := make([]v1alpha1.PluginSocket, len(found))
	var all sync.WaitGroup
	for i, c := range found {
		all.Go(func() {
			out[i] = v1alpha1.PluginSocket{Path: c.path, Kind: c.kind, Name: c.name, Answers: greet(ctx, l.root.path(c.path))}
		})
	}
	all.Wait()
	l.put(func(o *v1alpha1.Observation) { o.Sockets = out })
	return err
}

const (
	// greetBound is how long a plugin may take: a healthy one answers within a millisecond, and one on a machine with ten
	// times more work than cores was seen to take a third of a second.
	greetBound = time.Second
	// http2Hello is a client's connection preface with empty settings (RFC 9113, 3.4); the server's settings frame answers.
	http2Hello  = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	frameHeader = 9
)

// greet tells ok when somebody answers, refused when nobody listens, timeout when the socket is open and silent.
func greet(ctx context.Context, p string) string {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(greetBound))
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", p)
	if err != nil {
		return silence(err)
	}
	defer c.Close()
	if d, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(d)
	}
	if _, err := io.WriteString(c, http2Hello); err != nil {
		return silence(err)
	}
	if _, err := io.ReadFull(c, make([]byte, frameHeader)); err != nil {
		return silence(err)
	}
	return "ok"
}

func silence(err error) string {
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() || errors.Is(err, unix.EAGAIN) {
		return "timeout" // EAGAIN: the queue of a listener that accepts nothing is full
	}
	return "refused"
}
