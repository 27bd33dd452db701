package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// completionBound is how long a shell may hang on Tab: a listing over a socket takes some 30 ms when there is anything.
const completionBound = 2 * time.Second

func (a *app) completion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a shell's completion script",
		Long:  "Print a shell's completion script. Names of scenarios, clusters and nodes are completed.",
		Example: `  source <(sickbay completion bash)
  sickbay completion zsh > "${fpath[1]}/_sickbay"`,
		Args:      args(cobra.ExactArgs(1), "the name of one shell"),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.out, true)
			case "zsh":
				return root.GenZshCompletion(a.out)
			case "fish":
				return root.GenFishCompletion(a.out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.out)
			}
			return usagef("%q is not bash, zsh, fish or powershell", args[0])
		},
	}
}

// completeScenarios completes names of scenarios, and files for a scenario of the user's own.
func completeScenarios(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	if scenarios.IsPath(typed) {
		return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
	}
	all, err := scenarios.All()
	if err != nil {
		return scenarios.Names(), cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, s := range all {
		out = append(out, s.Metadata.Name+"\t"+s.Spec.Title)
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func completeOneScenario(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeScenarios(cmd, args, typed)
}

// completeFailures completes FAILURE and FAILURE/CAUSE.
func completeFailures(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, f := range failures.All() {
		out = append(out, f.Name+"\t"+f.Title)
		for _, c := range f.Causes {
			out = append(out, f.Name+"/"+c.Name+"\t"+c.Title)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeClusters asks the engine that is there; it never starts one.
func (a *app) completeClusters(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionBound)
	defer cancel()
	names, err := a.deps.clusterNames(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeNodes(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionBound)
	defer cancel()
	name, _ := cmd.Flags().GetString("cluster")
	nodes, err := a.deps.nodeNames(ctx, name)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return nodes, cobra.ShellCompDirectiveNoFileComp
}

// clusterFlag adds --cluster.
func (a *app) clusterFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "cluster", defaultCluster, "name of the kind cluster")
	_ = cmd.RegisterFlagCompletionFunc("cluster", a.completeClusters)
}

// nodeFlag adds --node.
func (a *app) nodeFlag(cmd *cobra.Command, name *string, usage string) {
	cmd.Flags().StringVar(name, "node", "", usage)
	_ = cmd.RegisterFlagCompletionFunc("node", a.completeNodes)
}
