package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/internal/version"
)

func (a *app) version() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  sickbay version -o json",
		Args:    noArgs,
	}
	form := output(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		v := version.Get()
		return print(a, *form, struct {
			typeMeta
			version.Info
		}{meta("Version"), v}, func(w io.Writer) {
			fmt.Fprintf(w, "sickbay %s %s %s\n", v.Version, v.Go, v.Platform)
			if v.Revision != "" {
				dirty := ""
				if v.Modified {
					dirty = " and uncommitted changes"
				}
				fmt.Fprintf(w, "revision %s%s\n", v.Revision, dirty)
			}
		})
	}
	return cmd
}
