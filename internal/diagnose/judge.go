package diagnose

import (
	"fmt"
	"maps"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/facts"
)

// Judge has the detectors judge every node's history, side by side, and collects what could not be read. A nil judge
// takes package detectors. The result depends on the histories alone.
func Judge(histories map[string]v1alpha1.History, judge JudgeFunc) v1alpha1.Diagnosis {
	return judgeAll(slices.Sorted(maps.Keys(histories)), func(node string) (v1alpha1.History, error) { return histories[node], nil }, judge)
}

// JudgeBundle judges the named nodes of a bundle, all of them when none is named. It holds as many histories at a time as there
// are processors: a thousand nodes take no more memory than ten. Whatever a bundle holds of a node, the others are judged.
func JudgeBundle(b *Bundle, judge JudgeFunc, nodes ...string) v1alpha1.Diagnosis {
	if len(nodes) == 0 {
		nodes = b.Nodes()
	}
	d := judgeAll(slices.Compact(slices.Sorted(slices.Values(nodes))), b.History, judge)
	setCluster(&d, b.Info.Cluster, b.Info.Context)
	d.Recording = &v1alpha1.Recording{At: b.Info.RecordedAt, By: b.Info.RecordedBy, Note: b.Info.Note}
	return d
}

// verdictOn is what there is to say of one node.
type verdictOn struct {
	findings []v1alpha1.Finding
	unknown  []v1alpha1.NodeUnknown
	blind    bool
	at       time.Time
	pods     *v1alpha1.NodePods
}

// judgeAll judges the nodes side by side and lets each history go as soon as it is judged. By node, and within a node as the
// detectors gave them: that is the order in which the remedies have to be applied.
func judgeAll(nodes []string, history func(node string) (v1alpha1.History, error), judge JudgeFunc) v1alpha1.Diagnosis {
	results := make([]verdictOn, len(nodes))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, node := range nodes {
		g.Go(func() error {
			h, err := history(node)
			if err != nil {
				results[i] = unjudgeable(node, err.Error())
				return nil
			}
			judgeAlone(&results[i], node, h, judge)
			return nil
		})
	}
	_ = g.Wait()
	return assemble(nodes, results)
}

func unjudgeable(node, why string) verdictOn {
	return verdictOn{unknown: []v1alpha1.NodeUnknown{{Node: node, What: "node", Why: why}}, blind: true}
}

// judgeAlone judges one node. What brings a detector down is that node's alone: the others are told, and a run that has something to
// recover goes on.
func judgeAlone(v *verdictOn, node string, h v1alpha1.History, judge JudgeFunc) {
	if err := judgeInto(v, node, h, judge); err != nil {
		brief, _, _ := strings.Cut(err.Error(), "\n")
		*v = unjudgeable(node, brief+": this is a mistake in sickbay; please report it with the bundle that `sickbay bundle DIR` writes")
	}
}

// judgeInto judges one node. A detector's panic is an error.
func judgeInto(v *verdictOn, node string, h v1alpha1.History, judge JudgeFunc) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("judging node %s: %v\n%s", node, p, debug.Stack())
		}
	}()
	if len(h) == 0 {
		*v = unjudgeable(node, "it was never looked at")
		return nil
	}
	if judge == nil {
		judge = Detectors
	}
	v.findings, v.at = slices.Clone(judge(h)), h.Last().At
	for i := range v.findings {
		v.findings[i].Check = byHand(v.findings[i], h.Last())
	}
	v.unknown, v.blind = unread(h.Last())
	if why := unjudged(h.Last()); why != "" && len(v.findings) == 0 && !v.blind {
		v.unknown = slices.Insert(v.unknown, 0, v1alpha1.NodeUnknown{Node: node, What: verdict, Why: why})
		v.blind = true
	}
	if len(v.findings) > 0 {
		v.pods = notReady(node, h.Last())
	}
	return nil
}

// notReady counts the node's pods, nil when the API server did not list them.
func notReady(node string, o *v1alpha1.Observation) *v1alpha1.NodePods {
	if o.API == nil || len(o.API.Pods) == 0 {
		return nil
	}
	n := &v1alpha1.NodePods{Node: node, NotReady: []string{}}
	for i := range o.API.Pods {
		p := &o.API.Pods[i]
		if p.Status.Phase == corev1.PodSucceeded {
			continue
		}
		n.Total++
		if !slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		}) {
			n.NotReady = append(n.NotReady, p.Namespace+"/"+p.Name)
		}
	}
	return n
}

// setCluster names the cluster, and in each kubectl command its context: pasted into another shell, a command must not reach the
// cluster that is current there.
func setCluster(d *v1alpha1.Diagnosis, name, context string) {
	d.Cluster, d.Context = name, context
	if context = contextOf(*d); context == "" {
		return
	}
	for i := range d.Findings {
		f := &d.Findings[i]
		f.ManualAction, f.ToConfirm = withContextIn(f.ManualAction, context), withContextIn(f.ToConfirm, context)
		r := f.Remedy
		if r == nil {
			continue
		}
		with := *r
		with.Steps = slices.Clone(r.Steps)
		for j, st := range with.Steps {
			if st.On == "" {
				with.Steps[j].Run = withContext(st.Run, context)
			}
		}
		d.Findings[i].Remedy = &with
	}
}

var (
	kubectl      = regexp.MustCompile(`(^|\| |; )kubectl (--context \S+ )?`)
	kubectlQuote = regexp.MustCompile("`kubectl (--context \\S+ )?")
)

// contextOf is the kubeconfig context of what was looked at: kind's for a cluster of its own. Empty where there is none.
func contextOf(d v1alpha1.Diagnosis) string {
	if d.Context == "" && d.Cluster != "" {
		return "kind-" + d.Cluster
	}
	return d.Context
}

// withContext gives each kubectl of a command line a context.
func withContext(command, context string) string {
	return kubectl.ReplaceAllStringFunc(command, func(m string) string {
		return m[:strings.Index(m, "kubectl")] + "kubectl --context " + detectors.Quote(context) + " "
	})
}

// withContextIn does so for the commands that a text has between backticks.
func withContextIn(text, context string) string {
	return kubectlQuote.ReplaceAllLiteralString(text, "`kubectl --context "+detectors.Quote(context)+" ")
}

func assemble(nodes []string, results []verdictOn) v1alpha1.Diagnosis {
	d := v1alpha1.Diagnosis{
		APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindDiagnosis, Healthy: true, Nodes: nodes,
		Findings: []v1alpha1.Finding{}, Unknown: []v1alpha1.NodeUnknown{},
	}
	for _, r := range results {
		for _, f := range r.findings {
			if f.Consequences == nil {
				f.Consequences = []string{} // a list is never null: readers index it
			}
			d.Findings = append(d.Findings, f)
		}
		d.Unknown = append(d.Unknown, r.unknown...)
		if r.pods != nil {
			d.Pods = append(d.Pods, *r.pods)
		}
		if r.at.After(d.At) {
			d.At = r.at
		}
		d.Healthy = d.Healthy && !r.blind && len(r.findings) == 0
	}
	return d
}

// allSources is how many sources fail alike where the agent did not answer at all: the oldest bundles know sixteen.
const allSources = 16

// unread lists what one observation could not read. A node whose agent did not answer at all is one line, and
// blind. So is one that was looked at without the rights to see it, or where there is nothing of a node to be seen: that nothing
// is found there says nothing.
func unread(o *v1alpha1.Observation) (list []v1alpha1.NodeUnknown, blind bool) {
	reasons := map[string]int{}
	for _, u := range o.Unknown {
		reasons[u.Why]++
	}
	told := map[string]bool{}
	for _, u := range o.Unknown {
		if reasons[u.Why] >= allSources {
			if !told[u.Why] {
				told[u.Why] = true
				list = append(list, v1alpha1.NodeUnknown{Node: o.Node, What: "node", Why: u.Why})
				blind = true
			}
			continue
		}
		list = append(list, v1alpha1.NodeUnknown{Node: o.Node, What: u.What, Why: u.Why})
	}
	if why := partly(o); why != "" && !blind {
		list = slices.Insert(list, 0, v1alpha1.NodeUnknown{Node: o.Node, What: "node", Why: why})
		blind = true
	}
	return list, blind
}

// verdict is what is unknown where a detector saw nothing of what its verdict rests on.
const verdict = "verdict"

// unjudged says which detectors saw nothing of what they rest on, why, and what to do next: their silence says nothing. So does that of
// all where the runtime answered no call. Empty where each saw something. Who gave no way to the API server knows what is not judged.
func unjudged(o *v1alpha1.Observation) string {
	missing := func(source string) (string, bool) {
		if source == v1alpha1.SourceAPI && o.API != nil {
			return "", false
		}
		return o.Unreadable(source)
	}
	if why, no := missing(v1alpha1.SourceStatus); no {
		_, noSandboxes := missing(v1alpha1.SourceSandboxes)
		_, noContainers := missing(v1alpha1.SourceContainers)
		if noSandboxes && noContainers {
			return "the container runtime answered no call: " + why + "; next: " + next(o, v1alpha1.SourceStatus)
		}
	}
	var names []string
	var first, reason string
	for _, d := range detectors.Registered() {
		if len(d.Needs) == 0 || slices.ContainsFunc(d.Needs, func(s string) bool { why, no := missing(s); return !no || why == errNoAPI.Error() }) {
			continue
		}
		names = append(names, d.Failure)
		if first == "" {
			first = d.Needs[0]
			reason, _ = missing(first)
		}
	}
	if first == "" {
		return ""
	}
	return fmt.Sprintf("nothing could be read of what %s rests on: %s: %s; next: %s", strings.Join(names, ", "), first, reason, next(o, first))
}

// next is the command with which a person goes on where a source could not be read.
func next(o *v1alpha1.Observation, source string) string {
	switch source {
	case v1alpha1.SourceAPI:
		return "`kubectl get --raw '/readyz?verbose'`"
	case v1alpha1.SourceStatus:
		r := facts.Runtime(o)
		return "`" + strings.Join(r.CLI, " ") + " version` and `journalctl -n 50 -u " + r.UnitName() + "` on the node"
	case v1alpha1.SourceUnits, v1alpha1.SourceJournal:
		return "`systemctl status` and `journalctl -n 50` on the node"
	}
	return "`sickbay diagnose --unknown`, which says why each source could not be read"
}

// partly says why a look that was made does not count as having seen the node; empty when it does.
func partly(o *v1alpha1.Observation) string {
	_, noUnits := o.Unreadable(v1alpha1.SourceUnits)
	_, noRuntime := o.Unreadable(v1alpha1.SourceStatus)
	switch {
	case o.Host.Unprivileged:
		return "seen only in part: the agent did not run as root there; run sickbay as root, or with --sudo over ssh"
	case noUnits && noRuntime:
		return "neither its service manager nor its container runtime answered: is it a node?"
	}
	return ""
}
