package engine

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/internal/platform/apt"
)

func TestEnv(t *testing.T) {
	t.Setenv("PATH", "/bin")
	for _, name := range append([]string{"DOCKER_HOST", "KIND_EXPERIMENTAL_PROVIDER", "TESTCONTAINERS_RYUK_DISABLED"}, overridden...) {
		t.Setenv(name, "the user's")
	}
	e := &Engine{Provider: Docker, Host: "unix:///x", Private: true, cliDir: "/cli", CLI: "/cli/docker"}
	want := []string{"KIND_EXPERIMENTAL_PROVIDER=docker", "TESTCONTAINERS_RYUK_DISABLED=true", "DOCKER_HOST=unix:///x", "PATH=/cli:/bin"}
	if got := e.Env(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	cmd := e.Command(t.Context(), "ps", "-a")
	if !slices.Equal(cmd.Args, []string{"/cli/docker", "ps", "-a"}) {
		t.Errorf("args %q", cmd.Args)
	}
	for _, kv := range cmd.Env {
		if name, _, _ := strings.Cut(kv, "="); slices.Contains(overridden, name) {
			t.Errorf("%s would contradict DOCKER_HOST", kv)
		}
	}
	for range 2 {
		if err := e.Setenv(); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getenv("PATH") != "/cli:/bin" || os.Getenv("DOCKER_HOST") != "unix:///x" || os.Getenv("DOCKER_CONTEXT") != "" {
		t.Errorf("environment: %q %q %q", os.Getenv("PATH"), os.Getenv("DOCKER_HOST"), os.Getenv("DOCKER_CONTEXT"))
	}
}

// An engine of somebody else is reached the way its owner set it up.
func TestEnvOfOthers(t *testing.T) {
	t.Setenv("DOCKER_TLS_VERIFY", "1")
	t.Setenv("DOCKER_HOST", "tcp://there:2376")
	e := &Engine{Provider: Docker}
	if env := e.Command(t.Context()).Env; !slices.Contains(env, "DOCKER_TLS_VERIFY=1") || !slices.Contains(env, "DOCKER_HOST=tcp://there:2376") {
		t.Error("the user's way to the engine is lost")
	}
}

func TestParseOSRelease(t *testing.T) {
	got := parseOSRelease(OS{GOOS: "linux"}, "PRETTY_NAME=\"Linux Mint 22\"\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n# x\n")
	if got.ID != "linuxmint" || !got.is("debian") || got.is("fedora") || got.Name != "Linux Mint 22" {
		t.Errorf("%+v", got)
	}
}

func TestDockerdConfig(t *testing.T) {
	opts := Options{StateDir: "/s", RunDir: "/r"}.withDefaults()
	read := func(m machine) map[string]any {
		data, err := dockerdJSON(opts, m)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		for _, host := range got["hosts"].([]any) {
			if !strings.HasPrefix(host.(string), "unix:///r/") {
				t.Errorf("listens on %s", host)
			}
		}
		return got
	}
	v1 := read(machine{Bridge: "none", MaxFiles: 20000, OverlayOnRoot: true})
	if v1["cgroup-parent"] != "/"+opts.cgroup() || v1["storage-driver"] != "overlay2" || v1["bridge"] != "none" {
		t.Errorf("%v", v1)
	}
	if files := v1["default-ulimits"].(map[string]any)["nofile"].(map[string]any); files["Hard"] != 20000.0 {
		t.Errorf("containers get more files than the machine allows: %v", files)
	}
	v2 := read(machine{SystemdCgroups: true, Bridge: ownBridgeName, MaxFiles: 1 << 62})
	if v2["cgroup-parent"] != opts.cgroup()+".slice" || v2["exec-opts"] != nil || v2["storage-driver"] != nil {
		t.Errorf("%v", v2)
	}
	if files := v2["default-ulimits"].(map[string]any)["nofile"].(map[string]any); files["Hard"] != float64(1<<20) {
		t.Errorf("%v", files)
	}
	if (Options{}).withDefaults().cgroup() != "sickbay" || opts.cgroup() == "sickbay" {
		t.Error("an engine with directories of its own must not clean up the cgroups of the usual one")
	}
}

func TestRows(t *testing.T) {
	docker := `{"Names":"lab-worker","Image":"node","Status":"Up","Labels":"io.x-k8s.kind.cluster=lab,a=b"}
{"Names":"db","Image":"postgres","Status":"Up","Labels":""}`
	podman := `[{"Names":["lab-worker","x"],"Image":"node","Status":"Up","Labels":{"sickbay.dev/cluster":"lab"}},{"Names":["db"],"Labels":null}]`
	for _, out := range []string{docker, podman} {
		got := rows(out)
		if len(got) != 2 || got[0].Names != "lab-worker" || !got[0].Labels.ours() || got[1].Names != "db" || got[1].Labels.ours() {
			t.Errorf("%s: %+v", out, got)
		}
	}
}

func TestInventory(t *testing.T) {
	var a, b Inventory
	a.add(Swap, false, "/swap", "file, 16 KiB used")
	b.add(Swap, false, "/swap", "file, 20 KiB used")
	b.add(Loop, true, "/dev/loop0", "/x")
	b.unknown("rules", os.ErrPermission)
	if new := b.Since(a); len(new) != 1 || new[0].Name != "/dev/loop0" {
		t.Errorf("%v", new)
	}
	want := `loop device (1)
  /dev/loop0  /x
swap (1)
  /swap  file, 20 KiB used  (not known to be sickbay's)
none: container, volume, network, mount, firewall rule, bridge, sysctl, cgroup, process, file
not known: rules: permission denied`
	if got := b.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// fakeEngine answers like a private engine on a socket of its own.
func fakeEngine(t *testing.T, label string) Options {
	t.Helper()
	dir, err := os.MkdirTemp("", "sbe") // short, for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	opts := Options{StateDir: dir, RunDir: dir, Timeouts: Timeouts{Look: 2 * time.Second}}.withDefaults()
	l, err := net.Listen("unix", opts.socket())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/version", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"Version":"20.10","ApiVersion":"1.41"}`))
	})
	mux.HandleFunc("/info", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"Labels":["` + label + `"],"Containers":2,"ContainersRunning":1,"Images":3}`))
	})
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return opts
}

// fakeClient puts a docker client in front of PATH.
func fakeClient(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, Docker), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return dir
}

func TestPrivate(t *testing.T) {
	opts := fakeEngine(t, privateLabel)
	dir := fakeClient(t, "echo 20.10")
	e, err := private(t.Context(), opts)
	if err != nil || !e.Private || e.Version != "20.10" || e.APIVersion != "1.41" || e.Host != opts.host() || e.CLI != dir+"/docker" || e.cliDir != "" {
		t.Fatalf("%+v, %v", e, err)
	}
	s, err := Inspect(t.Context(), opts)
	if err != nil || s.Engine == nil || s.Containers != 2 || s.Running != 1 || s.Images != 3 || s.PID != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestPrivateIsNotOurs(t *testing.T) {
	fakeClient(t, "echo 20.10")
	if e, err := private(t.Context(), fakeEngine(t, "other=1")); err == nil || !strings.Contains(err.Error(), privateLabel) {
		t.Errorf("%v, %v", e, err)
	}
}

// kind runs the first docker in PATH: one that works has to come first.
func TestClientTooNew(t *testing.T) {
	opts := fakeEngine(t, privateLabel)
	works := fakeClient(t, "echo 20.10")
	fakeClient(t, "echo 'server API version 1.41 is too old' >&2; exit 1")
	e, err := private(t.Context(), opts)
	if err != nil || e.CLI != works+"/docker" {
		t.Fatalf("%+v, %v", e, err)
	}
	if at, err := os.Readlink(filepath.Join(opts.cliDir(), Docker)); err != nil || at != e.CLI {
		t.Errorf("%s, %v", at, err)
	}
	if !slices.Contains(e.Env(), "PATH="+opts.cliDir()+":"+os.Getenv("PATH")) {
		t.Errorf("%q", e.Env())
	}
}

func TestNoClientWorks(t *testing.T) {
	opts := fakeEngine(t, privateLabel)
	dir := fakeClient(t, "echo 'server API version 1.41 is too old' >&2; exit 1")
	old := apt.Sbin
	apt.Sbin = nil
	defer func() { apt.Sbin = old }()
	t.Setenv("PATH", dir)
	if e, err := private(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "too old") || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v, %v", e, err)
	}
}

func TestBoundLog(t *testing.T) {
	opts := Options{StateDir: t.TempDir()}.withDefaults()
	if err := os.WriteFile(opts.log(), append(make([]byte, logLimit), "the last line\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := lastLog(opts, 0, 1); !strings.HasSuffix(got, "the last line") {
		t.Errorf("%q", got)
	}
	boundLog(opts)
	now, err1 := os.ReadFile(opts.log())
	old, err2 := os.ReadFile(opts.log() + ".1")
	if err1 != nil || err2 != nil || len(now) != 0 || len(old) != logKeep || !strings.HasSuffix(string(old), "the last line\n") {
		t.Errorf("%d, %d bytes, %v, %v", len(now), len(old), err1, err2)
	}
}
