package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/command"
	"github.com/sickbay-dev/sickbay/internal/platform/apt"
	"github.com/sickbay-dev/sickbay/internal/platform/engine/oci"
	"github.com/sickbay-dev/sickbay/internal/process"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// system is the real Host.
type system struct{ opts Options }

func (system) OS() OS {
	o := OS{GOOS: runtime.GOOS, Name: runtime.GOOS}
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if data, err := os.ReadFile(path); err == nil {
			return parseOSRelease(o, string(data))
		}
	}
	return o
}

func parseOSRelease(o OS, text string) OS {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "ID":
			o.ID = value
		case "ID_LIKE":
			o.IDLike = strings.Fields(value)
		case "PRETTY_NAME":
			o.Name = value
		}
	}
	return o
}

func (system) Root() bool                { return os.Geteuid() == 0 }
func (system) Getenv(name string) string { return os.Getenv(name) }
func (system) Has(program string) bool   { return apt.Find(program) != "" }

func (s system) Private(ctx context.Context) *Engine {
	e, _ := private(ctx, s.opts)
	return e
}

func (s system) Look(ctx context.Context, provider, host string) Candidate {
	c := Candidate{Engine: Engine{Provider: provider, Host: host, CLI: apt.Find(provider)}}
	arch, err := s.ask(ctx, &c.Engine)
	if far := (*elsewhereError)(nil); errors.As(err, &far) {
		c.Engine.Elsewhere, c.Problem = true, far.Error()
		return c
	}
	if err != nil {
		c.Problem = said(err)
		return c
	}
	report, err := s.probe(ctx, &c.Engine, arch)
	var noHelper *noHelperError
	switch {
	case errors.As(err, &noHelper):
		c.Usable, c.Unproven = true, noHelper.Error()
	case err != nil:
		c.Problem = "a privileged container does not run: " + said(err)
	default:
		c.Usable, c.Problem = report.Privileged()
		here := process.Boot()
		c.Engine.Elsewhere = here == "" || report.Boot != here
	}
	// Where this machine has no kernel for containers, a local engine has one in a virtual machine here.
	if c.Usable && c.Engine.Elsewhere && runtime.GOOS == "linux" && !elsewhereAllowed() {
		c.Usable, c.Problem = false, (&elsewhereError{"the kernel of its containers is not this machine's (another boot id: a virtual machine, or another machine behind a forwarded socket)"}).Error()
	}
	return c
}

// ElsewhereEnv allows an engine whose kernel is not this machine's.
const ElsewhereEnv = "SICKBAY_ENGINE_ELSEWHERE"

func elsewhereAllowed() bool { return os.Getenv(ElsewhereEnv) == "1" }

// elsewhereError is an engine of another machine. Privileged containers would run there, with swap, loop devices, sysctls and packet
// filter rules of its kernel, while what is left behind is looked for here.
type elsewhereError struct{ why string }

func (e *elsewhereError) Error() string {
	return e.why + "; if faults may be injected there, set " + ElsewhereEnv + "=1"
}

// isHere refuses an address that leads to another machine, before anything is run at it.
func isHere(address string) error {
	scheme, _, ok := strings.Cut(address, "://")
	if !ok || scheme == "unix" || scheme == "npipe" || scheme == "fd" || elsewhereAllowed() {
		return nil
	}
	return &elsewhereError{"it is at " + address + ", which may be another machine, and nothing was run there"}
}

// ask fills in versions and the address, and returns the architecture of the engine's machine.
func (s system) ask(ctx context.Context, e *Engine) (arch string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeouts.Look)
	defer cancel()
	if e.CLI == "" {
		return "", fmt.Errorf("there is no %s client in PATH", e.Provider)
	}
	if e.Provider == Podman {
		return askPodman(ctx, e)
	}
	return askDocker(ctx, e)
}

func askDocker(ctx context.Context, e *Engine) (string, error) {
	address := e.Host
	if address == "" {
		// Testcontainers does not know every kind of docker context (colima, Docker Desktop), DOCKER_HOST it does.
		out, err := e.output(ctx, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
		if address = strings.TrimSpace(out); err == nil && strings.HasPrefix(address, "unix://") && address != "unix:///var/run/docker.sock" {
			e.Host = address
		}
	}
	if err := isHere(address); err != nil {
		return "", err
	}
	out, err := e.output(ctx, "version", "--format", "{{json .}}")
	if err != nil {
		return "", err
	}
	var version struct {
		Server struct{ Version, APIVersion, Arch, Os string }
	}
	if err := json.Unmarshal([]byte(out), &version); err != nil || version.Server.Version == "" {
		return "", fmt.Errorf("docker version does not look like docker's: %s", text.Tail(out, 1))
	}
	if version.Server.Os != "linux" {
		return "", fmt.Errorf("it runs %s containers, and nodes are Linux", version.Server.Os)
	}
	e.Version, e.APIVersion = version.Server.Version, version.Server.APIVersion
	out, err = e.output(ctx, "info", "--format", "{{json .Labels}}")
	if err != nil {
		return "", err
	}
	e.Private = strings.Contains(out, `"`+privateLabel+`"`)
	return version.Server.Arch, nil
}

func askPodman(ctx context.Context, e *Engine) (string, error) {
	out, err := e.output(ctx, "info", "--format", "json")
	if err != nil {
		return "", err
	}
	var info struct {
		Host struct {
			Arch            string
			ServiceIsRemote bool
			Security        struct{ Rootless bool }
			RemoteSocket    struct {
				Path   string
				Exists bool
			}
		}
		Version struct{ Version, APIVersion string }
	}
	if err := json.Unmarshal([]byte(out), &info); err != nil {
		return "", fmt.Errorf("podman info does not look like podman's: %w", err)
	}
	if info.Host.ServiceIsRemote && runtime.GOOS == "linux" && !elsewhereAllowed() {
		return "", &elsewhereError{"podman's connection leads to another machine"}
	}
	if info.Host.Security.Rootless {
		return "", errors.New(oci.Rootless + "; run sickbay as root, whose podman is another engine: `sudo -E env KIND_EXPERIMENTAL_PROVIDER=podman sickbay ...`")
	}
	e.Version, e.APIVersion = info.Version.Version, info.Version.APIVersion
	if socket := info.Host.RemoteSocket; socket.Exists && socket.Path != "" {
		e.Host = "unix://" + strings.TrimPrefix(socket.Path, "unix://") // for testcontainers
	}
	return info.Host.Arch, nil
}

// probe runs a privileged container from an image of one file and asks it what it was granted. Nothing else tells: a daemon's
// own view of its security options knows neither the capabilities of the machine nor what a sandbox around it forbids.
func (s system) probe(ctx context.Context, e *Engine, arch string) (report oci.Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeouts.Probe)
	defer cancel()
	helper, cleanup, err := helperBinary(ctx, arch, true)
	if err != nil {
		return report, &noHelperError{err}
	}
	defer cleanup()
	archive, err := tarOf(helper)
	if err != nil {
		return report, &noHelperError{err}
	}

	name := "sickbay-probe-" + strings.ToLower(rand.Text()[:8])
	defer func() {
		// Also after Ctrl-C: what was created goes away again.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Timeouts.Look)
		defer cancel()
		_, _ = e.output(ctx, "rm", "-f", name)
		_, _ = e.output(ctx, "rmi", "-f", name)
	}()
	load := e.Command(ctx, "import", "--change", `ENTRYPOINT ["/`+oci.Name+`","probe"]`, "--change", "LABEL "+LabelPrefix+"probe=true", "-", name)
	load.Stdin = bytes.NewReader(archive)
	if _, err := command.Output(load); err != nil {
		return report, err
	}
	out, err := e.output(ctx, "run", "--name", name, "--label", LabelPrefix+"probe=true", "--privileged", "--network", "none", name)
	if err != nil {
		return report, err
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		return report, fmt.Errorf("the probe answered %q: %w", text.Tail(out, 1), err)
	}
	return report, nil
}

// tarOf is an image: one program.
func tarOf(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	header := &tar.Header{Name: oci.Name, Mode: 0o755, Size: int64(len(data)), ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg}
	if err := w.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := io.Copy(w, bytes.NewReader(data)); err != nil {
		return nil, err
	}
	return b.Bytes(), w.Close()
}

// private asks the engine that sickbay starts, over its socket and without a client: this happens at the start of every command
// and takes a millisecond. It returns nil and the reason when it does not answer.
func private(ctx context.Context, opts Options) (*Engine, error) {
	ctx, cancel := context.WithTimeout(ctx, opts.Timeouts.Look)
	defer cancel()
	api := socketAPI(opts.socket())
	var version struct{ Version, APIVersion string }
	if err := api.get(ctx, "/version", &version); err != nil {
		return nil, err
	}
	var info struct{ Labels []string }
	if err := api.get(ctx, "/info", &info); err != nil {
		return nil, err
	}
	if !slices.Contains(info.Labels, privateLabel) {
		return nil, fmt.Errorf("the engine at %s does not carry the label %s", opts.socket(), privateLabel)
	}
	e := &Engine{Provider: Docker, Host: opts.host(), Private: true, Version: version.Version, APIVersion: version.APIVersion}
	if err := e.chooseCLI(ctx, opts); err != nil {
		return nil, err
	}
	return e, nil
}

// chooseCLI takes the first client that can talk to the private engine. A client much newer than Debian's engine refuses its
// API (Docker 29 speaks nothing below 1.44, and Debian 12's engine nothing above 1.41), and kind runs whatever `docker` comes
// first in PATH: then a directory with only the right client goes in front of it.
func (e *Engine) chooseCLI(ctx context.Context, opts Options) error {
	var first string
	var errs []error
	for _, path := range clients() {
		if first == "" {
			first = path
		}
		if err := e.clientWorks(ctx, opts, path); err != nil {
			errs = append(errs, err)
			continue
		}
		e.CLI = path
		if path != first {
			e.cliDir = opts.cliDir()
			return linkCLI(opts.cliDir(), path)
		}
		return nil
	}
	if len(errs) == 0 {
		return errors.New("there is no docker client in PATH")
	}
	return fmt.Errorf("no docker client here can talk to %s (API %s): %w", opts.socket(), e.APIVersion, errors.Join(errs...))
}

// clients lists every docker client, in the order of PATH.
func clients() []string {
	var out []string
	for _, dir := range apt.Path() {
		path := filepath.Join(dir, Docker)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 && !slices.Contains(out, path) {
			out = append(out, path)
		}
	}
	return out
}

// clientWorks tries a client once and remembers that it worked as long as neither it nor the engine changes: a process costs
// 15 to 60 ms, and this is asked by every command.
func (e *Engine) clientWorks(ctx context.Context, opts Options, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	stamp := fmt.Sprintf("%s %d %s %s", path, info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano), e.Version)
	memory := filepath.Join(opts.RunDir, "client")
	if known, err := os.ReadFile(memory); err == nil && string(known) == stamp {
		return nil
	}
	candidate := *e
	candidate.CLI = path
	if _, err := candidate.output(ctx, "version", "--format", "{{.Server.Version}}"); err != nil {
		return err
	}
	_ = os.WriteFile(memory, []byte(stamp), 0o644) // only saves time
	return nil
}

func linkCLI(dir, cli string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	link := filepath.Join(dir, Docker)
	if at, err := os.Readlink(link); err == nil && at == cli {
		return nil
	}
	_ = os.Remove(link)
	return os.Symlink(cli, link)
}
