// Package agent puts the agent binary on a node and talks to it.
//
// It reaches nodes through package node and speaks package protocol. It knows what can be asked, not what the answers mean.
package agent

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
	"github.com/sickbay-dev/sickbay/internal/bounds"
	"github.com/sickbay-dev/sickbay/internal/fingerprint"
	"github.com/sickbay-dev/sickbay/internal/lease"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// Client is the agent of one node.
type Client struct {
	node node.Node
	path string
	bin  string // of this machine; empty where it is the node's own
	stay stay

	guest    []byte // the program, where it comes with each call; see Guest
	machines string // what uname -m says of a machine that runs it
}

// Install makes sure that this version's agent is on the node, and returns its client. The binary is keyed by its content, so
// that it is copied once and an older harness keeps finding its own. On this machine nothing is copied.
func Install(ctx context.Context, n node.Node) (*Client, error) {
	arch, err := n.Arch(ctx)
	if err != nil {
		return nil, fmt.Errorf("install the agent on node %s: %w", n.Name(), err)
	}
	bin, err := Binary(arch)
	if err != nil {
		return nil, fmt.Errorf("install the agent on node %s: %w", n.Name(), err)
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return nil, fmt.Errorf("install the agent on node %s: %w", n.Name(), err)
	}
	if there, has := node.Program(n, bin); has {
		return &Client{node: n, path: there}, nil
	}
	b, err := os.ReadFile(bin)
	if err != nil {
		return nil, fmt.Errorf("install the agent on node %s: %w", n.Name(), err)
	}
	sum := sha256.Sum256(b)
	key := hex.EncodeToString(sum[:])
	out, err := n.Run(ctx, node.Command{Argv: []string{"sh", "-c", whereTo, "sh", protocol.Dir, "agent-" + key[:12], strconv.Itoa(len(b)), key}})
	dest, there := strings.CutPrefix(strings.TrimSpace(string(out)), "there ")
	c := &Client{node: n, path: dest, bin: bin}
	if err == nil && !there {
		err = n.Put(ctx, c.path, 0o755, bytes.NewReader(b))
	}
	if err != nil {
		return nil, fmt.Errorf("install the agent on node %s: %w", n.Name(), err)
	}
	return c, nil
}

// whereTo prints the agent's path ($1 directory, $2 name, $3 size, $4 SHA-256): who is not root has a directory of their own. What is
// there is taken by its content, where the node can tell it: a full disk may have truncated it since, and anybody may have put it there.
// What is left of a copy whose process is gone, by the number at the name's end, goes.
const whereTo = `d=$1; [ "$(id -u)" = 0 ] || d=${XDG_CACHE_HOME:-$HOME/.cache}/sickbay
for t in "$d"/agent-*.sickbay-*; do [ -d "/proc/${t##*-}" ] || rm -f "$t"; done
f=$d/$2
if [ -x "$f" ] && [ "$(stat -c %s "$f")" = "$3" ]; then
  case $(sha256sum "$f" 2>/dev/null || echo "$4") in "$4"*) printf "there " ;; esac
fi
echo "$f"`

// Leave takes the agent off the node again, which is somebody else's. It stays where sickbay made the node or has a fault to take back.
func (c *Client) Leave(ctx context.Context) error {
	c.stay.mu.Lock()
	defer c.stay.mu.Unlock()
	if c.stay.stays() {
		c.stay.end()
	}
	if c.bin == "" {
		return nil
	}
	if _, err := c.node.Run(ctx, node.Command{Argv: []string{"sh", "-c", leave, "sh", c.path, injectors.Mark, lease.ServiceFile}}); err != nil {
		return fmt.Errorf("take the agent off node %s: %w", c.node.Name(), err)
	}
	return nil
}

// leave removes the agent ($1), unless one of the other two is there, and its folder where that is empty then.
const leave = `[ -e "$2" ] || [ -e "$3" ] || { rm -f "$1"; rmdir "${1%/*}" 2>/dev/null; }
exit 0`

// Node is the node the agent runs on.
func (c *Client) Node() string { return c.node.Name() }

// Path is the agent's own path on the node.
func (c *Client) Path() string { return c.path }

// paced are the agent's arguments. An agent is told how slow its machine is, also that it is not: it would take 40 ms to find
// out, and a staying one would take how busy it was then for how slow it is. On another machine a factor of 1 says nothing.
func (c *Client) paced(args ...string) []string {
	if f := timeoutscale.Factor(); f > 1 || !node.Elsewhere(c.node) {
		return append([]string{protocol.PaceFlag + timeoutscale.Format(f)}, args...)
	}
	return args
}

// call runs one verb and decodes its answer. What it asks is on the command line; what may be long is on standard input.
func call[T any](ctx context.Context, c *Client, verb string, ask any) (T, error) {
	var out T
	b, err := json.Marshal(ask)
	if err != nil {
		return out, err
	}
	run := func() ([]byte, error) {
		switch ask.(type) {
		case injectors.Injection, injectors.SignRequest:
			return c.node.Run(ctx, c.command(bytes.NewReader(b), verb))
		}
		return c.node.Run(ctx, c.command(nil, verb, string(b)))
	}
	what := "agent " + verb
	stdout, err := run()
	if exit := new(node.ExitError); c.guest != nil && errors.As(err, &exit) && exit.Code == otherMachine {
		arch, archErr := c.node.Arch(ctx)
		if err = cmp.Or(archErr, c.pack(ctx, arch)); err == nil {
			stdout, err = run()
		}
	}
	if err != nil {
		if e, ok := answered(stdout, err); ok {
			return out, fmt.Errorf("%s on node %s: %w", what, c.node.Name(), e)
		}
		return out, fmt.Errorf("%s: %w", what, err)
	}
	if err := decode(stdout, &out); err != nil {
		return out, fmt.Errorf("%s on node %s: %w", what, c.node.Name(), err)
	}
	return out, nil
}

// decode reads an answer, within the bounds of what a node may say: it may be anybody's.
func decode(answer []byte, into any) error {
	err := bounds.JSON(answer)
	if err == nil {
		err = json.Unmarshal(answer, into)
	}
	if err != nil {
		return fmt.Errorf("answer of %d bytes: %w", len(answer), err)
	}
	return nil
}

// answered takes the agent's own error out of what it printed.
func answered(stdout []byte, err error) (error, bool) {
	var exit *node.ExitError
	if !errors.As(err, &exit) {
		return nil, false
	}
	var e protocol.Error
	if json.Unmarshal(stdout, &e) != nil || e.Text == "" {
		return nil, false
	}
	if e.Reason == protocol.ReasonUnsupported {
		return &injectors.UnsupportedError{Mechanism: e.Mechanism, Reason: e.Text}, true
	}
	return &e, true
}

// Observe looks at the node once. Whoever looks a second time is taken to look again and again: the agent stays then.
func (c *Client) Observe(ctx context.Context, opts protocol.ObserveOptions) (*v1alpha1.Observation, error) {
	if opts.Node == "" {
		opts.Node = c.node.Name()
	}
	o, err := c.observe(ctx, opts)
	if exit := new(node.ExitError); c.bin != "" && errors.As(err, &exit) && exit.Code == 127 {
		// Another sickbay has left this node meanwhile, and has taken the agent with it.
		again, installErr := Install(ctx, c.node)
		if installErr != nil {
			return nil, errors.Join(err, installErr)
		}
		return call[*v1alpha1.Observation](ctx, again, protocol.VerbObserve, opts)
	}
	return o, err
}

func (c *Client) observe(ctx context.Context, opts protocol.ObserveOptions) (*v1alpha1.Observation, error) {
	if c.stay.mu.TryLock() {
		o, err := c.stay.look(ctx, c, opts)
		c.stay.mu.Unlock()
		if !errors.Is(err, errNotStaying) {
			return o, err
		}
	}
	return call[*v1alpha1.Observation](ctx, c, protocol.VerbObserve, opts)
}

// Check says whether the node can host a fault, changing nothing; *injectors.UnsupportedError when it cannot.
func (c *Client) Check(ctx context.Context, in injectors.Injection) (*injectors.Status, error) {
	return call[*injectors.Status](ctx, c, protocol.VerbCheck, in)
}

// Sign has a certificate signed by the cluster's CA; the node must be of the control plane.
func (c *Client) Sign(ctx context.Context, r injectors.SignRequest) (string, error) {
	s, err := call[protocol.Signed](ctx, c, protocol.VerbSign, r)
	return s.Certificate, err
}

// Inject makes the node ill.
func (c *Client) Inject(ctx context.Context, in injectors.Injection) (*injectors.Status, error) {
	return call[*injectors.Status](ctx, c, protocol.VerbInject, in)
}

// Recover undoes what the selector names. It is legal at any time.
func (c *Client) Recover(ctx context.Context, s injectors.Selector) ([]injectors.Status, error) {
	if s == (injectors.Selector{}) {
		return nil, errors.New("recover: neither a run nor an injection nor all of them is named")
	}
	return call[[]injectors.Status](ctx, c, protocol.VerbRecover, s)
}

// Status lists the injections in the node's journal; active measures their effect, too.
func (c *Client) Status(ctx context.Context, active bool) ([]injectors.Status, error) {
	return call[[]injectors.Status](ctx, c, protocol.VerbStatus, protocol.StatusOptions{Active: active})
}

// Renew prolongs the leases of a run.
func (c *Client) Renew(ctx context.Context, run string, lease time.Duration) error {
	_, err := call[json.RawMessage](ctx, c, protocol.VerbRenew, protocol.Renewal{Run: run, For: lease})
	return err
}

// Fingerprint takes the node's fingerprint.
func (c *Client) Fingerprint(ctx context.Context) (*fingerprint.Fingerprint, error) {
	return call[*fingerprint.Fingerprint](ctx, c, protocol.VerbFingerprint, protocol.FingerprintOptions{Node: c.node.Name()})
}
