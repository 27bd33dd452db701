package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/debugpod"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/platform/nodeimage"
	"github.com/sickbay-dev/sickbay/internal/platform/vm"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// examination is what `doctor -o json` prints.
type examination struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Host       hostFacts `json:"host"`
	Engine     string    `json:"engine"` // what was looked at and what would be used
	EngineOK   bool      `json:"engineOk"`
	Image      string    `json:"image"` // what would be used
	Kept       []string  `json:"kept"`  // on purpose, with the command that removes it
	Leftover   []string  `json:"leftover"`
	Unknown    []string  `json:"unknown,omitempty"`
	Notes      []string  `json:"notes,omitempty"`
}

// hostExamination is what `doctor --host -o json` prints.
type hostExamination struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Host       hostFacts `json:"host"`
}

func (a *app) doctor() *cobra.Command {
	var host bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check this machine and show what sickbay left on it",
		Long: `Check this machine without changing anything: which engine and node image would be used and why, which faults the kernel supports,
and what sickbay created or left behind.

Exit code: 0 nothing is left behind and the machine can run scenarios, 1 otherwise.`,
		Example: `  sickbay doctor
  sickbay doctor -o json | jq .leftover`,
		Args: noArgs,
	}
	cmd.Flags().BoolVar(&host, "host", false, "only describe this machine; do not ask an engine")
	form := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if host {
			h := hostExamination{APIVersion: v1alpha1.APIVersion, Kind: "Host", Host: lookAtHost()}
			return print(a, *form, h, func(w io.Writer) { a.showHost(w, h.Host) })
		}
		x, err := a.examine(cmd.Context())
		if err != nil {
			return err
		}
		if err := print(a, *form, x, func(w io.Writer) { a.showExamination(w, x) }); err != nil {
			return err
		}
		if !x.EngineOK || len(x.Leftover) > 0 {
			return no
		}
		return nil
	}
	return cmd
}

func (a *app) examine(ctx context.Context) (*examination, error) {
	x := &examination{APIVersion: v1alpha1.APIVersion, Kind: "Examination", Host: lookAtHost(), Kept: []string{}, Leftover: []string{}}
	d, err := a.deps.decideEngine(ctx)
	if err != nil {
		return nil, err
	}
	x.Engine, x.EngineOK = d.String(), d.Plan != engine.Impossible
	x.Image = a.imagePlan(ctx, d)
	names := map[string]bool{}
	if d.Plan == engine.UseExisting {
		all, err := a.deps.clusters(ctx, d.Engine)
		if err != nil {
			x.Unknown = append(x.Unknown, "clusters: "+err.Error())
		}
		for _, c := range all {
			names[c.Name] = c.Ours
			if c.Ours {
				x.pods(ctx, c)
				x.injected(a.onNodes(ctx, c, nil, callBound, func(ctx context.Context, in injecting) ([]injectors.Status, error) { return in.Status(ctx, false) }))
			}
		}
	}
	x.records()
	x.guest()
	x.sort(a.deps.inventory(ctx, d.Engine), d.Engine, names)
	x.Notes = x.Host.notes()
	return x, nil
}

// imagePlan says which image would be used, without getting it.
func (a *app) imagePlan(ctx context.Context, d engine.Decision) string {
	if d.Plan == engine.UseExisting {
		if r, err := a.deps.resolveImage(ctx, d.Engine, nodeimage.Request{NoPull: true, NoBuild: true}); err == nil {
			return fmt.Sprintf("would use %s, which the engine has", r.Ref)
		}
	}
	s := "the engine has none; would pull kind's, and if its registry does not answer"
	if _, err := nodeimage.FindSource(); err != nil {
		return s + " fail: " + err.Error()
	}
	if os.Geteuid() != 0 {
		return s + " fail: building one here needs root"
	}
	return s + " build one here from Go modules and Debian packages (about 10 minutes, once)"
}

// sort separates what is kept on purpose from what was left behind. Kept are the private engine and the clusters that are up, with all
// that belongs to them; everything else of ours has no business here.
func (x *examination) sort(inv engine.Inventory, e *engine.Engine, clusters map[string]bool) {
	private := e != nil && e.Private
	kept := map[string]int{}
	for _, item := range inv.Items {
		line := strings.TrimSpace(fmt.Sprintf("%s %s  %s", item.Kind, item.Name, item.Detail))
		switch {
		case !item.Ours:
			// Loop devices and swap without a known owner belong to the host; sickbay's have its paths.
			if strings.Contains(item.Name+item.Detail, "sickbay") {
				x.Leftover = append(x.Leftover, line)
			}
		case item.Kind == engine.Loop, item.Kind == engine.Swap, item.Kind == engine.File:
			x.Leftover = append(x.Leftover, line)
		case len(clusters) > 0 || private && belongsToEngine(item.Kind):
			kept[string(item.Kind)]++
		default:
			x.Leftover = append(x.Leftover, line)
		}
	}
	for name, ours := range clusters {
		if ours {
			x.Kept = append(x.Kept, fmt.Sprintf("cluster %s (`sickbay cluster down --cluster %s` removes it, or gives it back if it was adopted)", name, name))
		}
	}
	if private {
		x.Kept = append(x.Kept, fmt.Sprintf("%s (`sickbay engine down` removes it)", e))
	}
	if len(kept) > 0 {
		var s []string
		for k, n := range kept {
			s = append(s, text.Plural(n, k))
		}
		x.Kept = append(x.Kept, "with them: "+sortedList(s))
	}
	x.Unknown = append(x.Unknown, inv.Unknown...)
}

// injected adds what the journals of a cluster's nodes still hold. This includes a run in progress: doctor cannot tell the difference.
func (x *examination) injected(rep statusReport) {
	for _, n := range rep.Nodes {
		if n.Error != "" {
			x.Unknown = append(x.Unknown, "what is injected on "+n.Error)
		}
		for _, s := range n.Injections {
			if s.State != injectors.Recovered {
				x.Leftover = append(x.Leftover, fmt.Sprintf("%s on node %s, %s (run %s)", s.Mechanism, n.Node, s.State, s.Run))
			}
		}
	}
}

// pods adds those by which a process, which has ended, read nodes through the API.
func (x *examination) pods(ctx context.Context, c *cluster.Cluster) {
	left, err := debugpod.Left(ctx, c.Kube(), "")
	if err != nil {
		x.Unknown = append(x.Unknown, err.Error())
	}
	for _, p := range left {
		x.Leftover = append(x.Leftover, fmt.Sprintf("pod %s (`kubectl --context kind-%s -n %s delete pod %s`; it ends by itself %s after its start)", p.Name, c.Name, p.Namespace, p.Name, debugpod.Lifetime))
	}
}

// guest adds the virtual machine and its disks: kept on purpose while it is up, left behind when its process is gone.
func (x *examination) guest() {
	s, err := vm.Look(vm.Options{})
	if err != nil {
		x.Unknown = append(x.Unknown, "the virtual machine: "+err.Error())
		return
	}
	switch s.State {
	case vm.Running:
		x.Kept = append(x.Kept, fmt.Sprintf("virtual machine, up since %s, process %d, port %d of 127.0.0.1 (`sickbay vm down` removes it)", s.Since.Local().Format("2006-01-02 15:04"), s.PID, s.Port))
	case vm.Killed:
		x.Leftover = append(x.Leftover, fmt.Sprintf("virtual machine in %s: %s (`sickbay vm down` clears it away)", s.Cache.Dir, s.Problem))
	}
	if n := len(s.Cache.Parts); n > 0 {
		x.Kept = append(x.Kept, fmt.Sprintf("%s of the virtual machine, %s, in %s (`sickbay vm prune` removes what is too much)", text.Plural(n, "disk"), text.Bytes(s.Cache.Bytes), s.Cache.Dir))
	}
}

// records adds the runs whose process has ended and that were not undone.
func (x *examination) records() {
	all, err := cluster.Records("")
	if err != nil {
		x.Unknown = append(x.Unknown, err.Error())
	}
	for _, r := range all {
		if !r.Alive {
			x.Leftover = append(x.Leftover, gone(r)+" (cluster "+r.Cluster+")")
		}
	}
}

// belongsToEngine reports whether sickbay's own engine keeps this while no cluster is up.
func belongsToEngine(k engine.Kind) bool {
	switch k {
	case engine.Container, engine.Loop, engine.Swap, engine.File:
		return false
	}
	return true
}

func (a *app) showHost(w io.Writer, h hostFacts) {
	fmt.Fprintln(w, a.paint(bold, "This machine"))
	table(w, func(row func(...string)) {
		for _, f := range h.lines() {
			row("  "+f[0], f[1])
		}
	})
}

func (a *app) showExamination(w io.Writer, x *examination) {
	a.showHost(w, x.Host)
	fmt.Fprintln(w, a.paint(bold, "Engine"))
	indent(w, x.Engine)
	fmt.Fprintln(w, a.paint(bold, "Node image"))
	indent(w, x.Image)
	if len(x.Notes) > 0 {
		fmt.Fprintln(w, a.paint(bold, "Worth knowing"))
		for _, n := range x.Notes {
			indent(w, n)
		}
	}
	if len(x.Kept) > 0 {
		fmt.Fprintln(w, a.paint(bold, "Kept on purpose"))
		for _, k := range x.Kept {
			indent(w, k)
		}
	}
	for _, u := range x.Unknown {
		fmt.Fprintf(w, "%s %s\n", a.paint(amber, "not known:"), u)
	}
	if len(x.Leftover) == 0 {
		fmt.Fprintln(w, a.paint(green, "Nothing is left behind."))
		return
	}
	fmt.Fprintln(w, a.paint(red, "Left behind:"))
	for _, l := range x.Leftover {
		indent(w, l)
	}
	fmt.Fprintln(w, "If no run is in progress: `sickbay recover` undoes faults, `sickbay cluster down` and `sickbay engine down` remove the rest.")
}

func indent(w io.Writer, s string) {
	for line := range strings.Lines(strings.TrimRight(s, "\n")) {
		fmt.Fprintln(w, "  "+strings.TrimRight(line, "\n"))
	}
}
