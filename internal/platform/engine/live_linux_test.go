package engine

import (
	"context"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"

	"github.com/sickbay-dev/sickbay/internal/command"
	"github.com/sickbay-dev/sickbay/internal/platform/apt"
	"github.com/sickbay-dev/sickbay/internal/platform/engine/oci"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// TestLive starts real engines. It needs root and installed packages and takes some ten seconds, so that it has to be asked for:
//
//	SICKBAY_TEST_ENGINE=1 go test ./engine -run TestLive
//
// It runs in network and mount namespaces of its own, with directories of its own: an engine that is at work is not disturbed.
func TestLive(t *testing.T) {
	switch os.Getenv("SICKBAY_TEST_ENGINE") {
	case "":
		t.Skip("SICKBAY_TEST_ENGINE is not set")
	case "1":
		cmd := exec.Command("unshare", "--net", "--mount", os.Args[0], "-test.run", flag.Lookup("test.run").Value.String(), "-test.v")
		cmd.Env = append(os.Environ(), "SICKBAY_TEST_ENGINE=inside")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Setenv("DOCKER_HOST", "")
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0o644); err != nil { // as on a bare machine
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "sbe") // short: a socket's path may have 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	opts := Options{StateDir: filepath.Join(dir, "lib"), RunDir: filepath.Join(dir, "run")}.withDefaults()
	down := func(t *testing.T) {
		t.Helper()
		o := opts
		o.Purge = true
		if err := Down(context.Background(), o); err != nil {
			t.Errorf("down: %v", err)
		}
	}
	t.Cleanup(func() { down(t) })

	t.Run("up, a privileged container, down, and the host is as before", func(t *testing.T) {
		before := everything(t, opts)
		began := time.Now()
		e, err := Up(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("up after %v: %s, client %s", time.Since(began), e, e.CLI)
		report, err := system{opts}.probe(t.Context(), e, "")
		if err != nil {
			t.Fatal(err)
		}
		if ok, why := report.Privileged(); !ok {
			t.Fatal(why)
		}
		network := []string{"network", "create", "--label", LabelPrefix + "test=1", "some"}
		if _, err := e.output(t.Context(), network...); err != nil {
			t.Fatal(err)
		}
		clusterTable(t)
		sleeper(t, e, "sleeper")
		inv := TakeInventory(t.Context(), nil, opts)
		t.Logf("inventory:\n%s", inv)
		for _, k := range []Kind{Container, Network, Rule, Bridge, Sysctl, Cgroup, Proc, Mount} {
			if len(inv.Of(k)) == 0 {
				t.Errorf("the inventory has no %s", k)
			}
		}
		began = time.Now()
		if err := Down(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
		t.Logf("down after %v", time.Since(began))
		if diff := cmp.Diff(before, everything(t, opts)); diff != "" {
			t.Errorf("the host is not as before (-before +after):\n%s", diff)
		}
		if left := TakeInventory(t.Context(), nil, opts).Since(Inventory{}); slices.ContainsFunc(left, func(i Item) bool { return i.Ours }) {
			t.Errorf("left: %v", left)
		}
	})

	t.Run("up again, twice at once, and once more", func(t *testing.T) {
		began := time.Now()
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() {
				if _, err := Up(t.Context(), opts); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("up took %v", took)
		} else {
			t.Logf("two at once: %v", took)
		}
		if n := len(ownProcesses(opts)); n != 2 {
			t.Errorf("%d daemons: %v", n, ownProcesses(opts))
		}
		began = time.Now()
		if _, err := Up(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
		t.Logf("when it runs: %v", time.Since(began))
	})

	t.Run("killed daemons: up again, containers stay down, down cleans", func(t *testing.T) {
		e, err := Up(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		sleeper(t, e, "restarting", "--restart", "always")
		kill := func() {
			for _, p := range ownProcesses(opts) {
				if p.Role != roleShim {
					_ = p.End(t.Context(), false, opts.Timeouts.Stop)
				}
			}
		}
		kill()
		if s, err := Inspect(t.Context(), opts); err != nil || s.Engine != nil || s.Problem == "" {
			t.Errorf("status %+v, %v", s, err)
		}
		if e, err = Up(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
		out, err := e.output(t.Context(), "ps", "--format", "{{.Names}}")
		if err != nil || strings.TrimSpace(out) != "" {
			t.Errorf("running after a crash: %q, %v", out, err)
		}
		sleeper(t, e, "orphan")
		kill()
		if err := Down(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
		if left := ownProcesses(opts); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		if left := ownCgroups(opts); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})

	t.Run("another docker keeps its bridge and its rules", func(t *testing.T) {
		other := filepath.Join(dir, "other")
		if err := os.MkdirAll(other+"/r", 0o755); err != nil {
			t.Fatal(err)
		}
		host := "unix://" + other + "/docker.sock"
		log, err := os.Create(other + "/log")
		if err != nil {
			t.Fatal(err)
		}
		otherOpts := Options{StateDir: other, RunDir: other + "/r"}.withDefaults()     // names directories only
		if err := os.WriteFile(other+"/empty.json", []byte("{}"), 0o600); err != nil { // not /etc/docker/daemon.json
			t.Fatal(err)
		}
		containerd := exec.Command("containerd", "--config", otherOpts.containerdConfig())
		if err := os.WriteFile(otherOpts.containerdConfig(), []byte(containerdTOML(otherOpts)), 0o600); err != nil {
			t.Fatal(err)
		}
		dockerd := exec.Command("dockerd", "--config-file", other+"/empty.json", "--host", host, "--data-root", other+"/data", "--exec-root", other+"/exec",
			"--pidfile", other+"/pid", "--containerd", otherOpts.containerdSocket(), "--bip", "10.99.0.1/24", "--cgroup-parent", opts.cgroup()+"other")
		defer func() { // once the daemons have ended
			left, _ := filepath.Glob("/sys/fs/cgroup/*/" + opts.cgroup() + "other")
			for _, path := range left {
				if err := removeCgroup(path); err != nil {
					t.Error(err)
				}
			}
		}()
		for _, cmd := range []*exec.Cmd{containerd, dockerd} {
			cmd.Stdout, cmd.Stderr, cmd.Env = log, log, daemonEnv(os.Environ())
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Process.Signal(os.Interrupt); _ = cmd.Wait() }()
		}
		e := &Engine{Provider: Docker, Host: host, CLI: apt.Find(Docker)}
		deadline := time.Now().Add(20 * time.Second)
		for _, err := e.output(t.Context(), "version"); err != nil; _, err = e.output(t.Context(), "version") {
			if time.Now().After(deadline) {
				said, _ := os.ReadFile(log.Name())
				t.Fatalf("%v\n%s", err, text.Tail(string(said), 10))
			}
			time.Sleep(50 * time.Millisecond)
		}
		if _, err := e.output(t.Context(), "network", "create", "--subnet", "10.98.0.0/24", "theirs"); err != nil {
			t.Fatal(err)
		}
		rule := []string{"-t", "nat", "-A", "DOCKER", "-p", "tcp", "--dport", "8080", "-j", "DNAT", "--to-destination", "10.99.0.2:80"}
		if out, err := exec.Command("iptables", rule...).CombinedOutput(); err != nil { // as for a published port
			t.Fatalf("%v: %s", err, out)
		}
		// This one starts containers with plain runc: where the machine lacks a capability, it cannot do privileged ones.
		status, _ := os.ReadFile("/proc/self/status")
		have, err := oci.ParseStatus(string(status), "CapBnd")
		if err != nil {
			t.Fatal(err)
		}
		c := system{opts}.Look(t.Context(), Docker, host)
		t.Logf("the other docker: %+v", c)
		if whole := len(have.Missing()) == 0; c.Usable != whole || !whole && !strings.Contains(c.Problem, "caps") {
			t.Errorf("missing %v, and looked at: %+v", have.Missing(), c)
		}
		if out, err := e.output(t.Context(), "ps", "-aq"); err != nil || out != "" {
			t.Errorf("the probe left a container: %s, %v", out, err)
		}
		if out, err := e.output(t.Context(), "images", "-q"); err != nil || out != "" {
			t.Errorf("the probe left an image: %s, %v", out, err)
		}
		before := everything(t, opts)

		ours, err := Up(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ours.output(t.Context(), "network", "create", "ours"); err != nil {
			t.Fatal(err)
		}
		during := everything(t, opts)
		for _, family := range []string{"iptables", "links"} {
			for _, line := range before[family] {
				if !strings.HasPrefix(line, ":") && !slices.Contains(during[family], line) {
					t.Errorf("lost while ours runs: %s", line)
				}
			}
		}
		if err := Down(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
		after := everything(t, opts)
		for _, state := range []map[string][]string{before, after} {
			slices.Sort(state["iptables"]) // the other docker's own rules may change places
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("the host is not as before (-before +after):\n%s", diff)
		}
	})

	t.Run("a daemon that cannot start says why, and nothing stays", func(t *testing.T) {
		before := everything(t, opts)
		if err := os.RemoveAll(opts.dataRoot()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(opts.dataRoot(), []byte("in the way"), 0o600); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(opts.dataRoot())
		_, err := Up(t.Context(), opts)
		if err == nil || !strings.Contains(err.Error(), "points to a file") || !strings.Contains(err.Error(), "dockerd --config-file") {
			t.Errorf("error: %v", err)
		}
		if diff := cmp.Diff(before, everything(t, opts)); diff != "" {
			t.Errorf("the host is not as before (-before +after):\n%s", diff)
		}
	})
	down(t)
	down(t)
	if entries, _ := os.ReadDir(opts.StateDir); len(entries) > 1 {
		t.Errorf("left after purge: %v", entries)
	}
}

// clusterTable makes a table like the one that keeps a cluster's packets in.
func clusterTable(t *testing.T) {
	t.Helper()
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	conn.AddTable(&nftables.Table{Name: ownPrefix, Family: nftables.TableFamilyINet})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

// sleeper starts a privileged container that stays.
func sleeper(t *testing.T, e *Engine, name string, args ...string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/main.go", []byte("package main\nimport \"time\"\nfunc main() { time.Sleep(time.Hour) }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", dir+"/sickbay-oci", dir+"/main.go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	archive, err := tarOf(dir + "/sickbay-oci")
	if err != nil {
		t.Fatal(err)
	}
	load := e.Command(t.Context(), "import", "-", "sleeper")
	load.Stdin = strings.NewReader(string(archive))
	if _, err := command.Output(load); err != nil {
		t.Fatal(err)
	}
	run := append([]string{"run", "-d", "--privileged", "--network", "none", "--name", name}, args...)
	if _, err := e.output(t.Context(), append(run, "sleeper", "/sickbay-oci")...); err != nil {
		t.Fatal(err)
	}
}

// everything is the host's state by other means than those that restore it: every network sysctl, iptables-save, links with their
// addresses, mounts and cgroups.
func everything(t *testing.T, opts Options) map[string][]string {
	t.Helper()
	lines := func(name string, args ...string) []string {
		out, err := exec.Command(name, args...).Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var kept []string
		for _, l := range strings.Split(strings.TrimSpace(string(out)), "\n") {
			if !strings.HasPrefix(l, "#") {
				kept = append(kept, l)
			}
		}
		return kept
	}
	state := map[string][]string{
		"iptables":  lines("iptables-save"),
		"ip6tables": lines("ip6tables-save"),
		"links":     lines("ip", "-o", "addr"),
		"mounts":    nil,
		"cgroups":   ownCgroups(opts),
	}
	state["tables"], _ = ownTables()
	for _, m := range mountsUnder(opts.StateDir, opts.RunDir) {
		state["mounts"] = append(state["mounts"], m.Mountpoint)
	}
	sysctls := map[string]string{}
	_ = filepath.Walk("/proc/sys/net", func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() && info.Mode()&0o200 != 0 {
			if data, err := os.ReadFile(path); err == nil {
				sysctls[path] = strings.TrimSpace(string(data))
			}
		}
		return nil
	})
	for _, path := range slices.Sorted(maps.Keys(sysctls)) {
		state["sysctls"] = append(state["sysctls"], path+" = "+sysctls[path])
	}
	return state
}
