package cluster

import (
	"archive/tar"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gofrs/flock"

	"github.com/sickbay-dev/sickbay/internal/lockfile"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
)

// TestMain lets the test binary be a container engine's client over a state file.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SICKBAY_FAKE_DOCKER"); dir != "" {
		os.Exit(fakeDocker(dir, os.Args[1:]))
	}
	dir, err := os.MkdirTemp("", "sickbay-claims-")
	if err != nil {
		panic(err)
	}
	claims = func() (lockfile.Machine, error) { return lockfile.At(dir) }
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// world is what the fake engine has.
type world struct {
	Info       string // cgroup version and security options
	OldParser  bool   // apparmor_parser does not run in a node
	Agnhost    bool   // every node has it, pinned
	Containers []container
	Networks   map[string]network
	Volumes    []string
	Images     map[string][]string // node → names of its images
	Files      map[string][]byte   // "node:path"
	// Stuck containers are not removed by the first rm.
	Stuck map[string]bool
}

func fakeDocker(dir string, args []string) int {
	file := filepath.Join(dir, "world.json")
	f, err := os.OpenFile(filepath.Join(dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(f, strings.Join(args, " "))
	unlock := lockFile(dir)
	defer unlock()
	var w world
	raw, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	if err := json.Unmarshal(raw, &w); err != nil {
		panic(err)
	}
	code := w.do(args)
	raw, err = json.Marshal(w)
	if err != nil {
		panic(err)
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		panic(err)
	}
	return code
}

func (w *world) do(args []string) int {
	fail := func(f string, a ...any) int {
		fmt.Fprintf(os.Stderr, f+"\n", a...)
		return 1
	}
	last := args[len(args)-1]
	switch strings.Join(args[:min(2, len(args))], " ") {
	case "info --format":
		fmt.Println(cmp.Or(w.Info, "2 []"))
		return 0
	case "container inspect":
		var found []container
		for _, id := range args[2:] {
			for _, c := range w.Containers {
				if c.ID == id || c.name() == id {
					found = append(found, c)
				}
			}
		}
		if slices.Contains(args, "--format") {
			if len(found) == 0 {
				return fail("Error: No such container: %s", last)
			}
			fmt.Println(found[0].State.Status)
			return 0
		}
		return print(found)
	case "network inspect":
		n, ok := w.Networks[last]
		if !ok {
			return fail("Error: No such network: %s", last)
		}
		return print([]network{n})
	case "network create":
		if slices.Contains(args, "--interface-name") { // podman 4.3
			return fail("Error: unknown flag: --interface-name")
		}
		n := network{ID: "n1", Labels: map[string]string{}}
		n.IPAM.Config = []struct{ Subnet string }{{"172.20.0.0/16"}}
		if i := slices.Index(args, "--label"); i > 0 {
			k, v, _ := strings.Cut(args[i+1], "=")
			n.Labels[k] = v
		}
		w.Networks[last] = n
		return 0
	case "network disconnect":
		for k, c := range w.Networks[args[3]].Containers {
			if c.Name == last {
				delete(w.Networks[args[3]].Containers, k)
			}
		}
		return 0
	case "network rm":
		if n := w.Networks[last]; len(n.Containers) > 0 {
			return fail("Error response from daemon: error while removing network: network %s id %s has active endpoints", last, n.ID)
		}
		delete(w.Networks, last)
		return 0
	case "volume rm":
		w.Volumes = slices.DeleteFunc(w.Volumes, func(v string) bool { return v == last })
		return 0
	}
	switch args[0] {
	case "ps":
		filter := args[slices.Index(args, "--filter")+1]
		for _, c := range w.Containers {
			if k, v, eq := strings.Cut(strings.TrimPrefix(filter, "label="), "="); strings.HasPrefix(filter, "label=") {
				if have, ok := c.Config.Labels[k]; ok && (!eq || have == v) {
					fmt.Println(c.ID)
				}
			} else if _, on := c.NetworkSettings.Networks[strings.TrimPrefix(filter, "network=")]; on {
				fmt.Println(c.ID)
			}
		}
	case "unpause", "start":
		for i := range w.Containers {
			if w.Containers[i].name() == last {
				w.Containers[i].State.Status = "running"
			}
		}
	case "rm":
		if w.Stuck[last] {
			delete(w.Stuck, last)
			return fail("Error response from daemon: could not kill: tried to kill container, but did not receive an exit event")
		}
		w.Containers = slices.DeleteFunc(w.Containers, func(c container) bool {
			if c.ID != last {
				return false
			}
			for _, m := range c.Mounts {
				w.Volumes = slices.DeleteFunc(w.Volumes, func(v string) bool { return v == m.Name })
			}
			return true
		})
	case "exec":
		// Any command works; it says who it is, and what has to do with images.
		fmt.Fprintln(os.Stderr, "sickbay-pid 7 (sh) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 42 0")
		i := slices.IndexFunc(args[1:], func(a string) bool { return !strings.HasPrefix(a, "-") }) + 1
		return w.ctr(args[i], args[i+1:])
	case "cp":
		_, path, _ := strings.Cut(args[1], ":")
		writeTar(os.Stdout, map[string][]byte{filepath.Base(path): w.Files[args[1]]})
	case "run":
		if slices.Contains(args, "--version") && w.OldParser {
			return fail("/usr/sbin/apparmor_parser: version `GLIBC_2.99' not found")
		}
	case "kill", "images", "image":
	default:
		return fail("fake docker knows no %v", args)
	}
	return 0
}

// ctr is what a node's containerd does with images: an archive has a file for each, by its name.
func (w *world) ctr(node string, argv []string) int {
	script := slices.Index(argv, containerdTools.export)
	switch text := strings.Join(argv, " "); {
	case w.Agnhost && strings.HasSuffix(text, containerdTools.workload):
		fmt.Println(DefaultWorkloadImage + " 1")
	case strings.HasSuffix(text, containerdTools.names):
		fmt.Println(strings.Join(w.Images[node], "\n"))
	case script >= 0:
		path, images := argv[script+2], map[string][]byte{}
		for _, ref := range argv[script+3:] {
			if !slices.Contains(w.Images[node], ref) {
				fmt.Fprintf(os.Stderr, "ctr: image %q: not found\n", ref)
				return 1
			}
			images[ref] = nil
		}
		var b bytes.Buffer
		writeTar(&b, images)
		if w.Files == nil {
			w.Files = map[string][]byte{}
		}
		w.Files[node+":"+path] = b.Bytes()
		fmt.Println(b.Len())
	case strings.Contains(text, "images import"):
		for t := tar.NewReader(os.Stdin); ; {
			h, err := t.Next()
			if err != nil {
				break
			}
			w.Images[node] = append(w.Images[node], h.Name)
		}
	}
	return 0
}

func writeTar(to io.Writer, files map[string][]byte) {
	t := tar.NewWriter(to)
	for name, content := range files {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o644}); err != nil {
			panic(err)
		}
		if _, err := t.Write(content); err != nil {
			panic(err)
		}
	}
	if err := t.Close(); err != nil {
		panic(err)
	}
}

func print(v any) int {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(raw))
	return 0
}

// lockFile is given back by the kernel when a client is killed at its bound.
func lockFile(dir string) func() {
	l := flock.New(filepath.Join(dir, "lock"))
	if err := l.Lock(); err != nil {
		panic(err)
	}
	return func() { _ = l.Unlock() }
}

// engineWith is a fake engine that has this.
func engineWith(t *testing.T, w world) (*engine.Engine, func() world, func() string) {
	t.Helper()
	if w.Networks == nil {
		w.Networks = map[string]network{}
	}
	dir := t.TempDir()
	t.Setenv("SICKBAY_FAKE_DOCKER", dir)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector lets every process sleep a second at its end
	t.Setenv("SICKBAY_CACHE", filepath.Join(dir, "cache"))
	raw, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "world.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	now := func() world {
		t.Helper()
		raw, err := os.ReadFile(filepath.Join(dir, "world.json"))
		if err != nil {
			t.Fatal(err)
		}
		var w world
		if err := json.Unmarshal(raw, &w); err != nil {
			t.Fatal(err)
		}
		return w
	}
	log := func() string {
		raw, _ := os.ReadFile(filepath.Join(dir, "log"))
		return string(raw)
	}
	// A host that is not this machine: rules go through a container, never to the real packet filter.
	return &engine.Engine{Provider: "docker", Host: "tcp://elsewhere:1", Version: "fake", CLI: os.Args[0]}, now, log
}

// node is a kind node; with a mark it is ours.
func kindNode(cluster, name, role, state string, m *mark) container {
	c := container{ID: "id-of-" + name, Name: "/" + name}
	c.State.Status = state
	c.Config.Image = "sickbay.dev/node:v1.37.2-x"
	c.Config.Labels = map[string]string{kindClusterLabel: cluster, kindRoleLabel: role}
	c.NetworkSettings.Networks = map[string]struct{ IPAddress string }{Network: {"172.20.0.2"}}
	c.Mounts = append(c.Mounts, struct{ Type, Name, Source, Destination string }{"volume", "vol-" + name, "", "/var"})
	if m != nil {
		c.Mounts = append(c.Mounts, struct{ Type, Name, Source, Destination string }{"bind", "", "/dev/null", m.path()})
	}
	return c
}
