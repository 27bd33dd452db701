package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/agent"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/platform/nodeimage"
	"github.com/sickbay-dev/sickbay/internal/platform/vm"
	"github.com/sickbay-dev/sickbay/internal/report"
	"github.com/sickbay-dev/sickbay/internal/text"
	kindconfigs "github.com/sickbay-dev/sickbay/kind-configs"
	"github.com/sickbay-dev/sickbay/scenarios"
)

func (a *app) vm() *cobra.Command {
	return a.group("vm", "Run scenarios in a virtual machine with its own kernel",
		`A Debian guest under QEMU, with KVM if a probe shows that it works, otherwise with software emulation. Its disk is built once from
Debian packages; 'sickbay vm down' discards what a guest wrote. The guest has no network and is reached on one port of 127.0.0.1.
On Debian and Ubuntu, as root, missing packages are installed.`,
		`  sickbay vm run apparmor-denied            # disk, guest and cluster as needed, then the whole loop in it
  sickbay vm run --profile core --report /tmp/report
  sickbay vm shell -- sickbay diagnose
  sickbay vm down`, a.vmUp(), a.vmRun(), a.vmShell(), a.vmStatus(), a.vmDown(), a.vmPrune())
}

// vmFlags are the flags that say what guest to make.
type vmFlags struct {
	options    vm.Options
	memory     string
	accel      string
	image      string
	kubernetes string
}

// accels are the values of --accel.
var accels = []string{string(vm.KVM), string(vm.TCG)}

// own are the flags that concern the guest itself: what runs in it gets the others.
func (f *vmFlags) register(cmd *cobra.Command) (own []string) {
	before := map[string]bool{}
	cmd.Flags().VisitAll(func(fl *pflag.Flag) { before[fl.Name] = true })
	fl := cmd.Flags()
	fl.IntVar(&f.options.CPUs, "cpus", 0, "processors of a new guest (default: this machine's, 4 at most)")
	fl.StringVar(&f.memory, "memory", "", "memory of a new guest, such as 6Gi (default 8Gi, or two thirds of a smaller machine's)")
	fl.StringVar(&f.accel, "accel", "", "kvm, or tcg for software emulation (default: kvm if a probe shows that it works)")
	fl.BoolVar(&f.options.NoInstall, "no-install", false, "install no packages; say what is missing instead")
	_ = cmd.RegisterFlagCompletionFunc("accel", cobra.FixedCompletions(accels, cobra.ShellCompDirectiveNoFileComp))
	fl.VisitAll(func(fl *pflag.Flag) {
		if !before[fl.Name] {
			own = append(own, fl.Name)
		}
	})
	return own
}

func (f *vmFlags) check() error {
	if f.options.CPUs < 0 || f.options.CPUs > 64 {
		return usagef("--cpus %d: it must be 1 to 64", f.options.CPUs)
	}
	if f.accel != "" && !slices.Contains(accels, f.accel) {
		return usagef("--accel %q: it must be kvm or tcg", f.accel)
	}
	f.options.Accel = vm.Accel(f.accel)
	if f.memory != "" {
		n, err := amount("--memory", f.memory)
		if err != nil {
			return err
		}
		if f.options.MemoryMiB = int(n >> 20); f.options.MemoryMiB < 2048 {
			return usagef("--memory %s: a cluster needs 2Gi at least", f.memory)
		}
	}
	return nil
}

// amount reads an amount as Kubernetes writes it: 512Mi, 8Gi.
func amount(flag, s string) (int64, error) {
	q, err := resource.ParseQuantity(s)
	if err != nil || q.Value() < 0 {
		return 0, usagef("%s %q: it must be an amount of bytes such as 8Gi", flag, s)
	}
	return q.Value(), nil
}

func (a *app) vmUp() *cobra.Command {
	var f vmFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Boot the guest",
		Long:  `Boot the guest, and build its disk first if it is not in the cache. A guest that is up is reused, with the current sickbay.`,
		Example: `  sickbay vm up
  sickbay vm up --cpus 4 --memory 12Gi`,
		Args: noArgs,
	}
	f.register(cmd)
	cmd.Flags().StringVar(&f.image, "image", "", "node image (default: the one that sickbay run would use)")
	cmd.Flags().StringVar(&f.kubernetes, "kubernetes", "", "Kubernetes version or minor of the node image")
	form := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := a.guest(cmd.Context(), &f); err != nil {
			return err
		}
		return a.tellGuest(cmd.Context(), *form)
	}
	return cmd
}

// guest returns the guest that is up, booted as needed.
func (a *app) guest(ctx context.Context, f *vmFlags) (*vm.Guest, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	g, err := vm.Up(ctx, f.options, vm.Need{
		Image:    func(ctx context.Context) (vm.Image, error) { return a.guestImage(ctx, f.image, f.kubernetes) },
		Programs: guestPrograms,
	})
	if err != nil {
		return nil, err
	}
	return g, f.suits(g.Image())
}

// suits refuses a guest whose engine has another node image than the one asked for.
func (f *vmFlags) suits(has string) error {
	want, _, _ := strings.Cut(f.image, "@")
	version := "v" + strings.TrimPrefix(f.kubernetes, "v")
	other := want != "" && want != has
	if want == "" && f.kubernetes != "" {
		other = !strings.Contains(has+"-", ":"+version+"-") && !strings.Contains(has, ":"+version+".")
	}
	if other {
		return &usageError{text: fmt.Sprintf("a guest with node image %s is up, and another is wanted", has), hint: "`sickbay vm down` first; its disks stay."}
	}
	return nil
}

// guestPrograms are this program and the agent for the guest.
func guestPrograms(ctx context.Context) ([]vm.Program, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the running program: %w", err)
	}
	if err := engine.Fits(self, runtime.GOARCH, true); err != nil {
		return nil, hint(fmt.Errorf("this sickbay may not run in the guest: %w", err), "`make build` makes one that does.")
	}
	bin, err := agent.Binary(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	return []vm.Program{{Name: "sickbay", File: self}, {Name: "sickbay-agent-linux-" + runtime.GOARCH, File: bin}}, nil
}

// guestImage finds the node image: in this machine's engine or pulled into it where there is one, else built from the parts in the
// cache. No engine is started for it.
func (a *app) guestImage(ctx context.Context, image, kubernetes string) (vm.Image, error) {
	d, err := a.deps.decideEngine(ctx)
	if err != nil {
		return vm.Image{}, err
	}
	held := errors.New("no container engine runs that could hold it")
	if d.Plan == engine.UseExisting {
		var r nodeimage.Resolved
		if r, held = a.deps.resolveImage(ctx, d.Engine, nodeimage.Request{Image: image, Version: kubernetes, NoBuild: true}); held == nil {
			return savedImage(d.Engine, r), nil
		}
	}
	if image != "" {
		return vm.Image{}, hint(fmt.Errorf("image %s: %w", image, held), "Without --image one is built from Go modules and Debian packages.")
	}
	spec := nodeimage.Spec{Version: kubernetes}
	ref, err := nodeimage.Ref(ctx, spec)
	if err != nil {
		return vm.Image{}, errors.Join(err, held)
	}
	return vm.Image{Ref: ref, Write: func(ctx context.Context, w io.Writer) error {
		_, err := nodeimage.Export(ctx, spec, w)
		return err
	}}, nil
}

// savedImage takes an image from an engine.
func savedImage(e *engine.Engine, r nodeimage.Resolved) vm.Image {
	name, _, digest := strings.Cut(r.Ref, "@")
	from := r.Ref
	if digest {
		from = r.ID // a name with a digest cannot be given to another engine's image
	}
	key := r.ID
	if strings.HasPrefix(name, nodeimage.Repository+":") {
		key = "" // its tag holds a hash of it, also where it comes from the parts in the cache
	}
	return vm.Image{Ref: name, Key: key, Write: func(ctx context.Context, w io.Writer) error {
		cmd := e.Command(ctx, "save", from)
		cmd.Stdout = w
		var said strings.Builder
		cmd.Stderr = &said
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(said.String()))
		}
		return nil
	}}
}

// vmRunning is what `vm run` is asked.
type vmRunning struct {
	vmFlags
	run     runFlags
	profile string
	down    bool
}

// vmRunVerb is the verb with its flags, and the names of those that are not for the sickbay in the guest.
func (a *app) vmRunVerb() (*cobra.Command, *vmRunning, []string) {
	var f vmRunning
	cmd := &cobra.Command{
		Use:   "run [SCENARIO...]",
		Short: "Run scenarios, or all of a profile, in the guest",
		Long: `Run scenarios in the guest, with the flags and exit codes of 'sickbay run' and 'sickbay suite'. Guest and cluster are created if
needed and kept for the next run. The cluster has one control plane and one worker by default, and patient timings under software
emulation. Ctrl-C interrupts the run in the guest: it recovers, and its report is copied back.`,
		Example: `  sickbay vm run apparmor-denied
  sickbay vm run pleg-disk --noop
  sickbay vm run --profile core --controls --report reports/vm --down`,
		Args:              args(cobra.ArbitraryArgs, "the names of scenarios"),
		ValidArgsFunction: completeScenarios,
	}
	own := f.register(cmd)
	profileFlag(cmd, &f.profile, "")
	cmd.Flags().BoolVar(&f.down, "down", false, "remove the VM afterwards, pass or fail")
	a.runFlags(cmd, &f.run)
	a.nodeFlag(cmd, &f.run.node, "the worker to inject into (default: a free one)")
	cmd.Flags().IntVar(&f.run.parallel, "parallel", 0, "with --profile: how many scenarios at a time (default: as many as there are free workers)")
	output(cmd) // handed on
	return cmd, &f, append(own, "profile", "down", "report", "summary", "image", "kubernetes", "quiet", "help")
}

func (a *app) vmRun() *cobra.Command {
	cmd, f, own := a.vmRunVerb()
	cmd.RunE = func(cmd *cobra.Command, names []string) (err error) {
		ctx := cmd.Context()
		inner, files, err := vmCall(cmd.Flags(), own, names, f.profile)
		if err != nil {
			return err
		}
		if err := f.run.valid(); err != nil {
			return err
		}
		if f.run.parallel != 0 && f.profile == "" {
			return usagef("--parallel needs --profile")
		}
		if f.run.summary != "" && f.run.report == "" {
			return usagef("--summary in a virtual machine needs --report: the summary is made of the report that is copied back")
		}
		if err := reportDir("--report", f.run.report); err != nil {
			return err
		}
		f.image, f.kubernetes = f.run.image, f.run.kubernetes
		g, err := a.guest(ctx, &f.vmFlags)
		if err != nil {
			return err
		}
		if f.down {
			defer func() { err = errors.Join(err, vm.Down(context.WithoutCancel(ctx), f.options)) }()
		}
		if g.Accel() == vm.TCG && !cmd.Flags().Changed("timings") && !cmd.Flags().Changed("cluster") {
			inner = append(inner, "--timings="+kindconfigs.PatientProfile)
		}
		inner = append(inner, "--image", g.Image())
		if a.quiet {
			inner = append(inner, "--quiet")
		}
		code, err := g.Sickbay(ctx, vm.Call{Args: inner, Files: files, Report: f.run.report, Streams: vm.Streams{Out: a.out, Err: a.err}})
		if err != nil {
			return err
		}
		if f.run.report != "" {
			if rep, rerr := report.Read(f.run.report); rerr == nil {
				err = a.summarizeReport(f.run.summary, rep)
			}
		}
		if err == nil && code != exitYes {
			return answer(code)
		}
		return err
	}
	return cmd
}

// vmCall is the command line for the sickbay in the guest: the verb, the names, and every flag that was given and is not the guest's
// own; with it the files of scenarios that were named by path. Typing errors are told here, before anything is booted.
func vmCall(flags *pflag.FlagSet, own, names []string, profile string) (inner []string, files map[string][]byte, err error) {
	switch {
	case profile != "" && len(names) > 0:
		return nil, nil, usagef("--profile is all scenarios of a profile; it goes without names")
	case profile != "":
		if _, err := ofProfile(profile); err != nil {
			return nil, nil, err
		}
		inner = []string{"suite", "--profile", profile}
	case len(names) == 0:
		return nil, nil, usagef("`sickbay vm run` takes the names of scenarios, or --profile")
	default:
		if inner, files, err = vmScenarios(names); err != nil {
			return nil, nil, err
		}
		inner = append([]string{"run"}, inner...)
		if len(files) > 0 && !flags.Changed("trust") {
			inner = append(inner, "--trust") // what they do, they do to the guest
		}
	}
	flags.Visit(func(fl *pflag.Flag) {
		if !slices.Contains(own, fl.Name) {
			inner = append(inner, "--"+fl.Name+"="+fl.Value.String())
		}
	})
	if !flags.Changed("topology") && !flags.Changed("cluster") {
		// Each node costs minutes under software emulation.
		inner = append(inner, "--topology=small")
	}
	return inner, files, nil
}

// vmScenarios are the names for the sickbay in the guest, which has its own scenarios and is given the files of others.
func vmScenarios(names []string) (inner []string, files map[string][]byte, err error) {
	list, err := findScenarios(names)
	if err != nil {
		return nil, nil, err
	}
	files = map[string][]byte{}
	for i, s := range list {
		if !scenarios.IsPath(names[i]) {
			inner = append(inner, names[i])
			continue
		}
		document, beside, err := s.Files()
		if err != nil {
			return nil, nil, err
		}
		for name, data := range beside {
			files[path.Join(s.Metadata.Name, name)] = data
		}
		inner = append(inner, path.Join(s.Metadata.Name, document))
	}
	return inner, files, nil
}

func (a *app) vmShell() *cobra.Command {
	return &cobra.Command{
		Use:   "shell [-- COMMAND...]",
		Short: "Open a shell in the guest, or run one command",
		Example: `  sickbay vm shell
  sickbay vm shell -- sickbay diagnose -o json
  sickbay vm shell -- docker ps`,
		RunE: func(_ *cobra.Command, words []string) error {
			g, err := vm.Find(vm.Options{})
			if err != nil {
				return err
			}
			cmd, err := g.Shell(words)
			if err != nil {
				return err
			}
			// The client takes this process's place: terminal, signals and exit code are its own.
			return fmt.Errorf("%s: %w", cmd.Path, syscall.Exec(cmd.Path, cmd.Args, os.Environ()))
		},
	}
}

// machineInfo is what `vm status -o json` prints.
type machineInfo struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	vm.Status
}

func (a *app) vmStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show the guest and the cache of disks; exit code 1 if no guest is up",
		Example: "  sickbay vm status -o json",
		Args:    noArgs,
	}
	form := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.tellGuest(cmd.Context(), *form) }
	return cmd
}

func (a *app) tellGuest(ctx context.Context, form format) error {
	s, err := vm.Look(vm.Options{})
	if err != nil {
		return err
	}
	s.Ask(ctx, vm.Options{})
	info := machineInfo{v1alpha1.APIVersion, "VirtualMachine", s}
	if err := print(a, form, info, func(w io.Writer) { a.showGuest(w, s) }); err != nil {
		return err
	}
	if s.State != vm.Running {
		return no
	}
	return nil
}

func (a *app) showGuest(w io.Writer, s vm.Status) {
	switch s.State {
	case vm.Running:
		fmt.Fprintf(w, "guest %s since %s, %d CPUs, %s of memory\n", a.paint(green, "up"), s.Since.Local().Format("2006-01-02 15:04"), s.CPUs, text.Bytes(int64(s.MemoryMiB)<<20))
		fmt.Fprintf(w, "  ssh on 127.0.0.1:%d (`sickbay vm shell`), process %d\n  node image %s\n  %s written since it booted\n", s.Port, s.PID, s.Image, text.Bytes(s.OverlayBytes))
	case vm.Killed:
		fmt.Fprintf(w, "guest %s: %s (`sickbay vm down` clears it away)\n", a.paint(red, "killed"), s.Problem)
	default:
		fmt.Fprintln(w, "no guest is up; `sickbay vm up` boots one")
	}
	if s.Choice != nil {
		fmt.Fprintf(w, "  %s: %s\n", map[vm.Accel]string{vm.KVM: "KVM", vm.TCG: "software emulation (tcg)"}[s.Choice.Accel], s.Choice.Reason)
	}
	if s.State == vm.Running && s.Problem != "" {
		fmt.Fprintf(w, "  %s\n", a.paint(red, s.Problem))
	}
	if h := guestFacts(s); h != nil {
		table(w, func(row func(...string)) {
			for _, f := range h.lines() {
				row("  "+f[0], f[1])
			}
		})
	}
	fmt.Fprintf(w, "disks: %s of %s at most, in %s\n", text.Bytes(s.Cache.Bytes), text.Bytes(s.Cache.Limit), s.Cache.Dir)
	table(w, func(row func(...string)) {
		for _, k := range s.Cache.Parts {
			half := ""
			if k.Half {
				half = "being made, or never finished"
			}
			row("  "+k.Name, text.Bytes(k.Bytes), "used "+k.Used.Local().Format("2006-01-02 15:04"), half)
		}
	})
}

func (a *app) vmDown() *cobra.Command {
	return &cobra.Command{
		Use:     "down",
		Short:   "Remove the guest",
		Long:    `Remove the guest. Its disks stay in the cache: see 'sickbay vm prune'. It is not an error if no guest is up.`,
		Example: "  sickbay vm down",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return vm.Down(cmd.Context(), vm.Options{}) },
	}
}

func (a *app) vmPrune() *cobra.Command {
	var all bool
	var limit string
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove disks from the cache, the longest unused first, down to a limit",
		Long: `Remove disks from the cache: unfinished ones first, then the longest unused, down to the limit. Disks of a running guest stay.
'sickbay vm up' does the same.`,
		Example: `  sickbay vm prune
  sickbay vm prune --limit 4Gi
  sickbay vm prune --all`,
		Args: noArgs,
	}
	cmd.Flags().BoolVar(&all, "all", false, "every disk")
	cmd.Flags().StringVar(&limit, "limit", fmt.Sprintf("%dGi", vm.DefaultLimit>>30), "how much to keep")
	cmd.MarkFlagsMutuallyExclusive("all", "limit")
	form := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		n, err := amount("--limit", limit)
		if err != nil {
			return err
		}
		removed, err := vm.Prune(cmd.Context(), vm.Options{Limit: n}, all || n == 0)
		if err != nil {
			return err
		}
		rest, err := vm.Look(vm.Options{Limit: n})
		if err != nil {
			return err
		}
		out := pruned{APIVersion: v1alpha1.APIVersion, Kind: "Pruned", Removed: []string{}, Cache: rest.Cache}
		for _, k := range removed {
			out.Removed = append(out.Removed, k.Name)
			out.Bytes += k.Bytes
		}
		return print(a, *form, out, func(w io.Writer) {
			fmt.Fprintf(w, "removed %s, %s; %s stay in %s\n", text.Plural(len(removed), "disk"), text.Bytes(out.Bytes), text.Bytes(rest.Cache.Bytes), rest.Cache.Dir)
		})
	}
	return cmd
}

// pruned is what `vm prune -o json` prints.
type pruned struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Removed    []string  `json:"removed"`
	Bytes      int64     `json:"bytes"`
	Cache      vm.Cached `json:"cache"`
}

// guestFacts is what the guest says of its machine, nil when it said nothing.
func guestFacts(s vm.Status) *hostFacts {
	var x hostExamination
	if s.Host == nil || json.Unmarshal(s.Host, &x) != nil {
		return nil
	}
	return &x.Host
}
