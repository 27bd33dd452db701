package node

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// Engine runs a container engine's client, docker or podman; *engine.Engine is one.
type Engine interface {
	// Command is the engine's client with these arguments, set up to talk to this engine.
	Command(ctx context.Context, args ...string) *exec.Cmd
}

// inspectBound bounds asking the engine why a node was not reached.
const inspectBound = 5 * time.Second

// Container is a node that is a container of the engine, reached by `docker exec`: 60 ms a call, and no part of Kubernetes in the way.
func Container(e Engine, name string) Node {
	return &transport{
		name: name,
		to: program{
			command: func(argv []string, stdin bool) *exec.Cmd {
				args := []string{"exec", "--privileged"}
				if stdin {
					args = append(args, "-i")
				}
				return e.Command(context.Background(), append(append(args, name), argv...)...)
			},
			unreached: func(ctx context.Context, clientErr error, stderr string) error {
				return explain(ctx, e, name, clientErr, stderr)
			},
		},
	}
}

// explain asks the engine what became of the container.
func explain(ctx context.Context, e Engine, name string, clientErr error, stderr string) error {
	said := clientErr
	if stderr != "" {
		said = errors.New(stderr)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeoutscale.Bound(inspectBound))
	defer cancel()
	c := e.Command(ctx, "container", "inspect", "--format", "{{.State.Status}}", name)
	c.WaitDelay = time.Second
	out, err := c.CombinedOutput()
	state := strings.TrimSpace(string(out))
	u := &UnreachedError{Node: name, Err: said}
	program := filepath.Base(c.Path)
	switch {
	case err != nil && strings.Contains(strings.ToLower(state), "no such"):
		u.Reason = "there is no such container"
		u.Way = "`sickbay cluster status` lists the nodes there are"
	case err != nil:
		u.Reason = "the container engine does not answer"
		u.Way = "see `sickbay doctor`"
	case state == "paused":
		u.Reason = "its container is paused"
		u.Way = fmt.Sprintf("`%s unpause %s` wakes it", program, name)
	case state != "running":
		u.Reason = "its container is " + state
		u.Way = fmt.Sprintf("`%s start %s` starts it", program, name)
	default:
		u.Reason = "the engine could not run a command in its container"
	}
	return u
}
