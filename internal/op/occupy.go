package op

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// occupyWait is how long the runtime may take to show that it writes to its disk after all: the update takes 20 ms.
const occupyWait = 3 * time.Second

// Occupy has the runtime write to its frozen disk while it holds the lock of a container's status, which listing containers
// needs: from then on no list is answered (containerd internal/cri/store/container/status.go, UpdateSync). Killing a container
// does not do that for sure: its exit is handled under a bound of 10 s, most of which the deletion of the task, blocked by the
// same disk, may use up before the status is touched; in one of two runs it did.
//
// The update changes nothing, so there is nothing to undo; it ends when the disk takes writes again.
type Occupy struct {
	KillTask // chooses the container
	runtime  asks[Runtime]
}

func (o *Occupy) bind(n Sys) {
	o.KillTask.bind(n)
	o.runtime.bind(n)
}

func (o *Occupy) Describe() string {
	if o.Pod == "" {
		return "have the runtime write while it holds a container's status"
	}
	return fmt.Sprintf("have the runtime write while it holds the status of pod %s/%s", o.Namespace, o.Pod)
}

func (o *Occupy) Do(ctx context.Context, env Env) error {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(occupyWait))
	defer cancel()
	err := o.runtime.sys.UpdateContainer(ctx, o.ID)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil
	case err == nil:
		return fmt.Errorf("the runtime updated container %s although its disk is frozen: it does not write there", o.ID)
	}
	return err
}
