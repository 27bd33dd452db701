package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// wakeBound bounds waking one node: starting a container takes a second or two.
const wakeBound = 30 * time.Second

// Wake makes a node of ours run again whose container is paused or stopped, and thaws, from the host, what is frozen under it where
// that is asked for. It answers with what it did, nothing when there was nothing to do.
func (c *Cluster) Wake(ctx context.Context, name string, thawed bool) ([]string, error) {
	if !c.Ours || !c.Has(name) {
		return nil, fmt.Errorf("wake %s: cluster %s has no such node of ours", name, c.Name)
	}
	cs, err := containersOf(ctx, c.eng, c.Name)
	if err != nil {
		return nil, fmt.Errorf("wake node %s: %w", name, err)
	}
	i := slices.IndexFunc(cs, func(k container) bool { return k.name() == name })
	if i < 0 {
		return nil, nil
	}
	var did []string
	verb := map[string]string{"paused": "unpause", "exited": "start", "created": "start"}[cs[i].State.Status]
	if verb != "" {
		if _, err := run(ctx, c.eng, wakeBound, verb, name); err != nil {
			return nil, fmt.Errorf("wake node %s, whose container is %s: %w", name, cs[i].State.Status, err)
		}
		did = append(did, fmt.Sprintf("node %s: its container was %s and runs again", name, cs[i].State.Status))
	}
	if thawed && thawAll(c.eng, cs[i]) {
		did = append(did, fmt.Sprintf("node %s: a frozen filesystem was thawed from the host", name))
	}
	return did, nil
}
