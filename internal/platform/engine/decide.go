package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Plan is what Ensure would do.
type Plan string

const (
	UseExisting     Plan = "use-existing"      // an engine is there and can do all that is needed
	StartPrivate    Plan = "start-private"     // everything is installed, start an engine of our own
	InstallAndStart Plan = "install-and-start" // install packages first
	Impossible      Plan = "impossible"        // a person has to act; Decision.Remedy says how
)

// Decision is what Find came to, with everything it looked at.
type Decision struct {
	Plan     Plan        `json:"plan"`
	Reason   string      `json:"reason"`             // one sentence
	Engine   *Engine     `json:"engine,omitempty"`   // what will be used, with UseExisting
	Packages []string    `json:"packages,omitempty"` // what will be installed, with InstallAndStart
	Remedy   string      `json:"remedy,omitempty"`   // what to do, with Impossible
	Seen     []Candidate `json:"seen,omitempty"`     // every engine looked at, in order
	// BadRequest: the environment asks for what does not exist; nothing was looked at.
	BadRequest bool `json:"-"`
}

// Candidate is one engine that was looked at.
type Candidate struct {
	Engine  Engine `json:"engine"`
	Usable  bool   `json:"usable"`
	Problem string `json:"problem,omitempty"` // why not, "" when usable
	// Unproven says why the probe could not be run although the engine answers, "" normally. Such an engine counts as usable:
	// creating the cluster will tell.
	Unproven string `json:"unproven,omitempty"`
}

// String is the decision in words, for `sickbay doctor`.
func (d Decision) String() string {
	var b strings.Builder
	for _, c := range d.Seen {
		switch {
		case c.Usable && c.Unproven != "":
			fmt.Fprintf(&b, "%s: answers; whether it can run privileged containers is not known (%s)\n", &c.Engine, c.Unproven)
		case c.Usable:
			fmt.Fprintf(&b, "%s: works\n", &c.Engine)
		default:
			fmt.Fprintf(&b, "%s: not usable: %s\n", &c.Engine, c.Problem)
		}
	}
	switch d.Plan {
	case UseExisting:
		fmt.Fprintf(&b, "would use %s: %s", d.Engine, d.Reason)
	case StartPrivate:
		fmt.Fprintf(&b, "would start an engine of sickbay's own: %s", d.Reason)
	case InstallAndStart:
		fmt.Fprintf(&b, "would install %s and start an engine of sickbay's own: %s", strings.Join(d.Packages, ", "), d.Reason)
	case Impossible:
		fmt.Fprintf(&b, "no engine: %s\n%s", d.Reason, d.Remedy)
	}
	return b.String()
}

// ImpossibleError is returned by Ensure where a person has to act first.
type ImpossibleError struct{ Decision Decision }

func (e *ImpossibleError) Error() string {
	return "no container engine to use: " + e.Decision.Reason + "\n  " + e.Decision.Remedy
}

func (e *ImpossibleError) ExitCode() int {
	if e.Decision.BadRequest {
		return 2
	}
	return 3
}

// OS is what is needed to know about an operating system, from os-release.
type OS struct {
	GOOS   string
	ID     string   // debian, ubuntu, fedora, …
	IDLike []string // the families it counts itself to
	Name   string   // for people
}

func (o OS) is(id string) bool { return o.ID == id || slices.Contains(o.IDLike, id) }

// Host answers questions about this machine. Decisions depend on nothing else.
type Host interface {
	OS() OS
	Root() bool
	Getenv(name string) string
	// Has tells whether a program is in PATH or where distributions put it.
	Has(program string) bool
	// Look finds out whether an engine of that provider answers at host ("" for the client's default) and, by really running
	// one, whether it can run privileged containers.
	Look(ctx context.Context, provider, host string) Candidate
	// Private returns the engine that sickbay started earlier, nil when it does not run.
	Private(ctx context.Context) *Engine
}

// decide weighs what is there. It changes nothing.
func decide(ctx context.Context, h Host, opts Options) Decision {
	var d Decision
	own := opts.host()
	asked := h.Getenv("DOCKER_HOST")
	provider := h.Getenv("KIND_EXPERIMENTAL_PROVIDER")

	if !opts.OwnOnly {
		switch provider {
		case "", Docker, Podman:
		case "nerdctl":
			d.BadRequest = true
			return d.impossible(
				"KIND_EXPERIMENTAL_PROVIDER is nerdctl, which serves no API as docker's, by which scenarios start their registries",
				"Unset KIND_EXPERIMENTAL_PROVIDER, or set it to docker or podman. `sickbay diagnose --context NAME` reads a cluster of nerdctl's through its API.")
		default:
			d.BadRequest = true
			return d.impossible(
				fmt.Sprintf("KIND_EXPERIMENTAL_PROVIDER is %q, and only docker and podman are known here", provider),
				"Unset KIND_EXPERIMENTAL_PROVIDER, or set it to docker or podman.")
		}
		// What the user asked for is used or refused, never replaced in silence.
		if asked != "" && asked != own && provider != Podman {
			if d.look(ctx, h, Docker, asked) {
				return d.use("DOCKER_HOST asks for it")
			}
			return d.impossible(
				fmt.Sprintf("DOCKER_HOST=%s is not usable: %s", asked, d.last().Problem),
				"Start or repair that engine, point DOCKER_HOST at another one, or unset it: then sickbay looks for one itself.")
		}
		if provider == Podman {
			if d.look(ctx, h, Podman, "") {
				return d.use("KIND_EXPERIMENTAL_PROVIDER asks for it")
			}
			return d.impossible(
				"KIND_EXPERIMENTAL_PROVIDER asks for podman, which is not usable: "+d.last().Problem,
				"Repair podman, or unset KIND_EXPERIMENTAL_PROVIDER: then sickbay looks for an engine itself.")
		}
	}

	if e := h.Private(ctx); e != nil {
		d.Seen = append(d.Seen, Candidate{Engine: *e, Usable: true})
		return d.use("sickbay started it earlier")
	}
	if !opts.OwnOnly && asked != own {
		if h.Has(Docker) && d.look(ctx, h, Docker, "") {
			return d.use("it answers and runs privileged containers")
		}
		if provider != Docker && h.Has(Podman) && d.look(ctx, h, Podman, "") {
			return d.use("it answers and runs privileged containers")
		}
	}
	return d.private(h, opts)
}

// private decides about an engine of our own, once nothing else is usable.
func (d Decision) private(h Host, opts Options) Decision {
	os := h.OS()
	why := "no container engine is there"
	if c := d.last(); c != nil {
		why = c.Engine.String() + " is not usable: " + c.Problem
	}
	if os.GOOS != "linux" {
		return d.impossible(why, remedyElsewhere(os, h))
	}
	if !h.Root() {
		return d.impossible(why+"; starting an engine needs root", remedyElsewhere(os, h))
	}
	var missing []string
	for _, p := range needed {
		if !h.Has(p.program) && !slices.Contains(missing, p.pkg) {
			missing = append(missing, p.pkg)
		}
	}
	switch {
	case len(missing) == 0:
		d.Plan, d.Reason = StartPrivate, why
	case (os.is("debian") || os.is("ubuntu")) && h.Has("apt-get") && !opts.NoInstall:
		d.Plan, d.Reason, d.Packages = InstallAndStart, why, missing
	default:
		return d.impossible(why, remedyElsewhere(os, h))
	}
	return d
}

// needed are the programs of a private engine and the Debian package of each.
var needed = []struct{ program, pkg string }{
	{"dockerd", "docker.io"}, {"containerd", "docker.io"}, {"runc", "docker.io"},
	{"iptables", "iptables"}, {"iptables-save", "iptables"},
	// Since Debian 13 the client is a package of its own, which the older releases do not have: install takes docker.io first
	// and this one only when there still is no client.
	{"docker", "docker.io"},
}

// remedyElsewhere says exactly what to install where sickbay cannot do it.
func remedyElsewhere(os OS, h Host) string {
	sudo := "sudo "
	if h.Root() {
		sudo = ""
	}
	var install string
	switch {
	case os.GOOS == "darwin":
		return "Install an engine with a Linux machine behind it and start it: `brew install colima docker && colima start --cpu 4 --memory 8`, or Docker Desktop."
	case os.GOOS != "linux":
		return "Install Docker and start it: https://docs.docker.com/engine/install/"
	case os.is("debian"), os.is("ubuntu"):
		install = sudo + "apt-get update && " + sudo + "apt-get install -y docker.io iptables"
	case os.is("fedora"):
		install = sudo + "dnf install -y moby-engine iptables"
	case os.is("rhel"), os.is("centos"):
		install = sudo + "dnf install -y podman"
	case os.is("arch"):
		install = sudo + "pacman -S --needed docker iptables"
	case os.is("alpine"):
		install = sudo + "apk add docker iptables"
	case os.is("suse"), os.is("opensuse"):
		install = sudo + "zypper install -y docker iptables"
	default:
		return "Install Docker and start it: https://docs.docker.com/engine/install/ ; rootful podman works as well."
	}
	if h.Root() {
		return "Install one: `" + install + "`, then run this again."
	}
	return "Run this as root (`sudo -E`), or install an engine and let yourself use it: `" + install +
		"`, `sudo usermod -aG docker $USER`, and log in again."
}

// look asks about one engine and remembers the answer.
func (d *Decision) look(ctx context.Context, h Host, provider, host string) bool {
	c := h.Look(ctx, provider, host)
	d.Seen = append(d.Seen, c)
	return c.Usable
}

func (d *Decision) last() *Candidate {
	if len(d.Seen) == 0 {
		return nil
	}
	return &d.Seen[len(d.Seen)-1]
}

func (d Decision) use(why string) Decision {
	e := d.last().Engine
	d.Plan, d.Reason, d.Engine = UseExisting, why, &e
	return d
}

func (d Decision) impossible(why, remedy string) Decision {
	d.Plan, d.Reason, d.Remedy = Impossible, why, remedy
	return d
}
