// Package engine finds the container engine that clusters run on, and where there is none fit for it, installs and starts one
// that belongs to sickbay alone: own socket, data root, containerd and cgroup, nothing listening on TCP, and everything that
// starting it changed on the host taken back by Down.
//
// It knows engines (docker, podman), Debian packages and the host. It knows nothing of clusters, nodes, images or scenarios
// beyond the labels that Inventory lists by.
package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/command"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// Providers, as kind names them.
const (
	Docker = "docker"
	Podman = "podman"
)

const (
	// privateLabel marks the engine that is sickbay's own, in its `docker info`.
	privateLabel = "sickbay.dev/engine=private"
	// LabelPrefix begins every label that sickbay puts on containers, networks and volumes.
	LabelPrefix = "sickbay.dev/"
	// kindLabel is what kind puts on the containers of a cluster.
	kindLabel = "io.x-k8s.kind.cluster"
)

// Engine is a container engine that answers.
type Engine struct {
	Provider   string `json:"provider"`       // docker or podman
	Host       string `json:"host,omitempty"` // value for DOCKER_HOST, "" where the client's own default is right
	Private    bool   `json:"private"`        // sickbay started it
	Version    string `json:"version"`        // of the server
	APIVersion string `json:"apiVersion"`     // the newest API the server speaks
	// Elsewhere tells that the kernel of its containers is not this machine's, which was asked for or is a virtual machine's here.
	Elsewhere bool   `json:"elsewhere,omitempty"`
	CLI       string `json:"cli"` // path of the client that was seen to work with this server

	cliDir string // to be put in front of PATH, when the first client there does not work with this server
}

// String names the engine for people.
func (e *Engine) String() string {
	s := strings.TrimSpace(e.Provider + " " + e.Version)
	if e.Private {
		s = "sickbay's own " + s
	}
	if e.Host != "" {
		s += " at " + e.Host
	}
	if e.Elsewhere {
		s += ", on another kernel than this machine's"
	}
	return s
}

// Env returns the variables that children need to reach this engine, beside the ones they inherit.
func (e *Engine) Env() []string {
	env := []string{
		"KIND_EXPERIMENTAL_PROVIDER=" + e.Provider,
		// The reaper's image cannot be pulled where no registry answers; sickbay cleans up by label instead.
		"TESTCONTAINERS_RYUK_DISABLED=true",
	}
	if e.Host != "" {
		env = append(env, "DOCKER_HOST="+e.Host)
	}
	if e.cliDir != "" {
		env = append(env, "PATH="+pathWith(e.cliDir))
	}
	return env
}

// overridden are variables that would contradict a DOCKER_HOST of ours.
var overridden = []string{"DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_TLS", "DOCKER_CERT_PATH", "DOCKER_API_VERSION"}

// Setenv makes the engine that of this process: kind's and testcontainers' packages read the environment.
// It is not safe while other goroutines read the environment, so call it before starting any.
func (e *Engine) Setenv() error {
	if e.Private {
		for _, name := range overridden {
			if err := os.Unsetenv(name); err != nil {
				return fmt.Errorf("unset %s: %w", name, err)
			}
		}
	}
	for _, kv := range e.Env() {
		name, value, _ := strings.Cut(kv, "=")
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

// Socket tells whether docker's API is served, by which registries are started: podman does so only where its service was asked for.
func (e *Engine) Socket() error {
	if e.Provider == Podman && e.Host == "" {
		return errors.New("podman's API is not served: `systemctl enable --now podman.socket`, or `podman system service --time=0 &` where systemd does not run")
	}
	return nil
}

// Command returns a command of the engine's client, for instance Command(ctx, "ps", "-a").
func (e *Engine) Command(ctx context.Context, args ...string) *exec.Cmd {
	cli := e.CLI
	if cli == "" {
		cli = e.Provider
	}
	cmd := exec.CommandContext(ctx, cli, args...)
	cmd.Env = e.environ()
	return cmd
}

func (e *Engine) environ() []string {
	env := os.Environ()
	if e.Private {
		env = slices.DeleteFunc(env, func(kv string) bool {
			name, _, _ := strings.Cut(kv, "=")
			return slices.Contains(overridden, name)
		})
	}
	return append(env, e.Env()...)
}

// output runs the client and returns what it printed; the error carries the command and what it said.
func (e *Engine) output(ctx context.Context, args ...string) (string, error) {
	return command.Output(e.Command(ctx, args...))
}

// Options say where the private engine lives and how long things may take. The zero value is what everybody should use.
type Options struct {
	StateDir string // survives reboots: data, log, saved host state. Default /var/lib/sickbay
	RunDir   string // does not: sockets, pid files. Default /run/sickbay
	// NoInstall forbids installing packages: where that would be needed, Ensure fails and says what to install.
	NoInstall bool
	// OwnOnly leaves engines of others out of consideration. Up and Down use it.
	OwnOnly bool
	// Purge makes Down delete images, volumes and the rest of the state directory, too.
	Purge    bool
	Timeouts Timeouts
}

// Timeouts bound every wait of this package.
type Timeouts struct {
	Look    time.Duration // one question to an engine. Default 10 s: a wedged daemon accepts connections and never answers
	Probe   time.Duration // importing, running and removing the probe. Default 60 s; usual 0.7 s
	Install time.Duration // apt-get update and install. Default 10 min; usual 12 s
	Start   time.Duration // until the engine answers. Default 60 s; usual 1.5 s, longer after an unclean stop
	Stop    time.Duration // until it is gone, per process. Default 30 s; usual under 1 s
}

const defaultStateDir = "/var/lib/sickbay"

func (o Options) withDefaults() Options {
	o.StateDir, o.RunDir = cmp.Or(o.StateDir, defaultStateDir), cmp.Or(o.RunDir, "/run/sickbay")
	t := &o.Timeouts
	timeoutscale.Default(&t.Look, 10*time.Second)
	timeoutscale.Default(&t.Probe, time.Minute)
	timeoutscale.Default(&t.Install, 10*time.Minute)
	timeoutscale.Default(&t.Start, time.Minute)
	timeoutscale.Default(&t.Stop, 30*time.Second)
	return o
}

// The files of the private engine.
func (o Options) socket() string           { return filepath.Join(o.RunDir, "docker.sock") }
func (o Options) host() string             { return "unix://" + o.socket() }
func (o Options) dockerdPID() string       { return filepath.Join(o.RunDir, "docker.pid") }
func (o Options) execRoot() string         { return filepath.Join(o.RunDir, "exec") }
func (o Options) containerdSocket() string { return filepath.Join(o.RunDir, "containerd.sock") }
func (o Options) containerdState() string  { return filepath.Join(o.RunDir, "containerd") }
func (o Options) containerdRoot() string   { return filepath.Join(o.StateDir, "containerd") }
func (o Options) dataRoot() string         { return filepath.Join(o.StateDir, "engine") }
func (o Options) runtime() string          { return filepath.Join(o.StateDir, "bin", "sickbay-oci") }
func (o Options) cliDir() string           { return filepath.Join(o.StateDir, "cli") }
func (o Options) dockerdConfig() string    { return filepath.Join(o.StateDir, "dockerd.json") }
func (o Options) containerdConfig() string { return filepath.Join(o.StateDir, "containerd.toml") }
func (o Options) log() string              { return filepath.Join(o.StateDir, "engine.log") }
func (o Options) before() string           { return filepath.Join(o.StateDir, "engine-before.json") }
func (o Options) lock() string             { return filepath.Join(o.StateDir, "engine.lock") }

// cgroup is where every container of the private engine lives, so that what is left there is known to be ours. An engine with
// directories of its own (tests) has a cgroup of its own, too.
func (o Options) cgroup() string {
	if o.StateDir == defaultStateDir {
		return "sickbay"
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(o.StateDir))
	return fmt.Sprintf("sickbay%08x", h.Sum32())
}

func pathWith(dir string) string {
	path := os.Getenv("PATH")
	if first, _, _ := strings.Cut(path, string(os.PathListSeparator)); first == dir {
		return path
	}
	return dir + string(os.PathListSeparator) + path
}
