package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/internal/npd"
	"github.com/sickbay-dev/sickbay/internal/text"
)

func (a *app) npd() *cobra.Command {
	var o npd.ConfigOptions
	cmd := &cobra.Command{
		Use:   "npd",
		Short: "Write a configuration for node-problem-detector",
		Long: `Write a configuration for node-problem-detector's custom plugin monitor: a node condition for each failure, such as PLEGProblem,
False while it is absent and True with the cause in its message. Its rules call sickbay npd check on the node.

Put sickbay and its agent (sickbay-agent-linux-ARCH, beside it) on the nodes, then start NPD with
--config.custom-plugin-monitor=FILE. Without --kubeconfig, failures of pods are Unknown: the node alone does not show them.`,
		Example: `  sickbay npd > sickbay.json
  sickbay npd --failure pleg,cni,disk-pressure --every 1m > sickbay.json
  sickbay npd --kubeconfig /etc/sickbay/kubeconfig > sickbay.json
  sickbay npd --enter-host > sickbay.json   # NPD runs as a pod, with hostPID and privileged`,
		Args: a.noVerb,
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&o.Failures, "failure", nil, "only these failures")
	fl.StringVar(&o.Sickbay, "path", npd.DefaultSickbay, "where sickbay is on the nodes")
	fl.DurationVar(&o.Every, "every", npd.DefaultEvery, "how often to check; all checks of a round share one look")
	fl.StringVar(&o.Kubeconfig, "kubeconfig", "", "a kubeconfig on the nodes: also read the API server")
	fl.BoolVar(&o.EnterHost, "enter-host", false, "NPD runs as a pod: enter the node's namespaces with nsenter")
	_ = cmd.RegisterFlagCompletionFunc("failure", completeFailures)
	cmd.RunE = func(*cobra.Command, []string) error {
		if err := checkEvery(o.Every); err != nil {
			return err
		}
		for i, f := range o.Failures {
			if err := knownFailure(f); err != nil {
				return err
			}
			if slices.Contains(o.Failures[:i], f) {
				return usagef("--failure %s: it is named twice", f)
			}
		}
		c, err := npd.NewConfig(o)
		if err != nil {
			return err
		}
		return print(a, jsonForm, c, func(io.Writer) {})
	}
	cmd.AddCommand(a.npdCheck())
	return cmd
}

func (a *app) npdCheck() *cobra.Command {
	w := targetFlags{local: true}
	var o npd.CheckOptions
	cmd := &cobra.Command{
		Use:   "check FAILURE",
		Short: "Check this node for one failure, as a plugin of node-problem-detector",
		Long: `Check this node for one failure, as a custom plugin of node-problem-detector: one line, and exit code 0 for no problem, 1 for a
problem, 2 for unknown.

The first check of a round reads the node; the others use the same look. The last looks are kept in --state, because one look
does not show what changes.`,
		Example: `  sickbay npd check pleg
  sickbay npd check image-pull --kubeconfig /etc/sickbay/kubeconfig`,
		Args:              args(cobra.ExactArgs(1), "the name of one failure"),
		ValidArgsFunction: completeFailures,
	}
	fl := cmd.Flags()
	fl.StringVar(&o.State, "state", npd.DefaultState, "where looks are kept")
	fl.DurationVar(&o.Every, "every", npd.DefaultEvery, "NPD's interval: a look younger than half of it is of the same round")
	fl.DurationVar(&w.since, "since", 10*time.Minute, "how far back to read logs and keep looks")
	fl.StringSliceVar(&w.nodes, "node", nil, "this node's Kubernetes name (default: its host name)")
	fl.StringVar(&w.kubeconfig, "kubeconfig", "", "also read the API server with this kubeconfig")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkEvery(o.Every); err != nil {
			return err
		}
		o.Failure = args[0]
		if err := knownFailure(o.Failure); err != nil {
			return err
		}
		s, err := a.target(cmd.Context(), w)
		if err != nil {
			return err
		}
		o.Look = s.options
		said, err := npd.Check(cmd.Context(), s.Target, o)
		if err != nil {
			fmt.Fprintln(a.err, message(err)) // NPD keeps it in its own log
		}
		fmt.Fprintln(a.out, text.Plain(said.Message))
		return answer(said.Status)
	}
	return cmd
}

func checkEvery(d time.Duration) error {
	if d < 5*time.Second || d > time.Hour {
		return usagef("--every %s: it must be five seconds to an hour", d)
	}
	return nil
}

func knownFailure(name string) error {
	if _, ok := failures.Lookup(name); ok {
		return nil
	}
	var known []string
	for _, f := range failures.All() {
		known = append(known, f.Name)
	}
	return unknownName("failure", name, text.Near(name, known, 2), "It is one of "+strings.Join(known, ", ")+".")
}
