package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/sickbay-dev/sickbay/internal/lease"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// adoptedFile, in a cluster's folder of the cache, lists the containers of a cluster that somebody else made and its owner gave to sickbay.
// A mount cannot be added to a container, so this mark is on the host; losing it means that the cluster is not ours.
const adoptedFile = "adopted.json"

// setMark puts the mount on a node that its agent asks for ($1). It lasts until the container is restarted.
const setMark = `grep -q " $1 " /proc/self/mounts && exit 0
mkdir -p "${1%/*}" && : >"$1" && mount --bind -o ro /dev/null "$1"`

// takeMark takes it away again, and the agent: not under a fault, whose undoing needs it ($2 is there then).
const takeMark = `[ ! -e "$2" ] || { echo "it has faults to take back" >&2; exit 1; }
umount "$1" 2>/dev/null; rm -f "$1" && rmdir "${1%/*}" "${1%/*/*}" 2>/dev/null; rm -f /var/lib/sickbay/agent-*; exit 0`

// adopted tells whether the record of a cluster names exactly these containers.
func adopted(name string, cs []container) bool {
	dir, err := stateDir(name)
	if err != nil {
		return false
	}
	raw, err := os.ReadFile(filepath.Join(dir, adoptedFile))
	var ids []string
	if err != nil || json.Unmarshal(raw, &ids) != nil {
		return false
	}
	return slices.Equal(ids, idsOf(cs))
}

func idsOf(cs []container) []string {
	var ids []string
	for _, c := range cs {
		ids = append(ids, c.ID)
	}
	slices.Sort(ids)
	return ids
}

// Adopt makes a running cluster of somebody else's one of ours: its workers may be made ill. It marks the nodes, gives them the image of
// scenarios' pods, and notes the containers on this machine. Nothing else is changed; Down gives the cluster back. Adopting again renews the
// marks.
func (c *Cluster) Adopt(ctx context.Context) (*Cluster, error) {
	if c.Made() {
		return c, nil
	}
	workers := 0
	for _, n := range c.nodes {
		if n.State != "running" {
			return nil, &TakenError{What: fmt.Sprintf("node %s of cluster %s is %s", n.Name, c.Name, n.State), Way: "a cluster is adopted while all of it runs"}
		}
		if n.Role == Worker {
			workers++
		}
	}
	if workers == 0 {
		return nil, &TakenError{What: fmt.Sprintf("cluster %s has no worker, and faults are only put on workers", c.Name), Way: "`sickbay cluster up` makes one that has"}
	}
	if err := c.onNodes(ctx, setMark, path.Join(markDir, "adopted")); err != nil {
		return nil, fmt.Errorf("mark the nodes of cluster %s: %w", c.Name, err)
	}
	if !c.Adopted {
		if err := c.pinWorkloadImage(ctx); err != nil {
			return nil, errors.Join(err, c.Release(context.WithoutCancel(ctx)))
		}
	}
	ids, err := json.Marshal(idsOf(c.containers))
	if err != nil {
		return nil, err
	}
	dir, err := stateDir(c.Name)
	if err != nil {
		return nil, err
	}
	if err := writeSecret(filepath.Join(dir, adoptedFile), ids); err != nil {
		return nil, err
	}
	a, err := Find(ctx, c.eng, c.Name)
	if err != nil {
		return nil, err
	}
	return a, a.writeKubeconfig()
}

// Made tells that sickbay made the cluster, and nobody gave it.
func (c *Cluster) Made() bool { return c.Ours && !c.Adopted }

// Release gives an adopted cluster back: the marks, the agents and what this machine knows of it go, and the cluster stays.
func (c *Cluster) Release(ctx context.Context) error {
	if err := c.onNodes(ctx, takeMark, path.Join(markDir, "adopted"), lease.ServiceFile); err != nil {
		return fmt.Errorf("give cluster %s back (`sickbay recover --cluster %s` takes faults back): %w", c.Name, c.Name, err)
	}
	return forget(c.Name)
}

// onNodes runs a script on every running node.
func (c *Cluster) onNodes(ctx context.Context, script string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(connectBound))
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	for _, n := range c.nodes {
		if n.State == "running" {
			g.Go(func() error {
				_, err := c.Node(n.Name).Run(ctx, node.Argv(append([]string{"sh", "-c", script, "sh"}, args...)...))
				return err
			})
		}
	}
	return g.Wait()
}

// Network is the engine's network that the nodes are on.
func (c *Cluster) Network() string {
	for _, k := range c.containers {
		for name := range k.NetworkSettings.Networks {
			return name
		}
	}
	return Network
}
