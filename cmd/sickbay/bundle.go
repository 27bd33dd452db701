package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/retry"
	"github.com/sickbay-dev/sickbay/internal/version"
)

func (a *app) bundle() *cobra.Command {
	var w targetFlags
	var note string
	var looks int
	cmd := &cobra.Command{
		Use:   "bundle DIR",
		Short: "Record the state of all nodes, to diagnose it elsewhere",
		Long: `Record everything that sickbay diagnose reads into a folder that only its owner can read. Tokens, keys, passwords, environments,
command lines and annotations are taken out, and the result is searched once more before it is written. Names and addresses of hosts,
nodes and pods, images and log lines stay: read the files before you send them.`,
		Example: `  sickbay bundle /tmp/bundle --cluster dev --note "since the upgrade"
  sickbay diagnose --bundle /tmp/bundle`,
		Args: args(cobra.ExactArgs(1), "the folder to write into"),
	}
	a.addTargetFlags(cmd, &w)
	cmd.Flags().StringVar(&note, "note", "", "a sentence to store with it")
	cmd.Flags().IntVar(&looks, "looks", 2, "how many looks at each node, a few seconds apart: two show what changes")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if looks < 1 || looks > 100 {
			return usagef("--looks %d: it must be 1 to 100", looks)
		}
		if err := diagnose.EmptyForBundle(args[0]); err != nil {
			return usagef("%s", err)
		}
		t, err := a.target(cmd.Context(), w)
		if err != nil {
			return err
		}
		watch := diagnose.NewWatcher(t.Target, t.options)
		task := progress.From(cmd.Context()).Start("record "+nodesWord(len(t.Nodes)), 0)
		err = lookOften(cmd.Context(), watch, looks, task)
		task.End(err)
		if err != nil {
			return err
		}
		written, err := diagnose.WriteBundle(args[0], v1alpha1.Bundle{Cluster: t.Cluster, Context: t.Context, RecordedAt: time.Now().UTC(), RecordedBy: version.String(), Note: note}, watch.Histories())
		if err != nil {
			return err
		}
		fmt.Fprintf(a.out, "recorded %s in %s\ntaken out: %d values of environments, command lines, annotations, tokens, keys and passwords\n"+
			"still in it: names and addresses of hosts, nodes and pods, images, and log lines: read it before you send it\n",
			nodesWord(len(t.Nodes)), args[0], written.Removed)
		if written.Suspicious > 0 {
			fmt.Fprintf(a.out, "%d words in it look random: they may be names or hashes, and may be secrets\n", written.Suspicious)
		}
		return nil
	}
	return cmd
}

// betweenLooks is long enough for counters to move and for the kubelet's one-second relist to have come round.
const betweenLooks = 3 * time.Second

func lookOften(ctx context.Context, watch *diagnose.Watcher, looks int, task progress.Task) error {
	for i := range looks {
		if i > 0 {
			if retry.Sleep(ctx, betweenLooks) != nil {
				return ctx.Err()
			}
		}
		task.Detail("look %d of %d", i+1, looks)
		if _, err := watch.Look(ctx); err != nil {
			return err
		}
	}
	return nil
}
