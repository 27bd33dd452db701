package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/usage"
)

// A recording is what a passed run saw of its victim, kept as small as it still replays, for detectors' tests:
//
//	NAME/want.yaml     what the detectors must say of it
//	NAME/bundle.yaml   a compact bundle, from baseline to finding
//	NAME/cleared/      another one, of the looks after the remedy: silence

// FileWant is the expectations of a recording.
const FileWant = "want.yaml"

// Want is what a recording must replay to: exactly these findings, and none in its baseline and in cleared/.
type Want struct {
	Scenario string   `json:"scenario"`
	Findings []string `json:"findings"` // failure/cause
}

// Record keeps the recordings of a report's passed scenarios below into, each replacing an earlier one, and returns their names.
func Record(dir, into string) ([]string, error) {
	rep, err := Read(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	var errs []error
	for _, r := range rep.Results {
		if r.Verdict != v1alpha1.VerdictPassed || r.Control != v1alpha1.ControlNone || slices.Contains(names, r.Scenario) {
			continue
		}
		from := filepath.Join(dir, "bundle", r.Scenario)
		if _, err := os.Stat(from); err != nil {
			from = filepath.Join(dir, "bundle") // a report of one scenario
		}
		if err := record(r, from, filepath.Join(into, r.Scenario)); err != nil {
			errs = append(errs, fmt.Errorf("record %s: %w", r.Scenario, err))
			continue
		}
		names = append(names, r.Scenario)
	}
	if len(names) == 0 && len(errs) == 0 {
		return nil, usage.Errorf("nothing in %s passed: there is nothing to record", dir)
	}
	return names, errors.Join(errs...)
}

// BundleLooks is how many looks after the baseline a bundle keeps of a node; log lines of the others are kept in them. A look is
// 60 to 100 kB, and what is judged by its change between looks needs a few.
const BundleLooks = 6

// oldEvents are not kept: on a cluster that many runs shared they are half of a look, and no detector looks back that far.
const oldEvents = 30 * time.Minute

func record(r v1alpha1.ScenarioResult, from, into string) error {
	ill, err := victimOnly(from, r.Node)
	if err != nil {
		return err
	}
	cleared, err := victimOnly(filepath.Join(from, "cleared"), r.Node)
	if err != nil {
		return err
	}
	want := Want{Scenario: r.Scenario, Findings: replay(ill)}
	for _, f := range want.Findings {
		if !slices.Contains(r.Expected, f) {
			return fmt.Errorf("the bundle replays to %s, which the scenario does not expect", f)
		}
	}
	if len(want.Findings) == 0 {
		return errors.New("the bundle replays to silence")
	}
	if said := replay(cleared); len(said) > 0 {
		return fmt.Errorf("the looks after the remedy replay to %s", strings.Join(said, ", "))
	}
	// As few looks as still say the same.
	looks := 1
	for ; looks < BundleLooks && !slices.Equal(replay(diagnose.Compact(ill, looks)), want.Findings); looks++ {
	}
	if err := os.RemoveAll(into); err != nil {
		return fmt.Errorf("replace the earlier recording: %w", err)
	}
	info := v1alpha1.Bundle{RecordedAt: r.Started, Note: fmt.Sprintf("scenario %s, baseline to finding", r.Scenario)}
	if _, err := diagnose.WriteCompactBundle(into, info, diagnose.Compact(ill, looks)); err != nil {
		return err
	}
	info.Note = fmt.Sprintf("scenario %s, looks after the remedy", r.Scenario)
	if _, err := diagnose.WriteCompactBundle(filepath.Join(into, "cleared"), info, diagnose.Compact(cleared, 1)); err != nil {
		return err
	}
	raw, err := yaml.Marshal(want)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(into, FileWant), raw, 0o644)
}

func replay(h map[string]v1alpha1.History) []string {
	var out []string
	for _, f := range diagnose.Judge(h, nil).Findings {
		if n := f.Name(); !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// victimOnly reads one node's history of a bundle, without what only describes the machine it was recorded on.
func victimOnly(dir, node string) (map[string]v1alpha1.History, error) {
	all, _, err := diagnose.FromBundle(dir)
	if err != nil {
		return nil, err
	}
	h, ok := all[node]
	if !ok {
		return nil, fmt.Errorf("%s has no node %s", dir, node)
	}
	raw, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	o := h.Last()
	for _, s := range []string{o.Host.Kernel, kernelOf(o)} {
		if version, build, found := strings.Cut(s, "-"); found && build != "" {
			raw = bytes.ReplaceAll(raw, []byte(s), []byte(version))
		}
	}
	if o.API != nil && o.API.Node != nil {
		for _, id := range []string{o.API.Node.Status.NodeInfo.MachineID, o.API.Node.Status.NodeInfo.SystemUUID, o.Host.BootID} {
			if id != "" {
				raw = bytes.ReplaceAll(raw, []byte(id), []byte(strings.Repeat("0", 8)))
			}
		}
	}
	h = nil
	if err := json.Unmarshal(raw, &h); err != nil {
		return nil, err
	}
	for i := range h {
		if api := h[i].API; api != nil {
			api.Events = slices.DeleteFunc(api.Events, func(e corev1.Event) bool { return h[0].At.Sub(facts.EventTime(&e)) > oldEvents })
		}
	}
	return map[string]v1alpha1.History{node: h}, nil
}

func kernelOf(o *v1alpha1.Observation) string {
	if o.API == nil || o.API.Node == nil {
		return ""
	}
	return o.API.Node.Status.NodeInfo.KernelVersion
}
