package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionInfo is what `version -o json` prints.
type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// buildVersion reads what the Go toolchain recorded: there is nothing to stamp and nothing to forget.
func buildVersion() versionInfo {
	v := versionInfo{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	bi, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if bi.Main.Version != "" {
		v.Version = bi.Main.Version
	}
	for _, s := range bi.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func (a *app) version() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  sickbay version -o json",
		Args:    noArgs,
	}
	form := output(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		v := buildVersion()
		return print(a, *form, v, func(w io.Writer) {
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
