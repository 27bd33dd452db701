package cluster

import (
	"fmt"
	"strings"

	kindlog "sigs.k8s.io/kind/pkg/log"

	"github.com/sickbay-dev/sickbay/internal/progress"
)

// logger shows kind's own steps as the detail of a task. Its warnings are about what was done on purpose (the network, cgroup v1).
type logger struct{ task progress.Task }

func (l logger) Warn(string)               {}
func (l logger) Warnf(string, ...any)      {}
func (l logger) Error(m string)            { l.task.Detail("%s", m) }
func (l logger) Errorf(f string, a ...any) { l.Error(fmt.Sprintf(f, a...)) }

func (l logger) V(level kindlog.Level) kindlog.InfoLogger {
	if level > 0 {
		return kindlog.NoopInfoLogger{}
	}
	return info(l)
}

type info struct{ task progress.Task }

func (i info) Info(m string) { i.Infof("%s", m) }
func (i info) Enabled() bool { return true }
func (i info) Infof(f string, a ...any) {
	if step, ok := strings.CutPrefix(strings.TrimSpace(fmt.Sprintf(f, a...)), "• "); ok {
		i.task.Detail("%s", strings.TrimRight(step, " ."))
	}
}
