package suites

import (
	"fmt"
	"path/filepath"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"

	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/report"
)

// bundleDir is where this run's bundle goes, "" for nowhere: bundle/ for one scenario, bundle/NAME/ for several.
func (r *run) bundleDir() string {
	switch {
	case r.s.opts.ReportDir == "":
		return ""
	case r.s.several || r.actor:
		name := r.sc.Metadata.Name
		if r.repeat > 1 {
			name += fmt.Sprintf("-%d", r.repeat)
		}
		if r.actor {
			name += "-by-" + r.contest.list[0].entry.Name
		}
		return filepath.Join(r.s.opts.ReportDir, "bundle", name)
	default:
		return filepath.Join(r.s.opts.ReportDir, "bundle")
	}
}

// bundle writes what was judged, for replay: at the end of detect, or wherever the run ended before it; what the clear step
// saw goes into a bundle of its own below it.
func (r *run) bundle() {
	dir := r.bundleDir()
	if dir == "" || len(r.look.Histories()) == 0 {
		return
	}
	if r.detected {
		r.writeBundle(filepath.Join(dir, "cleared"), "looks after the remedy")
	} else {
		r.writeBundle(dir, "up to where the run ended")
	}
}

func (r *run) writeBundle(dir, what string) {
	info := v1alpha1.Bundle{
		Cluster: r.s.testbed.Cluster(), RecordedBy: r.s.opts.Version,
		Note: fmt.Sprintf("scenario %s, run %s, victim %s: %s", r.sc.Metadata.Name, r.id, r.victim, what),
	}
	if _, err := diagnose.WriteBundle(dir, info, diagnose.Compact(r.look.Histories(), report.BundleLooks)); err != nil {
		r.rec.note(r.victim, "the bundle could not be written: %v", err)
	}
}
