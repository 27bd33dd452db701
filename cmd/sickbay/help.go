package main

import "github.com/spf13/cobra"

// help shows the same text as a verb with --help.
func (a *app) help() *cobra.Command {
	return &cobra.Command{
		Use:     "help [VERB...]",
		Short:   "Show the help of a verb",
		Example: "  sickbay help run\n  sickbay help image build",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c := cmd.Root()
			for _, arg := range args {
				next, _, err := c.Find([]string{arg})
				if err != nil || next == c {
					return a.noVerb(c, []string{arg})
				}
				c = next
			}
			c.InitDefaultHelpFlag()
			c.InitDefaultVersionFlag()
			return c.Help()
		},
	}
}
