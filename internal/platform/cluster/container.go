package cluster

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// Labels kind puts on its containers, and ours on what else belongs to a cluster.
const (
	kindClusterLabel = "io.x-k8s.kind.cluster"
	kindRoleLabel    = "io.x-k8s.kind.role"
	// Label names the cluster that a container beside its nodes (a registry, say) belongs to: Down removes those as well.
	Label = "sickbay.dev/cluster"
	// RunLabel and NodeLabel name, on such a container, the run it serves and that run's victim: recovering the run or the
	// node removes it.
	RunLabel  = "sickbay.dev/run"
	NodeLabel = "sickbay.dev/node"
	// ownedLabel marks the network.
	ownedLabel = "sickbay.dev/owned"
)

// markDir holds the mark by which a node is known as ours: a read-only bind mount of /dev/null, whose name below this folder
// says what the cluster was made as. kind offers no label of one's own, and image labels would mark everybody's clusters of
// the same image. A mount is in the container from the moment it exists, is kept by the engine as long as the container is,
// can be read while the node is paused or dead, and needs no file on the host that could be lost.
const markDir = "/etc/sickbay/cluster"

// Mark is the path in a node whose existence tells that sickbay made the node: a folder.
const Mark = markDir

// mark is what the mark says.
type mark struct {
	Topology, Profile, Sum string
	Online                 bool
}

const markOnline = "online"

func (m mark) path() string {
	p := []string{m.Topology, m.Profile, m.Sum}
	if m.Online {
		p = append(p, markOnline)
	}
	return path.Join(markDir, strings.Join(p, "."))
}

func (m mark) mount() v1alpha4.Mount {
	return v1alpha4.Mount{HostPath: "/dev/null", ContainerPath: m.path(), Readonly: true}
}

func parseMark(p string) (mark, bool) {
	dir, base := path.Split(p)
	if path.Clean(dir) != markDir {
		return mark{}, false
	}
	f := strings.Split(base, ".")
	if len(f) < 3 {
		return mark{}, false
	}
	return mark{Topology: f[0], Profile: f[1], Sum: f[2], Online: len(f) > 3 && f[3] == markOnline}, true
}

// container is the part of `docker inspect` (and podman's) that is used.
type container struct {
	ID    string `json:"Id"`
	Name  string
	State struct {
		Status string
		Pid    int
	}
	Config struct {
		Image  string
		Labels map[string]string
	}
	Mounts []struct {
		Type, Name, Source, Destination string
	}
	NetworkSettings struct {
		Ports    map[string][]struct{ HostIP, HostPort string }
		Networks map[string]struct{ IPAddress string }
	}
}

func (c container) name() string    { return strings.TrimPrefix(c.Name, "/") }
func (c container) cluster() string { return c.Config.Labels[kindClusterLabel] }
func (c container) role() string    { return c.Config.Labels[kindRoleLabel] }

// mounts tells whether something of the host is mounted at a path.
func (c container) mounts(path string) bool {
	for _, m := range c.Mounts {
		if m.Destination == path {
			return true
		}
	}
	return false
}

func (c container) mark() (mark, bool) {
	for _, m := range c.Mounts {
		if k, ok := parseMark(m.Destination); ok {
			return k, true
		}
	}
	return mark{}, false
}

func (c container) ip() string {
	for _, n := range c.NetworkSettings.Networks {
		if n.IPAddress != "" {
			return n.IPAddress
		}
	}
	return ""
}

// endpoint is where the host reaches the API server of a control plane.
func (c container) endpoint() (string, bool) {
	// Docker Desktop announces the port it really listens on.
	if e := c.Config.Labels["desktop.docker.io/ports/6443/tcp"]; e != "" {
		return e, true
	}
	for _, p := range c.NetworkSettings.Ports["6443/tcp"] {
		if p.HostPort != "" {
			ip := p.HostIP
			if ip == "" || ip == "0.0.0.0" {
				ip = "127.0.0.1"
			}
			return net.JoinHostPort(ip, p.HostPort), true
		}
	}
	return "", false
}

// order puts the control plane first and worker10 behind worker9.
func (c container) order(d container) int {
	return cmp.Or(cmp.Compare(c.rank(), d.rank()), cmp.Compare(c.number(), d.number()), cmp.Compare(c.name(), d.name()))
}

func (c container) rank() int {
	switch c.role() {
	case ControlPlane:
		return 0
	case Worker:
		return 1
	}
	return 2
}

func (c container) number() int {
	n := c.name()
	i := len(n)
	for i > 0 && n[i-1] >= '0' && n[i-1] <= '9' {
		i--
	}
	k, _ := strconv.Atoi(n[i:])
	return k
}

// lookBound bounds one question to the engine: a wedged daemon accepts connections and never answers.
const lookBound = 20 * time.Second

// containersOf inspects the containers of one kind cluster, or of all with an empty name.
func containersOf(ctx context.Context, e *engine.Engine, name string) ([]container, error) {
	filter := "label=" + kindClusterLabel
	if name != "" {
		filter += "=" + name
	}
	return inspectAll(ctx, e, filter)
}

func inspectAll(ctx context.Context, e *engine.Engine, filter string) ([]container, error) {
	// Between ps and inspect a container may go away; then both are asked again.
	var last error
	for range 3 {
		out, err := run(ctx, e, lookBound, "ps", "-a", "-q", "--no-trunc", "--filter", filter)
		if err != nil {
			return nil, err
		}
		ids := strings.Fields(string(out))
		if len(ids) == 0 {
			return nil, nil
		}
		out, err = run(ctx, e, lookBound, append([]string{"container", "inspect"}, ids...)...)
		if err != nil {
			if last = err; strings.Contains(strings.ToLower(err.Error()), "no such container") {
				continue
			}
			return nil, err
		}
		var cs []container
		if err := json.Unmarshal(out, &cs); err != nil {
			return nil, fmt.Errorf("decode what %s says of containers: %w", e, err)
		}
		return cs, nil
	}
	return nil, last
}

// run runs the engine's client, bounded, and returns its standard output. The error carries the command and what it said.
func run(ctx context.Context, e *engine.Engine, bound time.Duration, args ...string) ([]byte, error) {
	return runWith(ctx, e, bound, "", args...)
}

func runWith(ctx context.Context, e *engine.Engine, bound time.Duration, stdin string, args ...string) ([]byte, error) {
	bound = timeoutscale.Bound(bound)
	inner, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("no answer within %s", bound))
	defer cancel()
	cmd := e.Command(inner, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if inner.Err() != nil {
			err = context.Cause(inner)
		}
		said := strings.TrimSpace(stderr.String())
		if said == "" {
			said = strings.TrimSpace(stdout.String())
		}
		return stdout.Bytes(), fmt.Errorf("%s %s: %w: %s", e.Provider, text.Cut(strings.Join(args, " "), 200), ended(err), said)
	}
	return stdout.Bytes(), nil
}

// ended takes the exit code of a client out of an error: by itself it would answer ExitCode, which is for errors of ours that
// decide how sickbay ends.
func ended(err error) error {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return errors.New(exit.Error())
	}
	return err
}
