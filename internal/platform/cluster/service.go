package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/platform/engine"
)

// serviceBound bounds removing one container beside the nodes: it holds nothing that wants a graceful end.
const serviceBound = 30 * time.Second

// RemoveServices removes the containers that run beside the cluster for a run, or for the runs of a node; with neither, all of
// them. It needs no word of whoever started them, who may be dead.
func (c *Cluster) RemoveServices(ctx context.Context, run, node string) error {
	return removeServices(ctx, c.eng, c.Name, run, node)
}

// Service is a container that runs beside the cluster's nodes.
type Service struct{ Name, Run, Node string }

// Services lists the containers that run beside the cluster for runs.
func (c *Cluster) Services(ctx context.Context) ([]Service, error) {
	all, err := inspectAll(ctx, c.eng, "label="+Label+"="+c.Name)
	if err != nil {
		return nil, fmt.Errorf("look for what runs beside cluster %s: %w", c.Name, err)
	}
	var list []Service
	for _, s := range all {
		if run, ok := s.Config.Labels[RunLabel]; ok {
			list = append(list, Service{s.name(), run, s.Config.Labels[NodeLabel]})
		}
	}
	return list, nil
}

func removeServices(ctx context.Context, e *engine.Engine, name, runID, node string) error {
	args := []string{"ps", "--all", "--quiet", "--no-trunc", "--filter", "label=" + Label + "=" + name}
	if runID != "" {
		args = append(args, "--filter", "label="+RunLabel+"="+runID)
	}
	if node != "" {
		args = append(args, "--filter", "label="+NodeLabel+"="+node)
	}
	out, err := run(ctx, e, lookBound, args...)
	if err != nil {
		return fmt.Errorf("look for what runs beside cluster %s: %w", name, err)
	}
	var errs []error
	for _, id := range strings.Fields(string(out)) {
		_, err := run(ctx, e, serviceBound, "rm", "--force", "--volumes", id)
		if err != nil && !strings.Contains(strings.ToLower(err.Error()), "no such container") && !strings.Contains(err.Error(), "already in progress") {
			errs = append(errs, fmt.Errorf("remove what runs beside cluster %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
