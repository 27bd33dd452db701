package diagnose

import (
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/observation"
)

// Judge has the detectors judge every node's history, side by side, and collects what could not be read. A nil judge
// takes package detectors. The result depends on the histories alone.
func Judge(histories map[string]observation.History, judge JudgeFunc) Diagnosis {
	if judge == nil {
		judge = Detectors
	}
	d := Diagnosis{
		APIVersion: observation.APIVersion, Kind: Kind, Healthy: true,
		Findings: []detectors.Finding{}, Unknown: []Unknown{},
	}
	d.Nodes = slices.Sorted(maps.Keys(histories))
	perNode := make([][]detectors.Finding, len(d.Nodes))
	panics := make(chan string, len(d.Nodes))
	var wg sync.WaitGroup
	for i, node := range d.Nodes {
		if len(histories[node]) == 0 {
			continue
		}
		wg.Go(func() {
			// A detector's defect belongs to whoever asked: in a goroutine of its own it would end the process, and with it
			// every run that still has something to recover.
			defer func() {
				if p := recover(); p != nil {
					panics <- fmt.Sprintf("judging node %s: %v\n%s", node, p, debug.Stack())
				}
			}()
			perNode[i] = judge(histories[node])
		})
	}
	wg.Wait()
	select {
	case p := <-panics:
		panic(p)
	default:
	}
	for i, node := range d.Nodes {
		h := histories[node]
		if len(h) == 0 {
			d.Unknown = append(d.Unknown, Unknown{Node: node, What: "node", Why: "it was never looked at"})
			d.Healthy = false
			continue
		}
		d.Findings = append(d.Findings, perNode[i]...)
		last := h.Last()
		if last.At.After(d.At) {
			d.At = last.At
		}
		unknown, blind := unread(last)
		d.Unknown = append(d.Unknown, unknown...)
		if blind {
			d.Healthy = false
		}
	}
	if len(d.Findings) > 0 {
		d.Healthy = false
	}
	// By node, and within a node as the detectors gave them: that is the order in which the remedies have to be applied.
	return d
}

// unread lists what one observation could not read. A node whose agent did not answer at all is one line, not sixteen, and
// blind.
func unread(o *observation.Observation) (list []Unknown, blind bool) {
	reasons := map[string]int{}
	for _, u := range o.Unknown {
		reasons[u.Why]++
	}
	told := map[string]bool{}
	for _, u := range o.Unknown {
		if reasons[u.Why] >= len(nodeSources) {
			if !told[u.Why] {
				told[u.Why] = true
				list = append(list, Unknown{Node: o.Node, What: "node", Why: "the agent on it did not answer: " + u.Why})
				blind = true
			}
			continue
		}
		list = append(list, Unknown{Node: o.Node, What: u.What, Why: u.Why})
	}
	return list, blind
}
