package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"
	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

const labHelp = `  hint     the next hint; there are a few, and the last one names the cause
  check    is the node well again? (looks, and says no more than yes or no)
  story    tell the symptoms again
  nodes    how to get onto the nodes
  solve    say what it was, and cure it
  stop     undo everything and leave
`

func (a *app) lab() *cobra.Command {
	var g clusterOptions
	var node string
	cmd := &cobra.Command{
		Use:   "lab SCENARIO",
		Short: "Practise on call: a node fails, you get the symptoms and find the cause",
		Long: `Inject a fault without saying which. You get the symptoms, as on call, and work on the cluster with your own tools. Type here:

` + labHelp,
		Example: `  sickbay lab conflist-missing
  make lab NAME=pleg-disk`,
		Args:              args(cobra.ExactArgs(1), "the name of one scenario"),
		ValidArgsFunction: completeOneScenario,
	}
	a.clusterFlags(cmd, &g)
	a.nodeFlag(cmd, &node, "the worker to inject into (default: a free one)")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		list, err := findScenarios(args)
		if err != nil {
			return err
		}
		of, err := list[0].Lab()
		if err != nil {
			return err
		}
		if of == nil {
			return usagef("scenario %s is no lab: there is no %s beside it", list[0].Metadata.Name, scenarios.LabName)
		}
		if err := g.check(); err != nil {
			return err
		}
		ctx := cmd.Context()
		c, err := a.ready(ctx, g)
		if err != nil {
			return err
		}
		if node != "" {
			if err := checkVictim(c, node); err != nil {
				return err
			}
		}
		lab, err := a.deps.testbed(ctx, c)
		if err != nil {
			return err
		}
		ill, err := a.place(ctx, lab, c, list[0], node, 0, true)
		if err != nil {
			return err
		}
		kubeconfig, _ := c.Kubeconfig()
		var names []string
		for _, n := range c.Nodes() {
			names = append(names, n.Name)
		}
		l := &lesson{app: a, lab: lab, scenario: list[0], of: of, ill: ill.Node, cluster: c.Name, kubeconfig: kubeconfig, nodes: names, env: c.Engine().Env(), client: c.Engine().Provider}
		// The node stays ill while this process lives, and is well again whatever happens.
		defer func() { err = errors.Join(err, ill.end(ctx)) }()
		return l.talk(ctx)
	}
	return cmd
}

// lesson is one lab being done.
type lesson struct {
	app        *app
	lab        suites.Testbed
	scenario   *scenarios.Scenario
	of         *v1alpha1.Lab
	ill        string
	cluster    string
	kubeconfig string
	nodes      []string
	env        []string
	client     string
	hints      int
}

func (l *lesson) talk(ctx context.Context) error {
	w := l.app.out
	l.story(w)
	fmt.Fprint(w, "\n"+labHelp)
	for {
		fmt.Fprint(w, l.app.paint(bold, "\nlab> "))
		word, err := l.app.readLine(ctx)
		if errors.Is(err, io.EOF) {
			fmt.Fprintln(w)
			return nil
		}
		if err != nil {
			fmt.Fprintln(w)
			return err
		}
		switch strings.ToLower(word) {
		case "":
		case "hint", "h":
			l.hint(w)
		case "check", "c":
			done, err := l.check(ctx, w)
			if err != nil {
				return err
			}
			if done {
				return nil
			}
		case "story":
			l.story(w)
		case "nodes":
			l.ways(w)
		case "solve":
			return l.solve(ctx, w)
		case "stop", "quit", "exit", "q":
			return nil
		default:
			near := text.Nearest(word, []string{"hint", "check", "story", "nodes", "solve", "stop"}, 1)
			if len(near) == 1 {
				fmt.Fprintf(w, "There is no %q; did you mean %s?\n", word, near[0])
			} else {
				fmt.Fprint(w, labHelp)
			}
		}
	}
}

func (l *lesson) story(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(l.of.Spec.Story.En))
	l.ways(w)
}

func (l *lesson) ways(w io.Writer) {
	fmt.Fprintf(w, "\nThe cluster is %s.\n", l.cluster)
	if l.kubeconfig != "" {
		fmt.Fprintf(w, "  export KUBECONFIG=%s\n", shellescape.Quote(l.kubeconfig))
	}
	env := ""
	for _, kv := range l.env {
		if strings.HasPrefix(kv, "DOCKER_HOST=") {
			env = kv + " "
		}
	}
	fmt.Fprintf(w, "  %s%s exec -it NODE bash     # NODE is one of %s\n", env, l.client, strings.Join(l.nodes, ", "))
}

func (l *lesson) hint(w io.Writer) {
	hints := l.of.Spec.Hints
	if l.hints == len(hints) {
		fmt.Fprintln(w, "That was the last hint. `solve` cures the node. More of it:")
		for _, x := range l.scenario.Spec.Expect {
			fmt.Fprintf(w, "  sickbay explain %s/%s\n", x.Failure, x.Cause)
		}
		return
	}
	fmt.Fprintf(w, "Hint %d of %d: %s\n", l.hints+1, len(hints), hints[l.hints].Says.En)
	l.hints++
}

// check says yes or no, never what it is.
func (l *lesson) check(ctx context.Context, w io.Writer) (bool, error) {
	d, err := l.diagnose(ctx)
	if err != nil {
		return false, err
	}
	if len(d.Findings) == 0 && d.Healthy {
		fmt.Fprintf(w, "%s You took %s.\n", l.app.paint(green, "All nodes are well."), hintsWord(l.hints))
		return true, nil
	}
	if len(d.Findings) == 0 {
		fmt.Fprintln(w, l.app.paint(amber, "Not every node can be seen yet. Ask again in a moment."))
		return false, nil
	}
	fmt.Fprintln(w, l.app.paint(red, "Not yet: a node is still ill."))
	return false, nil
}

func hintsWord(n int) string {
	switch n {
	case 0:
		return "no hint"
	case 1:
		return "one hint"
	}
	return fmt.Sprintf("%d hints", n)
}

// diagnose looks twice at every node, blind, reading back only a little: what was cured a minute ago must not count.
func (l *lesson) diagnose(ctx context.Context) (v1alpha1.Diagnosis, error) {
	watch := diagnose.NewWatcher(l.lab.Target(), diagnose.Options{Since: 15 * time.Second})
	task := progress.From(ctx).Start("look at every node", 0)
	err := lookOften(ctx, watch, 2, task)
	task.End(err)
	if err != nil {
		return v1alpha1.Diagnosis{}, err
	}
	return watch.Diagnose(nil), nil
}

func (l *lesson) solve(ctx context.Context, w io.Writer) error {
	d, err := l.diagnose(ctx)
	if err != nil {
		return err
	}
	hints := l.of.Spec.Hints
	fmt.Fprintf(w, "\n%s\n%s\n\n", l.app.paint(bold, l.scenario.Spec.Title), hints[len(hints)-1].Says.En)
	l.app.showDiagnosis(l.app.out, d, diagnoseFlags{})
	for _, f := range d.Findings {
		if f.Remedy == nil {
			continue
		}
		task := progress.From(ctx).Start("cure "+f.Node+": "+f.Remedy.Name, 0)
		err := l.lab.Remedy(ctx, f.Node, f.Remedy, func(s v1alpha1.AppliedStep) { task.Detail("%s", s.Step.Run) })
		task.End(err)
		if err != nil {
			return err
		}
	}
	return nil
}
