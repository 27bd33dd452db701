package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sickbay-dev/sickbay/internal/lab"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/progress"
	kindconfigs "github.com/sickbay-dev/sickbay/kind-configs"
)

// onCall has credentials made whose changes the API server writes down, and is their kubeconfig on the control plane. Only who agreed to
// that gets them: of anybody else nothing is written. Where there is no audit it is the administrator's, as without consent.
func (l *lesson) onCall(ctx context.Context, c *cluster.Cluster) string {
	inside, err := c.OnCall(ctx)
	if err != nil {
		progress.From(ctx).Note("the debrief will not tell what kubectl changes: %s", err)
		return adminConf
	}
	return inside
}

// kubeconfig is the file for kubectl on this machine, and what there is to say about it. Nothing is asked of the cluster.
func (l *lesson) kubeconfig(c *cluster.Cluster) (file, note string) {
	if l.st.Recorded {
		if file, err := c.OnCallKubeconfig(); err == nil {
			if _, err := os.Stat(file); err == nil {
				return file, "    # what it changes will be in the debrief"
			}
		}
	}
	file, _ = c.Kubeconfig() // without a cache folder there is none
	return file, ""
}

// changes puts what the learner did through the API into the timeline, where they agreed to it.
func (a *app) changes(ctx context.Context, l *lesson, now time.Time) {
	if l.st.Consent.IsZero() || l.st.Started.IsZero() {
		return
	}
	c, err := a.ours(ctx, l.st.Cluster)
	var log []byte
	if err == nil {
		call, cancel := context.WithTimeout(ctx, callBound)
		defer cancel()
		log, err = c.AuditLog(call)
	}
	switch {
	case errors.Is(err, cluster.ErrNoAudit):
		l.st.Tell(now, "api", "what was changed through the API is not known: %s", cluster.ErrNoAudit)
	case err != nil:
		l.st.Tell(now, "api", "what was changed through the API is not known: %s", err)
	default:
		l.st.Timeline = append(l.st.Timeline, lab.Changes(log, kindconfigs.OnCall, l.st.Consent, now)...)
	}
}

// changesShown is how many changes `lab status` shows, the newest.
const changesShown = 10

// showChanges shows what the learner did through the API up to now. The debrief reads it anew, so nothing is kept.
func (a *app) showChanges(ctx context.Context, l *lesson, now time.Time) {
	before := len(l.st.Timeline)
	a.changes(ctx, l, now)
	list := l.st.Timeline[before:]
	l.st.Timeline = l.st.Timeline[:before]
	if n := len(list) - changesShown; n > 0 {
		fmt.Fprintf(a.out, "Changed through the API, and %d before:\n", n)
		list = list[n:]
	} else if len(list) > 0 {
		fmt.Fprintln(a.out, "Changed through the API:")
	}
	for _, e := range list {
		fmt.Fprintf(a.out, "  %s  %s\n", e.At.Local().Format(time.TimeOnly), e.Text)
	}
}
