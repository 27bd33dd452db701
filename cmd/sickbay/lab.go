package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/lab"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/scenarios"
)

func (a *app) lab() *cobra.Command {
	cmd := a.group("lab", "Practise on call: a node fails, you get the symptoms and find the cause",
		`A fault is put on a node and not told. You get the page and the ticket, a shell and your own tools, hints on demand, and a referee that
tells a fix from a workaround. A lab belongs to no terminal: close it, and go on later. See docs/labs.md.`,
		`  sickbay lab start              # a fault that you do not know
  sickbay lab shell --record     # kubectl; lab shell NODE for a node. What you do is in the debrief
  sickbay lab hint
  sickbay lab answer image-pull/registry-auth
  sickbay lab check
  sickbay lab stop`,
		a.labList(), a.labStart(), a.labStatus(), a.labShell(), a.labHint(), a.labAnswer(), a.labCheck(), a.labPause(), a.labResume(), a.labReset(),
		a.labSolve(), a.labStop(), a.labProgress(), a.labDrill(), a.labServe(), a.labVerify(), a.labKnow())
	noVerb := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			if _, err := scenarios.FindCourse(args[0]); err == nil {
				return usagef("`sickbay lab start %s` starts it", args[0])
			}
		}
		return noVerb(cmd, args)
	}
	return cmd
}

func labStore() (lab.Store, error) {
	dir, err := cluster.CacheDir()
	return lab.Store{Dir: filepath.Join(dir, "labs")}, err
}

// lesson is a lab that was begun, as a verb works on it.
type lesson struct {
	store    lab.Store
	st       *lab.State
	course   *scenarios.Course
	language string
	took     time.Duration // its start, on a cluster that was up
}

func (l *lesson) save() error { return l.store.Save(l.st) }

// say is a text in the learner's language.
func (l *lesson) say(t v1alpha1.Text) string { return t.In(l.language) }

// lessonOn loads the lab of a cluster; of two, the one that is named.
func lessonOn(name, code string) (*lesson, error) {
	store, err := labStore()
	if err != nil {
		return nil, err
	}
	var there []*lab.State
	var codes []string
	for _, beside := range []bool{false, true} {
		st, err := store.Load(lab.Key(name, beside))
		if errors.Is(err, lab.ErrNone) {
			continue
		}
		if err != nil {
			return nil, &usageError{text: err.Error(), hint: "`sickbay lab stop` clears up."}
		}
		codes = append(codes, st.Code)
		if code == "" || strings.EqualFold(st.Code, code) {
			there = append(there, st)
		}
	}
	switch {
	case len(codes) == 0:
		return nil, &usageError{text: fmt.Sprintf("%s on cluster %s", lab.ErrNone, name), hint: "`sickbay lab start` starts one."}
	case len(there) == 0:
		return nil, usagef("there is no lab %s on cluster %s, but %s", code, name, strings.Join(codes, " and "))
	case len(there) == 2:
		return nil, usagef("two labs are on cluster %s: --lab %s or --lab %s", name, codes[0], codes[1])
	}
	st := there[0]
	which := st.Code
	if st.Path != "" {
		which = st.Path
	}
	course, err := scenarios.FindCourse(which)
	if err != nil {
		return nil, err
	}
	return &lesson{store: store, st: st, course: course, language: st.Language}, nil
}

// under checks that the node is still ill: a lab whose time is over, or whose start was cut short, has two ways to go on.
func (l *lesson) under() error {
	again := fmt.Sprintf("`sickbay lab reset --cluster %[1]s` makes the same fault anew, `sickbay lab stop --cluster %[1]s` clears up.", l.st.Cluster)
	rec, ok := l.record()
	switch {
	case l.st.Phase == lab.Starting && ok && rec.Alive:
		return usagef("lab %s is just being started by process %d", l.st.Code, rec.PID)
	case l.st.Phase == lab.Starting:
		return &usageError{text: fmt.Sprintf("the start of lab %s was cut short", l.st.Code), hint: again}
	case !ok && l.st.Phase != lab.Solved:
		return &usageError{text: fmt.Sprintf("lab %s is over: its time had come, or its fault was undone", l.st.Code), hint: again}
	case l.st.Phase == lab.Paused:
		return &usageError{text: fmt.Sprintf("lab %s is paused", l.st.Code), hint: "`sickbay lab resume` goes on."}
	}
	return nil
}

func (l *lesson) record() (cluster.Record, bool) { return l.recordOf(l.st.Run) }

func (l *lesson) recordOf(run string) (cluster.Record, bool) {
	all, _ := cluster.Records(l.st.Cluster)
	i := slices.IndexFunc(all, func(r cluster.Record) bool { return r.Run == run })
	if run == "" || i < 0 {
		return cluster.Record{}, false
	}
	return all[i], true
}

// world reaches the lab's cluster, and gives the lab its time anew.
func (a *app) world(ctx context.Context, l *lesson) (*lab.World, *cluster.Cluster, error) {
	w, c, err := a.reach(ctx, l)
	if err != nil {
		return nil, nil, err
	}
	return w, c, l.renew(ctx, w)
}

func (a *app) reach(ctx context.Context, l *lesson) (*lab.World, *cluster.Cluster, error) {
	c, err := a.ours(ctx, l.st.Cluster)
	if err != nil {
		return nil, nil, err
	}
	tb, err := a.deps.testbed(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	w := &lab.World{
		Testbed: tb, Course: l.course, Node: c.Node, ControlPlane: controlPlane(c), Placed: l.st.Placed, Vouched: l.st.Vouched, Remedy: tb.Remedy,
		Session: fault.New(tb, fault.Options{Scenario: l.course.Scenario, Run: l.st.Run, Node: l.st.Node, Name: strings.ToLower(l.st.Code), Secret: true}),
	}
	return w, c, nil
}

// renewing: within one process many may look at a lab at the same time, and one at a time holds its record.
var renewing sync.Mutex

// renew prolongs the lease, on the nodes and on this machine.
func (l *lesson) renew(ctx context.Context, w *lab.World) error {
	renewing.Lock()
	defer renewing.Unlock()
	for _, run := range append([]string{l.st.Run}, l.st.Decoys...) {
		rec, ok := l.recordOf(run)
		if !ok {
			continue
		}
		hold, err := rec.Take()
		if err != nil {
			return err
		}
		nodes := []string{rec.Node}
		if run == l.st.Run {
			nodes = slices.Collect(maps.Keys(l.st.Placed))
		}
		for _, on := range nodes {
			ag, err := w.Agent(ctx, on)
			if err == nil {
				err = ag.Renew(ctx, run, l.st.Lease)
			}
			if err != nil {
				progress.From(ctx).Note("the lab's time on node %s could not be prolonged: %s", on, err)
			}
		}
		if err := hold.Leave(time.Now().Add(l.st.Lease)); err != nil {
			return err
		}
	}
	return nil
}

func controlPlane(c *cluster.Cluster) string {
	for _, n := range c.Nodes() {
		if n.Role == cluster.ControlPlane {
			return n.Name
		}
	}
	return ""
}

// labVerb is a verb that works on the lab of a cluster.
func (a *app) labVerb(use, short, long string, takes cobra.PositionalArgs, run func(cmd *cobra.Command, l *lesson, args []string) error) *cobra.Command {
	var name, code string
	verb, _, _ := strings.Cut(use, " ")
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Args: takes, Example: "  sickbay lab " + verb}
	a.clusterFlag(cmd, &name)
	cmd.Flags().StringVar(&code, "lab", "", "the code of one of two labs on the cluster")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		l, err := lessonOn(name, code)
		if err != nil {
			return err
		}
		return run(cmd, l, args)
	}
	return cmd
}

func (a *app) labList() *cobra.Command {
	var level int
	var topic string
	cmd := &cobra.Command{
		Use: "list", Short: "List the labs, without their causes", Args: noArgs,
		Long:    "List the labs by code, with topic, level and typical time. Nothing here tells what a lab is about.",
		Example: "  sickbay lab list --level 1\n  sickbay lab list --topic network",
	}
	filterFlags(cmd, &level, &topic)
	form := output(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		if err := checkFilter(level, topic); err != nil {
			return err
		}
		all, err := scenarios.Courses()
		if err != nil {
			return err
		}
		type row struct {
			Code    string `json:"code"`
			Topic   string `json:"topic"`
			Level   int    `json:"level"`
			Minutes int    `json:"minutes"`
		}
		var rows []row
		for _, c := range all {
			l := c.Of.Spec
			if (level == 0 || l.Level == level) && (topic == "" || l.Topic == topic) {
				rows = append(rows, row{l.Code, l.Topic, l.Level, l.Minutes})
			}
		}
		return print(a, *form, listOf("LabList", rows), func(w io.Writer) {
			table(w, func(row func(...string)) {
				row("CODE", "TOPIC", "LEVEL", "TYPICAL TIME")
				for _, r := range rows {
					row(r.Code, r.Topic, fmt.Sprint(r.Level), fmt.Sprintf("%d min", r.Minutes))
				}
			})
		})
	}
	return cmd
}

func filterFlags(cmd *cobra.Command, level *int, topic *string) {
	cmd.Flags().IntVar(level, "level", 0, "only labs of this level, 1 to 3")
	cmd.Flags().StringVar(topic, "topic", "", "only labs of this topic: "+strings.Join(v1alpha1.LabTopics, ", "))
	_ = cmd.RegisterFlagCompletionFunc("topic", cobra.FixedCompletions(v1alpha1.LabTopics, cobra.ShellCompDirectiveNoFileComp))
}

func checkFilter(level int, topic string) error {
	if level < 0 || level > 3 {
		return usagef("--level %d: it must be 1, 2 or 3", level)
	}
	if topic != "" && !slices.Contains(v1alpha1.LabTopics, topic) {
		return usagef("--topic %q: it must be one of %s", topic, strings.Join(v1alpha1.LabTopics, ", "))
	}
	return nil
}

// completeLabs completes codes; a scenario's name would be the answer.
func completeLabs(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	all, err := scenarios.Courses()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, c := range all {
		out = append(out, fmt.Sprintf("%s\t%s, level %d", c.Of.Spec.Code, c.Of.Spec.Topic, c.Of.Spec.Level))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// languageFlag adds --language; without it the environment's is taken.
func languageFlag(cmd *cobra.Command, language *string) {
	def := "en"
	for _, key := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := os.Getenv(key); v != "" {
			if strings.HasPrefix(v, "ko") {
				def = "ko"
			}
			break
		}
	}
	cmd.Flags().StringVar(language, "language", def, "language of the texts: en or ko")
	_ = cmd.RegisterFlagCompletionFunc("language", cobra.FixedCompletions([]string{"en", "ko"}, cobra.ShellCompDirectiveNoFileComp))
}
