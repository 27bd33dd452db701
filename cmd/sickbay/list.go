package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

// listingEntry is an item of what `list -o json` prints.
type listingEntry struct {
	Name     string             `json:"name"`
	Title    string             `json:"title"`
	Profile  string             `json:"profile"`
	Guide    []string           `json:"guide"`
	Expect   []string           `json:"expect"`
	Fidelity v1alpha1.Fidelity  `json:"fidelity"`
	Claims   []string           `json:"claims,omitempty"`
	Timeouts *v1alpha1.Timeouts `json:"timeouts,omitempty"`
}

func (a *app) list() *cobra.Command {
	var profile string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the scenarios and what each must find",
		Example: `  sickbay list
  sickbay list --profile core -o json | jq -r '.items[].name'`,
		Args: noArgs,
	}
	form := output(cmd)
	profileFlag(cmd, &profile, "all")
	cmd.RunE = func(*cobra.Command, []string) error {
		all, err := ofProfile(profile)
		if err != nil {
			return err
		}
		l := listOf[listingEntry]("ScenarioList", nil)
		for _, s := range all {
			l.Items = append(l.Items, listingEntry{
				Name: s.Metadata.Name, Title: s.Spec.Title, Profile: s.Spec.Profile, Guide: s.Spec.Guide,
				Expect: expected(s.Spec.Expect), Fidelity: s.Spec.Fidelity, Claims: s.Spec.Claims, Timeouts: &s.Spec.Timeouts,
			})
		}
		return print(a, *form, l, func(w io.Writer) {
			table(w, func(row func(...string)) {
				row("NAME", "PROFILE", "GUIDE", "MUST BE FOUND", "FIDELITY", "TITLE")
				for _, e := range l.Items {
					row(e.Name, e.Profile, strings.Join(e.Guide, ","), strings.Join(e.Expect, " "), e.Fidelity.Level, e.Title)
				}
			})
			fmt.Fprintf(w, "\n`sickbay run NAME` runs one, `sickbay explain FAILURE` explains what must be found.\n")
		})
	}
	return cmd
}

func expected(es []v1alpha1.Expected) []string {
	out := make([]string, len(es))
	for i, e := range es {
		out[i] = e.Failure + "/" + e.Cause
	}
	return out
}

func profileFlag(cmd *cobra.Command, p *string, def string) {
	cmd.Flags().StringVar(p, "profile", def, "which scenarios: core (one per failure, and the compound ones), extended (the rest), all, decoys, or a profile's file")
	_ = cmd.RegisterFlagCompletionFunc("profile", cobra.FixedCompletions(suites.Profiles(), cobra.ShellCompDirectiveDefault))
}

// ofProfile returns the scenarios of a profile, by name.
func ofProfile(profile string) ([]scenarios.Scenario, error) {
	list, _, err := suites.Select(suites.Selection{Profile: profile})
	var out []scenarios.Scenario
	for _, s := range list {
		out = append(out, *s)
	}
	return out, err
}
