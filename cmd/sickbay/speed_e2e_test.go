package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
)

// TestDiagnoseSpeed measures the program as a user runs it, process start included, on a real cluster of sickbay's:
//
//	make build && SICKBAY_AGENT=$PWD/bin/sickbay-agent-linux-amd64 SICKBAY_E2E=1 SICKBAY_CLUSTER=name go test ./cmd/sickbay -run TestDiagnoseSpeed -v -count 1
//
// A healthy cluster of five nodes is diagnosed within 2 s, and five broken ones within 5 s although one of them does not answer.
func TestDiagnoseSpeed(t *testing.T) {
	if os.Getenv("SICKBAY_E2E") != "1" {
		t.Skip("SICKBAY_E2E is not 1")
	}
	program, err := filepath.Abs("../../bin/sickbay")
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	w := realDeps{}
	e, err := w.presentEngine(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Find(ctx, e, cmp.Or(os.Getenv("SICKBAY_CLUSTER"), defaultCluster))
	if err != nil {
		t.Fatal(err)
	}
	if !c.Ours {
		t.Fatalf("cluster %s is not sickbay's: its kubelets are not stopped", c.Name)
	}
	diagnosis := func() (d v1alpha1.Diagnosis, took time.Duration) {
		t.Helper()
		cmd := exec.CommandContext(ctx, program, "-q", "diagnose", "--cluster", c.Name, "-o", "json")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		began := time.Now()
		_ = cmd.Run() // the exit code is the answer
		took = time.Since(began)
		if err := json.Unmarshal(stdout.Bytes(), &d); err != nil {
			t.Fatalf("%v\n%s", err, stderr.String())
		}
		return d, took
	}
	median := func(what string, bound time.Duration, check func(v1alpha1.Diagnosis)) {
		t.Helper()
		var all []time.Duration
		for range 5 {
			d, took := diagnosis()
			check(d)
			all = append(all, took)
		}
		slices.Sort(all)
		t.Logf("%s: median %s of %s", what, all[2].Round(time.Millisecond), all)
		if all[2] > bound {
			t.Errorf("%s took %s, want at most %s", what, all[2], bound)
		}
	}
	_, first := diagnosis()
	t.Logf("the first, which copies the agent: %s", first.Round(time.Millisecond))
	median("healthy", 2*time.Second, func(d v1alpha1.Diagnosis) {
		if !d.Healthy || len(d.Nodes) != len(c.Nodes()) {
			t.Errorf("%d nodes, findings %+v, unknown %+v", len(d.Nodes), d.Findings, d.Unknown)
		}
	})

	var silent cluster.NodeInfo
	for _, n := range c.Nodes() {
		t.Cleanup(func() { run(t, c.Node(n.Name), "systemctl", "start", "kubelet") })
		run(t, c.Node(n.Name), "systemctl", "stop", "kubelet")
		if n.Role == cluster.Worker {
			silent = n
		}
	}
	allButOne := func(d v1alpha1.Diagnosis) {
		ill := map[string]bool{}
		for _, f := range d.Findings {
			ill[f.Node] = f.Failure == "node-notready" || ill[f.Node]
		}
		for _, n := range c.Nodes() {
			blind := slices.ContainsFunc(d.Unknown, func(u v1alpha1.NodeUnknown) bool { return u.Node == n.Name && u.What == "node" })
			if n.Name == silent.Name && !blind || n.Name != silent.Name && !ill[n.Name] {
				t.Errorf("%s: found %v, blind %v", n.Name, ill[n.Name], blind)
			}
		}
	}
	engine := func(verb string) {
		t.Helper()
		if out, err := e.Command(context.WithoutCancel(ctx), verb, silent.Name).CombinedOutput(); err != nil {
			t.Errorf("%s %s: %v\n%s", verb, silent.Name, err, out)
		}
	}
	wake := sync.OnceFunc(func() { engine("unpause") })
	t.Cleanup(wake)
	engine("pause") // the engine says so at once
	median("all broken, one of them paused", 5*time.Second, allButOne)
	wake()

	thaw := hang(silent.ID) // nobody says anything
	t.Cleanup(thaw)
	median("all broken, one of them hangs", 5*time.Second, allButOne)
}

// hang stops (SIGSTOP) every agent that starts in a container, from the host, until the answer is called: what a node whose kernel or
// disk hangs looks like from outside. The answer kills those that were stopped.
func hang(container string) (thaw func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		held := map[int]bool{}
		for {
			select {
			case <-stop:
				for pid := range held {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
				return
			case <-time.After(5 * time.Millisecond): // a look takes an agent at least 30
			}
			comms, _ := filepath.Glob("/proc/[0-9]*/comm")
			for _, f := range comms {
				comm, err := os.ReadFile(f)
				if err != nil || !strings.HasPrefix(string(comm), "agent-") {
					continue
				}
				groups, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "cgroup"))
				pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
				if err == nil && !held[pid] && strings.Contains(string(groups), container) {
					held[pid] = syscall.Kill(pid, syscall.SIGSTOP) == nil
				}
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

func run(t *testing.T, n node.Node, argv ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if _, err := n.Run(ctx, node.Argv(argv...)); err != nil {
		t.Error(err)
	}
}
