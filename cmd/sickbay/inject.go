package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// injected is what `inject -o json` prints.
type injected struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Scenario   string    `json:"scenario"`
	Cluster    string    `json:"cluster"`
	Node       string    `json:"node"`
	Run        string    `json:"run"`
	Namespace  string    `json:"namespace"`
	HealsAt    time.Time `json:"healsAt"`
	// StaysInAPI says that all or part of it was rolled out through the API: the node cannot take that back by itself, a process
	// of sickbay's that stays behind on this machine does.
	StaysInAPI bool   `json:"staysInApi,omitempty"`
	Contained  string `json:"contained,omitempty"`
	Recover    string `json:"recover"`
}

func (a *app) inject() *cobra.Command {
	var g clusterOptions
	var node string
	var trust bool
	var lease time.Duration
	cmd := &cobra.Command{
		Use:   "inject SCENARIO",
		Short: "Inject a fault and leave it in place for a while",
		Long: `Inject a scenario's fault and return. Nothing is diagnosed or fixed. The node undoes the fault by itself after --for, or at once
with sickbay recover.`,
		Example: `  sickbay inject conflist-missing --for 10m
  sickbay diagnose
  sickbay recover --all`,
		Args:              args(cobra.ExactArgs(1), "the name of one scenario"),
		ValidArgsFunction: completeOneScenario,
	}
	a.clusterFlags(cmd, &g)
	trustFlag(cmd, &trust)
	a.nodeFlag(cmd, &node, "the worker to inject into (default: a free one)")
	cmd.Flags().DurationVar(&lease, "for", 30*time.Minute, "the node undoes the fault after this time")
	form := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		list, err := findScenarios(args)
		if err != nil {
			return err
		}
		if lease < time.Minute || lease > 24*time.Hour {
			return usagef("--for %s: it must be one minute to 24 hours", lease)
		}
		if err := g.check(); err != nil {
			return err
		}
		ctx := cmd.Context()
		g.victim = node
		if err := a.trusted(ctx, list, trust); err != nil {
			return err
		}
		c, err := a.ready(ctx, g)
		if err != nil {
			return err
		}
		lab, err := a.deps.testbed(ctx, c)
		if err != nil {
			return err
		}
		ill, err := a.place(ctx, lab, c, list[0], node, lease, "")
		if err != nil {
			return err
		}
		heals := time.Now().Add(lease)
		if err := ill.leave(ctx, lease); err != nil {
			return err
		}
		out := injected{
			APIVersion: v1alpha1.APIVersion, Kind: "Injected", Scenario: list[0].Metadata.Name, Cluster: c.Name, Node: ill.Node,
			Run: ill.Run, Namespace: ill.Namespace(), HealsAt: heals.UTC().Truncate(time.Second), Contained: ill.Contained(),
			StaysInAPI: slices.ContainsFunc(list[0].Spec.Inject, func(act v1alpha1.Action) bool { return act.Rollout() != nil }),
			Recover:    ill.RecoverCommand(),
		}
		return print(a, *form, out, func(w io.Writer) { showInjected(w, out, list[0]) })
	}
	return cmd
}

func showInjected(w io.Writer, i injected, s *scenarios.Scenario) {
	fmt.Fprintf(w, "%s is ill: %s\n", i.Node, s.Spec.Title)
	if i.Contained != "" {
		fmt.Fprintf(w, "  contained: %s\n", i.Contained)
	}
	fmt.Fprintf(w, "  find it:    sickbay diagnose --cluster %s\n", i.Cluster)
	fmt.Fprintf(w, "  undo it:    %s\n", i.Recover)
	if i.StaysInAPI {
		fmt.Fprintf(w, "  or wait:    it lies in the API, in namespace %s; a process that stays behind here takes it back at %s\n", i.Namespace, i.HealsAt.Local().Format("15:04:05"))
		return
	}
	fmt.Fprintf(w, "  or wait:    it heals itself at %s\n", i.HealsAt.Local().Format("15:04:05"))
}
