package main

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/scenarios"
)

func trustFlag(cmd *cobra.Command, trust *bool) {
	cmd.Flags().BoolVar(trust, "trust", false, "run scenarios from files without asking: they can do anything on this machine")
}

// trusted shows what scenarios from files would do, and asks whether they may. Those that come with sickbay need no trust.
func (a *app) trusted(ctx context.Context, list []*scenarios.Scenario, trust bool) error {
	for _, s := range list {
		if !s.Foreign() || trust {
			continue
		}
		effects, err := s.Effects()
		if err != nil {
			return usagef("scenario %s: %s", s.Metadata.Name, err)
		}
		a.say("scenario %s of %s does not come with sickbay. As root in a node's privileged container, and so on this machine, it would\n  %s\nrun it? [y/N] ",
			s.Metadata.Name, s.Dir, strings.Join(effects, "\n  "))
		line, err := a.readLine(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return &usageError{text: "scenario " + s.Metadata.Name + " does not come with sickbay, and nobody is there to be asked", hint: "Pass --trust to run it without asking."}
		case err != nil:
			return err
		case !strings.EqualFold(line, "y") && !strings.EqualFold(line, "yes"):
			return usagef("scenario %s is not trusted; nothing was done", s.Metadata.Name)
		}
	}
	return nil
}
