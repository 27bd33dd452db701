package suites_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/chaos"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

// These make disasters. Besides what e2e_test.go says:
//
//	SICKBAY_BINARY      the sickbay to kill; default ../bin/sickbay
//	SICKBAY_NODE        the worker to use; default the cluster's last
//	SICKBAY_WALK        steps of the walk on a real node; default 200
//	SICKBAY_RUNS        how many runs in a row; default 50
//	SICKBAY_RUNS_TABLE  a file for their table

func setting(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	n, err := strconv.Atoi(setting(name, strconv.Itoa(otherwise)))
	if err != nil {
		t.Fatalf("$%s: %v", name, err)
	}
	return n
}

func patient() string {
	v := ground.Victims()
	return setting("SICKBAY_NODE", v[len(v)-1])
}

func sickbay(ctx context.Context, args ...string) *exec.Cmd {
	bin, err := filepath.Abs(setting("SICKBAY_BINARY", "../bin/sickbay"))
	if err != nil {
		panic(err)
	}
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Env = environ
	return cmd
}

// environ is the environment before the engine that was found is named in it.
var environ = os.Environ()

// client runs the engine's client.
func client(ctx context.Context, args ...string) error {
	out, err := ground.Engine().Command(ctx, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// TestDisasters: the harness is killed while its fault is in place, and on top of it something happens to the node. Nothing but
// waiting follows.
func TestDisasters(t *testing.T) {
	needPool(t)
	n := patient()
	for name, then := range map[string]func(context.Context, string) error{
		"node-paused":    func(ctx context.Context, n string) error { return client(ctx, "pause", n) },
		"node-restarted": func(ctx context.Context, n string) error { return client(ctx, "restart", "--time", "5", n) },
		"node-killed":    func(ctx context.Context, n string) error { return client(ctx, "kill", n) },
		// All nodes stop with it, those of other runs as well: not beside anything else.
		"engine-restarted": restartEngine,
	} {
		for _, sc := range []string{"conflist-missing", "nodefs-full"} {
			t.Run(name+"/"+sc, func(t *testing.T) {
				c := &chaos.Runner{Lab: lab, Lease: 20 * time.Second, Harness: sickbay, Then: then}
				res, clean := c.Kill(t.Context(), n, chaos.KillCase{Scenario: sc, Point: suites.Point(v1alpha1.StepDetect), Mode: chaos.Wait})
				if res.Verdict != v1alpha1.VerdictPassed {
					t.Errorf("%s, clean %t: %s", res.Verdict, clean, res.Reason)
				}
				t.Logf("healed %.0fs after the end of the lease", res.Healed)
			})
		}
	}
}

// restartEngine ends the private engine's dockerd as a shutdown does, and starts it again.
func restartEngine(ctx context.Context, _ string) error {
	e := ground.Engine()
	if !e.Private {
		return errors.New("the engine is not sickbay's own")
	}
	pid, err := exec.CommandContext(ctx, "pgrep", "-f", "^[^ ]*dockerd .*/sickbay/dockerd.json").Output()
	if err != nil {
		return fmt.Errorf("find the engine's dockerd: %w", err)
	}
	id := strings.TrimSpace(string(pid))
	if err := exec.CommandContext(ctx, "kill", "-TERM", id).Run(); err != nil {
		return fmt.Errorf("end dockerd, process %s: %w", id, err)
	}
	for {
		if _, err := os.Stat("/proc/" + id); errors.Is(err, os.ErrNotExist) {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	_, err = engine.Ensure(ctx, engine.Options{})
	return err
}

// TestAgentKilledMidInjection: the agent dies while it prepares a filesystem, which takes seconds. The node's own timer undoes the half.
func TestAgentKilledMidInjection(t *testing.T) {
	needPool(t)
	ctx, n := t.Context(), patient()
	agent, mark := onPatient(t, n)
	in := injectors.Injection{
		ID: "killed-1", Run: "killed", Mechanism: "dedicated-filesystem", Lease: 20 * time.Second,
		Params: json.RawMessage(`{"size":"600Mi","kubeletConfig":{"evictionHard":{"imagefs.available":"15%"}}}`),
	}
	done := make(chan error, 1)
	go func() { _, err := agent.Inject(ctx, in); done <- err }()
	for {
		st, err := agent.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(st) > 0 && st[0].State == injectors.Injecting {
			break
		}
		select {
		case err := <-done:
			t.Fatalf("it ended before it could be killed: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	if _, err := ground.Node(n).Run(ctx, node.Sh(`pkill -9 -f "^/var/lib/sickbay/agent-[0-9a-f]* inject"`)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Fatal("an agent that was killed answered")
	}
	healed := time.Now()
	// 20 s of lease, 30 s for what a preparation carries, and the promise.
	asBefore(t, agent, mark, 20*time.Second+30*time.Second+time.Minute)
	t.Logf("healed by itself after %s", time.Since(healed).Round(time.Second))
}

// onPatient takes a node's fingerprint and its agent.
func onPatient(t *testing.T, n string) (fault.Agent, suites.Fingerprint) {
	t.Helper()
	release, err := lab.Claim(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	agent, err := lab.Agent(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	mark, err := lab.Fingerprint(t.Context(), n, "")
	if err != nil {
		t.Fatal(err)
	}
	return agent, mark
}

// asBefore waits until nothing is injected on a node and its fingerprint is as it was.
func asBefore(t *testing.T, agent fault.Agent, mark suites.Fingerprint, bound time.Duration) {
	t.Helper()
	end := time.Now().Add(bound)
	for {
		left, err := agent.Status(t.Context())
		var changes []string
		if err == nil && len(left) == 0 {
			if changes, err = mark.Changes(t.Context()); err == nil && len(changes) == 0 {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("after %s: %v, injected %v, changed:\n  %s", bound, err, left, strings.Join(changes, "\n  "))
		}
		time.Sleep(2 * time.Second)
	}
}

// TestTwoHarnessesRace: of two that want one node, one runs and the other says who has it.
func TestTwoHarnessesRace(t *testing.T) {
	needPool(t)
	n := patient()
	args := []string{"run", "conflist-missing", "--cluster", ground.Name, "--node", n, "--quiet"}
	var wg sync.WaitGroup
	said, codes := make([]string, 2), make([]int, 2)
	for i := range said {
		wg.Go(func() {
			out, err := sickbay(t.Context(), args...).CombinedOutput()
			said[i] = string(out)
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
				codes[i] = exit.ExitCode()
			}
		})
	}
	wg.Wait()
	if !slices.Contains(codes, 0) || !slices.Contains(codes, 3) {
		t.Fatalf("exit codes %v\n%s\n%s", codes, said[0], said[1])
	}
	if loser := said[slices.Index(codes, 3)]; !strings.Contains(loser, n+" is held by process ") || !strings.Contains(loser, "run conflist-missing") {
		t.Errorf("the loser does not say who has the node:\n%s", loser)
	}
}

// walkFaults are what the walk on a real node injects: none stops the kubelet or the runtime, so that 200 steps are minutes.
var walkFaults = []struct{ mechanism, params string }{
	{"cni-config", `{}`},
	{"cni-config", `{"action":"corrupt"}`},
	{"cni-config", `{"action":"shadow"}`},
	{"cni-binary", `{}`},
	{"runtime-binary", `{"program":"runc"}`},
	{"immutable-path", `{"path":"/opt/cni/bin","by":"mount"}`},
	{"ipam-fill", `{"leave":2}`},
	{"sysctl", `{}`},
	{"api-path", `{}`},
	{"file", `{"path":"/etc/containerd/certs.d/r:5000/hosts.toml","content":"server = \"https://r:5000\"\n"}`},
}

// TestWalkOnANode walks at random over the life of injections on a real node: check, inject, inject and be killed half-way, recover
// one, recover all, recover again, renew, ask. Every call is a process of its own.
func TestWalkOnANode(t *testing.T) {
	needPool(t)
	ctx, n := t.Context(), patient()
	agent, mark := onPatient(t, n)
	rng := rand.New(rand.NewPCG(1, 0))
	legal := []injectors.State{injectors.Planned, injectors.Injecting, injectors.Injected, injectors.Recovering}
	count := map[string]int{}
	const run = "walk"
	for i := range number(t, "SICKBAY_WALK", 200) {
		f := walkFaults[rng.IntN(len(walkFaults))]
		in := injectors.Injection{ID: fmt.Sprintf("walk-%d", i), Run: run, Mechanism: f.mechanism, Params: json.RawMessage(f.params), Lease: 2 * time.Minute}
		open, err := agent.Status(ctx)
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		what := ""
		switch k := rng.IntN(10); {
		case k < 1:
			what = "check " + f.mechanism
			_, err = agent.Check(ctx, in)
		case k < 5:
			what = "inject " + f.mechanism
			_, err = agent.Inject(ctx, in)
		case k < 6:
			what = "inject and be killed"
			_, err = ground.Node(n).Run(ctx, node.Command{
				Argv:  []string{"sh", "-c", fmt.Sprintf("timeout -s KILL 0.%02d %s inject || true", 1+rng.IntN(30), agent.Path())},
				Stdin: strings.NewReader(encode(t, in)),
			})
		case k < 7 && len(open) > 0:
			what = "recover one"
			_, err = agent.Recover(ctx, "", open[rng.IntN(len(open))].ID)
			if err != nil {
				t.Fatalf("step %d, %s: %v", i, what, err)
			}
		case k < 8:
			what = "renew"
			err = agent.Renew(ctx, run, 2*time.Minute)
		default:
			what = "recover"
			for range 1 + rng.IntN(2) { // and again
				if _, err = agent.Recover(ctx, run, ""); err != nil {
					t.Fatalf("step %d, %s: %v", i, what, err)
				}
			}
			if rng.IntN(3) == 0 {
				asBefore(t, agent, mark, time.Minute)
				count["compared"]++
			}
		}
		verb, _, _ := strings.Cut(what, " ")
		count[verb]++
		if err != nil {
			count[verb+" refused"]++
		}
		after, serr := agent.Status(ctx)
		if serr != nil {
			t.Fatalf("step %d, %s: %v", i, what, serr)
		}
		for _, s := range after {
			if !slices.Contains(legal, s.State) || s.LeaseLeft <= 0 {
				t.Fatalf("step %d, %s: %s is %s with %s of lease left: %s", i, what, s.ID, s.State, s.LeaseLeft, s.Error)
			}
		}
	}
	if _, err := agent.Recover(ctx, run, ""); err != nil {
		t.Fatal(err)
	}
	asBefore(t, agent, mark, time.Minute)
	t.Logf("%v", count)
}

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestRunsInARow runs the three quickest core scenarios again and again, in this process: nothing may drift.
func TestRunsInARow(t *testing.T) {
	needPool(t)
	n := patient()
	mark, err := lab.Fingerprint(t.Context(), n, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	agents := watchAgents(ctx)
	type line struct {
		scenario    string
		took        time.Duration
		heap, rss   uint64
		agent       uint64
		verdict     v1alpha1.Verdict
		differences int
	}
	var lines []line
	defer func() {
		var b strings.Builder
		fmt.Fprintf(&b, "| run | scenario | verdict | seconds | harness heap MiB | harness RssAnon MiB | agent at most MiB | fingerprint differs in |\n|---|---|---|---|---|---|---|---|\n")
		for i, l := range lines {
			fmt.Fprintf(&b, "| %d | %s | %s | %.1f | %.1f | %.0f | %.0f | %d |\n", i+1, l.scenario, l.verdict, l.took.Seconds(), mib(l.heap), mib(l.rss), mib(l.agent), l.differences)
		}
		if file := os.Getenv("SICKBAY_RUNS_TABLE"); file != "" {
			if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
				t.Error(err)
			}
		}
		t.Logf("\n%s", b.String())
	}()
	names := []string{"conflist-missing", "driver-mismatch", "seccomp-denied"}
	for i := range number(t, "SICKBAY_RUNS", 50) {
		sc, err := scenarios.Find(names[i%len(names)])
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		rep, err := pool.Run(ctx, sc, suites.Options{Victim: n, Cleanups: cleanups})
		if err != nil {
			t.Fatalf("run %d: %v", i+1, err)
		}
		l := line{scenario: sc.Metadata.Name, took: time.Since(began), agent: agents(), verdict: rep.Results[0].Verdict}
		changes, err := mark.Changes(ctx)
		if err != nil {
			t.Fatal(err)
		}
		l.differences = len(changes)
		debug.FreeOSMemory() // what the collector keeps for later would look like growth
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		l.heap, l.rss = m.HeapAlloc, status("self", "RssAnon")
		lines = append(lines, l)
		if l.verdict != v1alpha1.VerdictPassed || l.differences > 0 {
			t.Errorf("run %d, %s: %s: %s; %s", i+1, l.scenario, l.verdict, rep.Results[0].Reason, strings.Join(changes, "; "))
		}
	}
}

func mib(n uint64) float64 { return float64(n) / (1 << 20) }

// status reads a number of kilobytes from a process's status, in bytes.
func status(pid, key string) uint64 {
	raw, _ := os.ReadFile("/proc/" + pid + "/status")
	for l := range strings.Lines(string(raw)) {
		if v, ok := strings.CutPrefix(l, key+":"); ok {
			n, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// watchAgents looks four times a second at the agents that run on this machine's nodes, and answers with the most memory one had
// since it was last asked. Each lives for less than a second: what they have in their last moment may be missed.
func watchAgents(ctx context.Context) func() uint64 {
	var mu sync.Mutex
	var most uint64
	go func() {
		for tick := time.NewTicker(250 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
			comms, _ := filepath.Glob("/proc/[0-9]*/comm")
			for _, f := range comms {
				if raw, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(raw), "agent-") {
					n := status(filepath.Base(filepath.Dir(f)), "VmHWM")
					mu.Lock()
					most = max(most, n)
					mu.Unlock()
				}
			}
		}
	}()
	return func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		n := most
		most = 0
		return n
	}
}
