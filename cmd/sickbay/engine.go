package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/internal/platform/engine"
)

func (a *app) engine() *cobra.Command {
	return a.group("engine", "Start, stop and show sickbay's own container engine",
		"sickbay uses the container engine that is there. Where none can run privileged containers it starts one of its own, private: own socket, own data, nothing listening on TCP.",
		`  sickbay engine status
  sickbay engine up
  sickbay engine down --purge`, a.engineUp(), a.engineDown(), a.engineStatus())
}

func (a *app) engineUp() *cobra.Command {
	var noInstall bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start sickbay's own engine, and install it if needed",
		Long: `Start sickbay's own engine even if another one could be used. On Debian and Ubuntu, as root, missing packages are
installed; elsewhere the error says what to install.`,
		Example: "  sickbay engine up --no-install",
		Args:    noArgs,
	}
	cmd.Flags().BoolVar(&noInstall, "no-install", false, "install no packages; say what is missing instead")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		e, err := engine.Up(cmd.Context(), engine.Options{NoInstall: noInstall})
		if err != nil {
			return err
		}
		fmt.Fprintln(a.out, e)
		fmt.Fprintf(a.out, "  your own client reaches it with: export %s\n", strings.Join(e.Env(), " "))
		return nil
	}
	return cmd
}

func (a *app) engineDown() *cobra.Command {
	var purge bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop sickbay's own engine and undo what starting it changed",
		Long: `Stop sickbay's own engine and remove its containers and networks. Images stay unless --purge. Other engines are not touched. It
is not an error if none runs.`,
		Example: "  sickbay engine down",
		Args:    noArgs,
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "also delete images, volumes and everything else it stored")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return engine.Down(cmd.Context(), engine.Options{Purge: purge})
	}
	return cmd
}

func (a *app) engineStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show sickbay's own engine; exit code 1 if it does not run",
		Example: "  sickbay engine status -o json",
		Args:    noArgs,
	}
	form := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := engine.Inspect(cmd.Context(), engine.Options{})
		if err != nil {
			return err
		}
		if err := print(a, *form, struct {
			typeMeta
			engine.Status
		}{meta("EngineStatus"), s}, func(w io.Writer) {
			if s.Engine == nil {
				fmt.Fprintf(w, "sickbay's own engine does not run: %s\n", s.Problem)
				return
			}
			fmt.Fprintf(w, "%s\n  %d containers, %d running; %d images\n  data %s\n  log  %s\n", s.Engine, s.Containers, s.Running, s.Images, s.DataRoot, s.Log)
		}); err != nil {
			return err
		}
		if s.Engine == nil {
			return no
		}
		return nil
	}
	return cmd
}
