// Command byhand makes a kind cluster as somebody does who never heard of sickbay, breaks it by hand, one entry after the other,
// and asks bin/sickbay what is wrong.
//
// It knows kind, the engine's client and the tool's command line. Of sickbay's packages it uses those that find an engine and a
// node image and keep packets on the machine; it knows no injector and no detector.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/platform/nodeimage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx))
}

// Exit codes, as sickbay's own.
const (
	asExpected = iota
	otherwise
	wrongRequest
	trouble
)

// kinds are where the entries of each runtime are, and what their cluster, results and page are called.
var kinds = map[string]struct{ entries, name string }{
	nodeimage.Containerd: {"suites/byhand/entries", "byhand"},
	nodeimage.CRIO:       {"suites/byhand/crio", "byhand-crio"},
}

func run(ctx context.Context) int {
	var (
		runtime = flag.String("runtime", nodeimage.Containerd, "runtime of the nodes: "+nodeimage.Containerd+", "+nodeimage.CRIO)
		dir     = flag.String("entries", "", "folder of the entries; those of the runtime, when empty")
		name    = flag.String("cluster", "", "name of the cluster that is made and broken (default byhand, byhand-crio)")
		image   = flag.String("image", "", "node image; the one that sickbay would take, when empty")
		binary  = flag.String("sickbay", "bin/sickbay", "the binary to ask")
		keep    = flag.Bool("keep", false, "leave the cluster for the next call")
		list    = flag.Bool("list", false, "list the entries")
		results = flag.String("results", "", "file that keeps the last result of every entry (default reports/byhand.json, reports/byhand-crio.json)")
		page    = flag.String("page", "", "page to write (default docs/results/byhand.md, docs/results/byhand-crio.md)")
	)
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "byhand [flags] [ENTRY…]: a name or a pattern such as 'kubelet-*'; all entries when none is named")
		flag.PrintDefaults()
	}
	flag.Parse()
	p, known := kinds[*runtime]
	if !known {
		fmt.Fprintf(os.Stderr, "-runtime %q: it must be %s or %s\n", *runtime, nodeimage.Containerd, nodeimage.CRIO)
		return wrongRequest
	}
	for value, usual := range map[*string]string{dir: p.entries, name: p.name, results: "reports/" + p.name + ".json", page: "docs/results/" + p.name + ".md"} {
		*value = cmp.Or(*value, usual)
	}
	entries, err := Load(*dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return wrongRequest
	}
	chosen, err := Choose(entries, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return wrongRequest
	}
	if *list {
		for _, e := range chosen {
			fmt.Printf("%-28s %s\n", e.Name, e.Title)
		}
		return asExpected
	}
	free, err := claim(*name)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return trouble
	}
	defer free()
	s, err := prepare(ctx, *name, *image, *runtime)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return trouble
	}
	if !*keep {
		defer func() {
			if err := s.down(context.WithoutCancel(ctx)); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
	r := runner{bed: tool{s, *binary}, bounds: usual}
	code := asExpected
	for _, e := range chosen {
		began := time.Now()
		res, err := r.entry(ctx, e)
		if err != nil && res.Problem == "" {
			res.Problem = err.Error()
		}
		fmt.Println(line(res, time.Since(began)))
		if res.Problem != "" {
			code = otherwise
		}
		all, werr := merge(*results, res, entries)
		if werr == nil {
			werr = os.WriteFile(*page, []byte(table(all, *name, *runtime, len(entries))), 0o644)
		}
		if err = errors.Join(err, werr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return trouble
		}
	}
	return code
}

// line is one result for a terminal.
func line(r Result, took time.Duration) string {
	mark, what := "✓", strings.Join(r.Found, ", ")
	if what == "" {
		what = "silent"
	}
	if len(r.Expected) > 0 {
		what += fmt.Sprintf(" after %.1fs; %s", r.Seconds, r.Fix)
	}
	if r.Problem != "" {
		mark = "✗"
		what += "\n    " + strings.ReplaceAll(r.Problem, "\n", "\n    ")
	}
	return fmt.Sprintf("%s %s (%s): %s", mark, r.Name, took.Round(time.Second), what)
}

// claim keeps others from breaking the same cluster at the same time. The kernel gives it back when the process dies.
func claim(name string) (free func(), err error) {
	file := filepath.Join(os.TempDir(), "sickbay-byhand-"+name+".lock")
	l := flock.New(file, flock.SetPermissions(0o600))
	switch held, err := l.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock %s: %w", file, err)
	case !held:
		return nil, fmt.Errorf("cluster %s is being broken by another process, which holds %s: wait for its end, or take another name (-cluster)", name, file)
	}
	return func() { _ = errors.Join(os.Remove(file), l.Unlock()) }, nil
}

// prepare finds engine and image and makes the cluster.
func prepare(ctx context.Context, name, image, runtime string) (*stranger, error) {
	e, err := engine.Ensure(ctx, engine.Options{})
	if err != nil {
		return nil, err
	}
	if err := e.Setenv(); err != nil { // for kind and for the binary
		return nil, err
	}
	resolved, err := nodeimage.Resolve(ctx, e, nodeimage.Request{Image: image, Runtime: runtime})
	if err != nil {
		return nil, err
	}
	s := &stranger{name: name, image: resolved.Ref, runtime: runtime, engine: e}
	if err := s.up(ctx); err != nil {
		return nil, err
	}
	return s, nil
}
