package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/debugpod"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	"github.com/sickbay-dev/sickbay/internal/version"
	"github.com/sickbay-dev/sickbay/suites"
)

// app is what all verbs share.
type app struct {
	in       io.Reader
	out      *stdout
	err      *os.File
	quiet    bool
	deps     deps
	cleanups *suites.Cleanups // what has to be undone should this process be interrupted

	leaving []leaver            // agents on nodes that are not ours
	pods    []*debugpod.Session // by which they are reached

	lines sync.Once // starts the reader of in
	line  chan string
}

func newApp(in io.Reader, out, err *os.File) *app {
	return &app{in: in, out: &stdout{File: out}, err: err, deps: realDeps{}, cleanups: &suites.Cleanups{}}
}

// execute runs one command line and returns its exit code.
func (a *app) execute(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(ctx)
	a.leave(context.WithoutCancel(ctx))
	err = flagGroupError(err)
	var silent answer
	if err == nil || errors.As(err, &silent) {
		if a.out.lost() == nil {
			return exitCode(ctx, err)
		}
		err = a.out.lost() // an answer that nobody got is none
	}
	code := exitCode(ctx, err)
	fmt.Fprintln(a.err, message(err))
	var usage *usageError
	if errors.As(err, &usage) && usage.hint == "" {
		fmt.Fprintf(a.err, "  `%s --help` shows what it takes.\n", cmd.CommandPath())
	}
	return code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "sickbay",
		Short: "Break Kubernetes nodes on kind, diagnose them, and fix them",
		Long: `sickbay injects fifteen kinds of kubelet and container runtime failures into nodes of a kind cluster, and checks that each is
detected and that the proposed fix works. sickbay diagnose reports what is wrong with any kind cluster or node.

  scenario   one failure that can be injected, with what must be detected
  remedy     the commands that fix a problem
  finding    one detected problem: its cause, the evidence and the remedy
  profile    a set of scenarios: core, extended or all

Exit codes: 0 success; 1 the answer is no (a scenario failed, a finding exists); 2 the request is wrong; 3 could not look or
set up; 130 interrupted, after recovery.`,
		Example: `  sickbay diagnose --cluster dev   # what is wrong with my kind cluster?
  sickbay run pleg-disk            # engine, node image and cluster as needed, then all steps
  sickbay explain ImagePullBackOff # what it may be, and what to do first`,
		Version:       version.String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          a.noVerb,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if v := os.Getenv(timeoutscale.Env); v != "" {
				if _, err := timeoutscale.Parse(v); err != nil {
					return usagef("%s=%s: %s", timeoutscale.Env, v, err)
				}
			}
			if err := emptyFlag(cmd.Flags()); err != nil {
				return err
			}
			sink, end := progress.For(a.err, a.quiet)
			cobra.OnFinalize(end)
			cmd.SetContext(progress.Into(cmd.Context(), sink))
			return nil
		},
	}
	root.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "print no progress, only results and errors")
	root.SetFlagErrorFunc(flagError)
	root.SetVersionTemplate("sickbay {{.Version}}\n")
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(a.help())
	root.AddGroup(
		&cobra.Group{ID: "faults", Title: "Inject failures and check that they are detected and fixed:"},
		&cobra.Group{ID: "cure", Title: "Diagnose:"},
		&cobra.Group{ID: "environment", Title: "Environment:"},
	)
	root.SetHelpCommandGroupID("environment")
	root.SetCompletionCommandGroupID("environment")
	for group, verbs := range map[string][]*cobra.Command{
		"faults":      {a.list(), a.run(), a.suite(), a.inject(), a.recover(), a.status(), a.lab(), a.report()},
		"cure":        {a.diagnose(), a.explain(), a.bundle(), a.npd(), a.standby()},
		"environment": {a.cluster(), a.engine(), a.image(), a.doctor(), a.vm(), a.chaos(), a.version(), a.completion(), a.watchdog()},
	} {
		for _, v := range verbs {
			v.GroupID = group
			root.AddCommand(v)
		}
	}
	return root
}

// noVerb rejects a word that is no verb, with the nearest ones.
func (a *app) noVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var verbs []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			verbs = append(verbs, c.Name())
		}
	}
	near := text.Near(args[0], verbs, 2)
	e := &usageError{text: fmt.Sprintf("unknown command %q for `%s`%s", args[0], cmd.CommandPath(), near)}
	if near == "" && len(verbs) > 0 {
		e.hint = "It has " + strings.Join(verbs, ", ") + "."
	}
	return e
}

// group is a verb that only has verbs below it.
func (a *app) group(use, short, long, example string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example,
		Args: a.noVerb,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var names []string
			for _, c := range cmd.Commands() {
				names = append(names, c.Name())
			}
			return usagef("`%s` needs one of %s", cmd.CommandPath(), strings.Join(names, ", "))
		},
	}
	cmd.AddCommand(verbs...)
	return cmd
}

// flagError words pflag's errors and finds the flag that was meant.
func flagError(cmd *cobra.Command, err error) error {
	var missing *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &missing) && missing.GetSpecifiedShortnames() != "":
		return usagef("unknown flag -%s", missing.GetSpecifiedName())
	case errors.As(err, &missing):
		var flags []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				flags = append(flags, f.Name)
			}
		})
		said := "unknown flag --" + missing.GetSpecifiedName()
		if near := text.Nearest(missing.GetSpecifiedName(), flags, 2); len(near) > 0 {
			said += "; did you mean --" + strings.Join(near, " or --") + "?"
		}
		return usagef("%s", said)
	case errors.As(err, &invalid) && invalid.GetFlag().Value.Type() == "duration":
		if _, err := strconv.ParseFloat(invalid.GetValue(), 64); err == nil {
			return usagef("--%[1]s %[2]s needs a unit: --%[1]s %[2]ss", invalid.GetFlag().Name, invalid.GetValue())
		}
	}
	return usagef("%s", err)
}

// emptyFlag refuses a flag with an empty value: most likely an unset variable, which must not select another machine or the whole suite.
func emptyFlag(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		list, several := f.Value.(pflag.SliceValue)
		switch {
		case several && (len(list.GetSlice()) == 0 || slices.Contains(list.GetSlice(), "")),
			f.Value.Type() == "string" && f.Value.String() == "":
			err = usagef("--%s is empty", f.Name)
		}
	})
	return err
}

var flagGroup = regexp.MustCompile(`^if any flags in the group \[[^]]*\] are set none of the others can be; \[(.*)\] were all set$`)

// flagGroupError words cobra's complaint about flags that exclude each other; it has no type of its own.
func flagGroupError(err error) error {
	if err == nil {
		return nil
	}
	if m := flagGroup.FindStringSubmatch(err.Error()); m != nil {
		return &usageError{text: fmt.Sprintf("--%s exclude each other", strings.Join(strings.Fields(m[1]), " and --")), hint: "Leave one of them out."}
	}
	return err
}

// args turns cobra's complaint about arguments into a usage error.
func args(check cobra.PositionalArgs, want string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef("`%s` takes %s, not %d", cmd.CommandPath(), want, len(args))
		}
		return nil
	}
}

var noArgs = args(cobra.NoArgs, "no arguments")

// format is the -o flag.
type format string

const (
	textForm format = "text"
	jsonForm format = "json"
	yamlForm format = "yaml"
)

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "text|json|yaml" }

func (f *format) Set(s string) error {
	switch format(s) {
	case textForm, jsonForm, yamlForm:
		*f = format(s)
		return nil
	}
	return errors.New("it must be text, json or yaml")
}

// output adds -o to a verb from which data comes out.
func output(cmd *cobra.Command) *format {
	f := textForm
	cmd.Flags().VarP(&f, "output", "o", "how to print")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	return &f
}

// print writes data as JSON or YAML, or calls asText.
func print[T any](a *app, f format, data T, asText func(io.Writer)) error {
	switch f {
	case jsonForm:
		e := json.NewEncoder(text.Writer(a.out))
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(data)
	case yamlForm:
		b, err := yaml.Marshal(data)
		if err != nil {
			return fmt.Errorf("write YAML: %w", err)
		}
		_, err = a.out.Write(b)
		return err
	}
	asText(text.Writer(a.out))
	return a.out.lost()
}

// typeMeta says what a document is.
type typeMeta struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

func meta(kind string) typeMeta { return typeMeta{v1alpha1.APIVersion, kind} }

// listing is a document with several of a kind; kind ends in List.
type listing[T any] struct {
	typeMeta
	Items []T `json:"items"`
}

func listOf[T any](kind string, items []T) listing[T] {
	return listing[T]{meta(kind), append([]T{}, items...)}
}

// table writes aligned columns.
func table(w io.Writer, rows func(row func(cells ...string))) {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	rows(func(cells ...string) {
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	})
	_ = tw.Flush()
}

// paint styles text for standard output, or leaves it when nobody would see it.
func (a *app) paint(style lipgloss.Style, s string) string {
	if !progress.Color(a.out) {
		return s
	}
	return style.Render(s)
}

var (
	bold  = lipgloss.NewStyle().Bold(true)
	faint = lipgloss.NewStyle().Faint(true)
	green = lipgloss.NewStyle().Foreground(lipgloss.Green)
	red   = lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true)
	amber = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
)
