package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// fakeHost is a machine described by data.
type fakeHost struct {
	os       OS
	root     bool
	env      map[string]string
	programs []string
	engines  map[string]Candidate // by provider + " " + host
	private  *Engine

	looked []string
}

func (h *fakeHost) OS() OS                          { return h.os }
func (h *fakeHost) Root() bool                      { return h.root }
func (h *fakeHost) Getenv(name string) string       { return h.env[name] }
func (h *fakeHost) Has(program string) bool         { return slices.Contains(h.programs, program) }
func (h *fakeHost) Private(context.Context) *Engine { return h.private }
func (h *fakeHost) Look(_ context.Context, provider, host string) Candidate {
	key := strings.TrimSpace(provider + " " + host)
	h.looked = append(h.looked, key)
	c, ok := h.engines[key]
	c.Engine.Provider, c.Engine.Host = provider, host
	if !ok {
		c.Problem = "no such engine"
	}
	return c
}

var (
	debian   = OS{GOOS: "linux", ID: "debian", Name: "Debian GNU/Linux 12"}
	mint     = OS{GOOS: "linux", ID: "linuxmint", IDLike: []string{"ubuntu", "debian"}}
	fedora   = OS{GOOS: "linux", ID: "fedora"}
	mac      = OS{GOOS: "darwin"}
	all      = []string{"docker", "dockerd", "containerd", "runc", "iptables", "iptables-save", "apt-get"}
	works    = Candidate{Usable: true}
	weak     = Candidate{Problem: "a privileged container cannot mount"}
	ourHost  = Options{}.withDefaults().host()
	privates = &Engine{Provider: Docker, Host: ourHost, Private: true}
)

func TestDecide(t *testing.T) {
	tests := []struct {
		name     string
		host     fakeHost
		opts     Options
		plan     Plan
		provider string   // of the engine used
		packages []string // to be installed
		says     []string // in Reason or Remedy
		looked   []string // exactly, when not nil
	}{
		{name: "a working docker is used and nothing is installed",
			host: fakeHost{os: debian, root: true, programs: all, engines: map[string]Candidate{"docker": works}},
			plan: UseExisting, provider: Docker, looked: []string{"docker"}},
		{name: "docker without privilege as root: an engine of our own, without packages",
			host: fakeHost{os: debian, root: true, programs: all, engines: map[string]Candidate{"docker": weak}},
			plan: StartPrivate, says: []string{"cannot mount"}},
		{name: "docker without privilege and no root",
			host: fakeHost{os: debian, programs: all, engines: map[string]Candidate{"docker": weak}},
			plan: Impossible, says: []string{"cannot mount", "as root", "apt-get install -y docker.io"}},
		{name: "bare Debian as root",
			host: fakeHost{os: debian, root: true, programs: []string{"apt-get"}},
			plan: InstallAndStart, packages: []string{"docker.io", "iptables"}, looked: []string{}},
		{name: "only a client is there, as on build machines",
			host: fakeHost{os: debian, root: true, programs: []string{"apt-get", "docker"}},
			plan: InstallAndStart, packages: []string{"docker.io", "iptables"}, looked: []string{"docker"}},
		{name: "only iptables is missing",
			host: fakeHost{os: debian, root: true, programs: []string{"apt-get", "docker", "dockerd", "containerd", "runc"}},
			plan: InstallAndStart, packages: []string{"iptables"}},
		{name: "a distribution derived from Debian",
			host: fakeHost{os: mint, root: true, programs: []string{"apt-get"}},
			plan: InstallAndStart, packages: []string{"docker.io", "iptables"}},
		{name: "installing is forbidden",
			host: fakeHost{os: debian, root: true, programs: []string{"apt-get"}}, opts: Options{NoInstall: true},
			plan: Impossible, says: []string{"apt-get install -y docker.io iptables"}},
		{name: "bare Debian, no root",
			host: fakeHost{os: debian, programs: []string{"apt-get"}},
			plan: Impossible, says: []string{"needs root", "sudo apt-get install -y docker.io iptables", "usermod"}},
		{name: "another distribution with nothing",
			host: fakeHost{os: fedora, root: true},
			plan: Impossible, says: []string{"dnf install -y moby-engine"}},
		{name: "another distribution with docker installed but not running",
			host: fakeHost{os: fedora, root: true, programs: all},
			plan: StartPrivate},
		{name: "an unknown distribution",
			host: fakeHost{os: OS{GOOS: "linux", ID: "nixos"}, root: true},
			plan: Impossible, says: []string{"docs.docker.com"}},
		{name: "macOS without an engine",
			host: fakeHost{os: mac},
			plan: Impossible, says: []string{"colima"}},
		{name: "macOS as root is not Debian", host: fakeHost{os: mac, root: true, programs: all}, plan: Impossible},
		{name: "macOS with an engine",
			host: fakeHost{os: mac, programs: []string{"docker"}, engines: map[string]Candidate{"docker": works}},
			plan: UseExisting, provider: Docker},
		{name: "podman alone",
			host: fakeHost{os: fedora, root: true, programs: []string{"podman"}, engines: map[string]Candidate{"podman": works}},
			plan: UseExisting, provider: Podman, looked: []string{"podman"}},
		{name: "podman where docker is dead",
			host: fakeHost{os: fedora, root: true, programs: []string{"docker", "podman"}, engines: map[string]Candidate{"podman": works}},
			plan: UseExisting, provider: Podman, looked: []string{"docker", "podman"}},
		{name: "kind's variable asks for podman although docker works",
			host: fakeHost{os: fedora, programs: all, env: map[string]string{"KIND_EXPERIMENTAL_PROVIDER": "podman", "DOCKER_HOST": "unix:///x"},
				engines: map[string]Candidate{"podman": works, "docker": works}},
			plan: UseExisting, provider: Podman, looked: []string{"podman"}},
		{name: "kind's variable asks for podman, which is weak",
			host: fakeHost{os: debian, root: true, programs: all, env: map[string]string{"KIND_EXPERIMENTAL_PROVIDER": "podman"},
				engines: map[string]Candidate{"podman": weak, "docker": works}},
			plan: Impossible, says: []string{"asks for podman", "cannot mount"}, looked: []string{"podman"}},
		{name: "kind's variable asks for docker: podman is not looked at",
			host: fakeHost{os: debian, root: true, programs: append([]string{"podman"}, all...), env: map[string]string{"KIND_EXPERIMENTAL_PROVIDER": "docker"},
				engines: map[string]Candidate{"podman": works}},
			plan: StartPrivate, looked: []string{"docker"}},
		{name: "kind's variable asks for something else",
			host: fakeHost{os: debian, root: true, programs: all, env: map[string]string{"KIND_EXPERIMENTAL_PROVIDER": "nerdctl"}},
			plan: Impossible, says: []string{"nerdctl", "serves no API", "diagnose --context"}, looked: []string{}},
		{name: "DOCKER_HOST is honoured",
			host: fakeHost{os: debian, root: true, programs: all, env: map[string]string{"DOCKER_HOST": "tcp://10.0.0.1:2375"},
				engines: map[string]Candidate{"docker tcp://10.0.0.1:2375": works, "docker": works}, private: privates},
			plan: UseExisting, provider: Docker, looked: []string{"docker tcp://10.0.0.1:2375"}},
		{name: "DOCKER_HOST that does not answer is never replaced",
			host: fakeHost{os: debian, root: true, programs: all, env: map[string]string{"DOCKER_HOST": "unix:///nowhere.sock"},
				engines: map[string]Candidate{"docker": works}, private: privates},
			plan: Impossible, says: []string{"unix:///nowhere.sock", "no such engine", "unset"}, looked: []string{"docker unix:///nowhere.sock"}},
		{name: "DOCKER_HOST names our own engine, which runs",
			host: fakeHost{os: debian, root: true, programs: all, env: map[string]string{"DOCKER_HOST": ourHost}, private: privates},
			plan: UseExisting, provider: Docker, looked: []string{}},
		{name: "DOCKER_HOST names our own engine, which does not run: start it, whatever else is there",
			host: fakeHost{os: debian, root: true, programs: all, env: map[string]string{"DOCKER_HOST": ourHost}, engines: map[string]Candidate{"docker": works}},
			plan: StartPrivate, looked: []string{}},
		{name: "our own engine is preferred once it runs: clusters live there",
			host: fakeHost{os: debian, root: true, programs: all, engines: map[string]Candidate{"docker": works}, private: privates},
			plan: UseExisting, provider: Docker, looked: []string{}},
		{name: "engine up asks for our own",
			host: fakeHost{os: debian, root: true, programs: all, engines: map[string]Candidate{"docker": works}, env: map[string]string{"DOCKER_HOST": "unix:///x"}},
			opts: Options{OwnOnly: true}, plan: StartPrivate, looked: []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decide(t.Context(), &tt.host, tt.opts.withDefaults())
			if d.Plan != tt.plan {
				t.Fatalf("plan %q, want %q\n%s", d.Plan, tt.plan, d)
			}
			if (d.Engine != nil) != (d.Plan == UseExisting) {
				t.Errorf("engine %v with plan %s", d.Engine, d.Plan)
			}
			if tt.provider != "" && d.Engine.Provider != tt.provider {
				t.Errorf("provider %q, want %q", d.Engine.Provider, tt.provider)
			}
			if !slices.Equal(d.Packages, tt.packages) {
				t.Errorf("packages %q, want %q", d.Packages, tt.packages)
			}
			if (d.Remedy == "") != (d.Plan != Impossible) {
				t.Errorf("remedy %q with plan %s", d.Remedy, d.Plan)
			}
			for _, s := range tt.says {
				if !strings.Contains(d.Reason+"\n"+d.Remedy, s) {
					t.Errorf("does not say %q:\n%s\n%s", s, d.Reason, d.Remedy)
				}
			}
			if tt.looked != nil && !slices.Equal(tt.host.looked, tt.looked) {
				t.Errorf("looked at %q, want %q", tt.host.looked, tt.looked)
			}
			if d.Reason == "" || !strings.Contains(d.String(), d.Reason) {
				t.Errorf("the reason is not in the words: %s", d)
			}
		})
	}
}

func TestImpossibleIsAnError(t *testing.T) {
	h := &fakeHost{os: debian}
	err := error(&ImpossibleError{decide(t.Context(), h, Options{}.withDefaults())})
	var impossible *ImpossibleError
	if !errors.As(err, &impossible) || !strings.Contains(err.Error(), "apt-get install") {
		t.Fatal(err)
	}
}
