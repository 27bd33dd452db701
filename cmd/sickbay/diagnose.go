package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/text"
)

type diagnoseFlags struct {
	targetFlags
	fix, yes, dryRun bool
	allow, plan      string
	planned          *fixReport // what --plan names
	script           string
	trust            []string
	watch            bool
	whole, unknown   bool
	every, during    time.Duration
	looks            int
}

// valid refuses what does not go together, beyond what cobra was told of.
func (f diagnoseFlags) valid() error {
	switch {
	case (f.yes || f.dryRun) && !f.fix:
		return usagef("--yes and --dry-run need --fix")
	case (f.allow != "" || f.plan != "") && !f.fix:
		return usagef("--allow and --plan need --fix")
	case f.allow != "" && f.allow != string(v1alpha1.Disruptive) && f.allow != string(v1alpha1.Destructive):
		return usagef("--allow %s: it must be disruptive or destructive", f.allow)
	case f.every < time.Second:
		return usagef("--every %s: the minimum is 1s", f.every)
	case f.during != 0 && !f.watch:
		return usagef("--for needs --watch")
	case f.during < 0:
		return usagef("--for %s: it must be above zero", f.during)
	case f.looks < 1 || f.looks > 100:
		return usagef("--looks %d: it must be between 1 and 100", f.looks)
	}
	return nil
}

func (a *app) diagnose() *cobra.Command {
	var f diagnoseFlags
	cmd := &cobra.Command{
		Use:   "diagnose [NODE...]",
		Short: "Report what is wrong with a cluster or node, the cause and the fix",
		Long: `Read every node of a kind cluster, or only those given by name or address, and report each problem with its cause, the evidence, the
consequences and the steps that fix it. It also reads this machine (--local), other machines (--ssh) or a recording (--bundle).
All namespaces are included. The Kubernetes API is used if it answers; nodes are read without it too.

With --context of any other cluster, or of a kind cluster whose engine is out of reach, nodes are read through the API alone: by a
privileged pod on each, which is deleted afterwards.

Exit code: 0 healthy, 1 at least one finding, 3 a node could not be read. With -q nothing else is printed in text form.`,
		Example: `  sickbay diagnose --cluster dev
  sickbay diagnose dev-worker --context kind-dev -o json
  sickbay diagnose --whole                  # each step in full, to be pasted
  sickbay diagnose --fix                    # show the plan, ask, apply it, look again
  sickbay diagnose --watch --for 10m        # a healthy cluster must stay silent
  sickbay diagnose --context prod           # any cluster, with nothing but kubectl's access
  sickbay diagnose --context prod --debug-image registry.example/busybox:1.37
  sickbay diagnose --ssh root@10.0.0.7
  sickbay diagnose --bundle ./bundle        # offline`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeNodes,
	}
	a.addTargetFlags(cmd, &f.targetFlags)
	fl := cmd.Flags()
	fl.BoolVar(&f.fix, "fix", false, "apply the remedies, then look again")
	fl.BoolVar(&f.yes, "yes", false, "with --fix: do not ask; on a node that sickbay did not make, leave out what --allow does not name")
	fl.StringVar(&f.allow, "allow", "", "with --fix: also take `disruptive` or destructive steps without asking (docs/remedies.md)")
	fl.StringVar(&f.plan, "plan", "", "with --fix: apply exactly this plan without asking, or nothing: a file from --dry-run -o json, or its sha256:...")
	fl.StringVar(&f.script, "script", "", "also write the remedies to this new `file`, as a shell script to be read and run step by step")
	fl.StringArrayVar(&f.trust, "trust-ca", nil, "vouch for a CA: a PEM `file` or sha256:... of a certificate that a registry shows; nobody else's is trusted")
	fl.BoolVar(&f.dryRun, "dry-run", false, "with --fix: only show what would be done")
	fl.BoolVar(&f.watch, "watch", false, "look repeatedly and print what changes; with -o json one document per line")
	fl.DurationVar(&f.every, "every", 5*time.Second, "with --watch: pause between two looks")
	fl.DurationVar(&f.during, "for", 0, "with --watch: end after this time; exit code 1 if there was a finding at any moment")
	fl.IntVar(&f.looks, "looks", 1, "number of looks before judging: two show what changes, such as throttling")
	fl.BoolVar(&f.whole, "whole", false, "print multi-line steps in full, so that they can be pasted")
	fl.BoolVar(&f.unknown, "unknown", false, "list everything that could not be read, with the reason")
	bundleFlag(cmd, &f.bundle, "diagnose this recorded bundle instead", "fix", "watch", "looks", "trust-ca")
	cmd.MarkFlagsMutuallyExclusive("watch", "fix")
	cmd.MarkFlagsMutuallyExclusive("watch", "looks")
	cmd.MarkFlagsMutuallyExclusive("script", "fix")
	cmd.MarkFlagsMutuallyExclusive("script", "watch")
	cmd.MarkFlagsMutuallyExclusive("yes", "dry-run")
	cmd.MarkFlagsMutuallyExclusive("plan", "dry-run")
	_ = cmd.RegisterFlagCompletionFunc("allow", cobra.FixedCompletions([]string{string(v1alpha1.Disruptive), string(v1alpha1.Destructive)}, cobra.ShellCompDirectiveNoFileComp))
	form := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, nodes []string) error {
		f.nodes = append(f.nodes, nodes...)
		if err := f.valid(); err != nil {
			return err
		}
		if cmd.Flags().Changed("every") && !f.watch {
			return usagef("--every needs --watch")
		}
		if f.bundle != "" {
			d, err := judgeBundle(f)
			if err != nil {
				return err
			}
			return a.tell(d, f, *form)
		}
		trust, err := trustedCAs(f.trust)
		if err != nil {
			return err
		}
		if f.planned, err = readPlan(f.plan); err != nil {
			return err
		}
		ctx := cmd.Context()
		s, err := a.target(ctx, f.targetFlags)
		if err != nil {
			return err
		}
		if err := f.planned.isFor(f.plan, s.Cluster); err != nil {
			return err
		}
		s.options.TrustCAs = trust
		if f.watch {
			return a.watch(ctx, s, f, *form)
		}
		d, err := a.look(ctx, s, f)
		if err != nil {
			return err
		}
		if !f.fix || len(d.Findings) == 0 && f.plan == "" {
			return a.tell(d, f, *form)
		}
		return a.fix(ctx, s, f, d, *form)
	}
	return cmd
}

// writeScript writes the remedies to a new file that only its owner reads.
func writeScript(name string, d v1alpha1.Diagnosis) error {
	to, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return usagef("--script: %s", err)
	}
	return errors.Join(diagnose.WriteScript(to, d), to.Close())
}

// trustedCAs is the operator's word for CAs: a fingerprint, or a file with the certificates.
func trustedCAs(words []string) (out []v1alpha1.TrustedCA, err error) {
	for _, w := range words {
		if sum, ok := strings.CutPrefix(w, "sha256:"); ok {
			sum = strings.ToLower(strings.ReplaceAll(sum, ":", ""))
			if raw, err := hex.DecodeString(sum); err != nil || len(raw) != sha256.Size {
				return nil, usagef("--trust-ca %s: a fingerprint has 64 hexadecimal digits: `openssl x509 -noout -fingerprint -sha256 -in FILE` prints one", w)
			}
			out = append(out, v1alpha1.TrustedCA{SHA256: sum, Subject: "the certificate"})
			continue
		}
		raw, err := os.ReadFile(w)
		if err == nil {
			var more []v1alpha1.TrustedCA
			more, err = diagnose.ParseCAs(raw)
			out = append(out, more...)
		}
		if err != nil {
			return nil, usagef("--trust-ca %s: %s", w, err)
		}
	}
	return out, nil
}

// diagnosis judges a bundle, or what is there now.
func (a *app) diagnosis(ctx context.Context, f diagnoseFlags) (v1alpha1.Diagnosis, error) {
	if f.bundle != "" {
		return judgeBundle(f)
	}
	t, err := a.target(ctx, f.targetFlags)
	if err != nil {
		return v1alpha1.Diagnosis{}, err
	}
	return a.look(ctx, t, f)
}

func judgeBundle(f diagnoseFlags) (d v1alpha1.Diagnosis, err error) {
	if err := namesOfNodes(f.nodes); err != nil {
		return d, err
	}
	if _, err := os.Stat(f.bundle); err != nil {
		return d, &usageError{text: fmt.Sprintf("--bundle: %s", err), hint: "`sickbay bundle DIR` records one."}
	}
	b, err := diagnose.OpenBundle(f.bundle)
	if err != nil {
		if isFile(filepath.Join(f.bundle, "bundle.yaml")) {
			return d, err
		}
		wrong := &usageError{text: err.Error(), hint: "`sickbay bundle DIR` records one."}
		if isFile(filepath.Join(f.bundle, "report.json")) {
			wrong.hint = "It is a report; its observations are in " + filepath.Join(f.bundle, "bundle") + "."
		}
		return d, wrong
	}
	defer b.Close()
	var nodes []string
	for _, n := range f.nodes {
		name, ok := among(n, b.Nodes(), nil)
		if !ok {
			return d, noName("the bundle has no node", n, b.Nodes())
		}
		nodes = append(nodes, name)
	}
	return diagnose.JudgeBundle(b, nil, nodes...), nil
}

// look observes and judges.
func (a *app) look(ctx context.Context, s *target, f diagnoseFlags) (v1alpha1.Diagnosis, error) {
	task := progress.From(ctx).Start(fmt.Sprintf("look at %s", nodesWord(len(s.Nodes))), 0)
	if f.looks == 1 {
		d, err := diagnose.Once(ctx, s.Target, s.options, nil)
		task.End(cmp.Or(err, unread(d)))
		return d, err
	}
	watch := diagnose.NewWatcher(s.Target, s.options)
	if err := lookOften(ctx, watch, f.looks, task); err != nil {
		task.End(err)
		return v1alpha1.Diagnosis{}, err
	}
	d := watch.Diagnose(nil)
	task.End(unread(d))
	return d, nil
}

// unread is the error of a look that did not reach every node; the diagnosis says why.
func unread(d v1alpha1.Diagnosis) error {
	n := 0
	for _, u := range d.Unknown {
		if u.What == "node" {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d could not be read", n, len(d.Nodes))
}

func nodesWord(n int) string {
	if n == 1 {
		return "one node"
	}
	return fmt.Sprintf("%d nodes", n)
}

// tell prints a diagnosis and turns it into an exit code.
func (a *app) tell(d v1alpha1.Diagnosis, f diagnoseFlags, form format) error {
	if f.script != "" {
		if err := writeScript(f.script, d); err != nil {
			return err
		}
	}
	var wrote error
	err := print(a, form, d, func(io.Writer) { wrote = a.showDiagnosis(a.out, d, f) })
	if err = cmp.Or(err, wrote); err != nil {
		return err
	}
	return verdictOf(d)
}

func verdictOf(d v1alpha1.Diagnosis) error {
	switch {
	case len(d.Findings) > 0:
		return no
	case !d.Healthy:
		return answer(exitTrouble)
	}
	return nil
}

// showDiagnosis writes a diagnosis for a person. With --quiet the exit code is the answer.
func (a *app) showDiagnosis(to terminal, d v1alpha1.Diagnosis, f diagnoseFlags) error {
	if a.quiet && to == terminal(a.out) {
		return nil
	}
	width, _, err := term.GetSize(int(to.Fd()))
	if err != nil {
		width = 0
	}
	return diagnose.WriteText(to, d, diagnose.TextOptions{Color: progress.Color(to), Width: width, Whole: f.whole, Unknown: f.unknown, Now: now()})
}

// now is replaced by tests that show a recording's age.
var now = time.Now

// watch tells a diagnosis whenever it changes, until Ctrl-C or the end of --for. In the latter case the answer is the worst of
// all that was told.
func (a *app) watch(ctx context.Context, s *target, f diagnoseFlags, form format) error {
	watch := diagnose.NewWatcher(s.Target, s.options)
	before := "-"
	var worst error
	looks := 0
	var end <-chan time.Time
	if f.during > 0 {
		timer := time.NewTimer(f.during)
		defer timer.Stop()
		end = timer.C
	}
	for {
		if _, err := watch.Look(ctx); err != nil {
			return err
		}
		looks++
		d := watch.Diagnose(nil)
		d.Cluster = s.Cluster
		if now := gist(d); now != before {
			before = now
			if err := a.tellNext(d, f, form); err != nil {
				return err
			}
		}
		if now := verdictOf(d); worst == nil || errors.Is(now, no) {
			worst = now
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			if worst == nil && form == textForm && !a.quiet {
				fmt.Fprintf(a.out, "Silent for %s: %d looks at %s.\n", f.during, looks, nodesWord(len(d.Nodes)))
			}
			return worst
		case <-time.After(f.every):
		}
	}
}

// tellNext prints one diagnosis of a stream: JSON one document a line, YAML documents apart.
func (a *app) tellNext(d v1alpha1.Diagnosis, f diagnoseFlags, form format) error {
	switch form {
	case jsonForm:
		e := json.NewEncoder(text.Writer(a.out))
		e.SetEscapeHTML(false)
		return e.Encode(d)
	case yamlForm:
		fmt.Fprintln(a.out, "---")
	case textForm:
		if !a.quiet {
			fmt.Fprintln(a.out, a.paint(faint, time.Now().Format("15:04:05")))
		}
	}
	var wrote error
	err := print(a, form, d, func(io.Writer) { wrote = a.showDiagnosis(a.out, d, f) })
	return cmp.Or(err, wrote)
}

// gist is what makes two diagnoses the same to a reader.
func gist(d v1alpha1.Diagnosis) string {
	var b strings.Builder
	fmt.Fprint(&b, d.Healthy)
	for _, f := range d.Findings {
		fmt.Fprint(&b, "\n", f.Node, f.Failure, f.Cause, f.Certainty)
		if f.Object != nil {
			fmt.Fprint(&b, *f.Object)
		}
	}
	return b.String()
}

// ask puts a question on standard error. The answer is read beside the context, so that Ctrl-C works while nothing is typed.
func (a *app) ask(ctx context.Context, question string) (bool, error) {
	a.say("%s", question)
	line, err := a.readLine(ctx)
	if errors.Is(err, io.EOF) {
		return false, &usageError{text: "standard input has ended", hint: "Pass --yes to apply without confirmation."}
	}
	if err != nil {
		return false, err
	}
	switch strings.ToLower(line) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

// readLine reads one line of standard input, or returns when the context ends.
func (a *app) readLine(ctx context.Context) (string, error) {
	a.lines.Do(func() {
		a.line = make(chan string)
		go func() {
			defer close(a.line)
			s := bufio.NewScanner(a.in)
			for s.Scan() {
				a.line <- strings.TrimSpace(s.Text())
			}
		}()
	})
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case l, ok := <-a.line:
		if !ok {
			return "", io.EOF
		}
		return l, nil
	}
}

func isDir(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.IsDir()
}

func isFile(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.Mode().IsRegular()
}
