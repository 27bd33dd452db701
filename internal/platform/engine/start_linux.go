package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/internal/atomicfile"
	"github.com/sickbay-dev/sickbay/internal/command"
	"github.com/sickbay-dev/sickbay/internal/platform/apt"
	"github.com/sickbay-dev/sickbay/internal/progress"
)

// startPoll is how often a starting daemon is asked whether it answers: containerd takes 0.2 s, dockerd 0.8 s.
const startPoll = 25 * time.Millisecond

// start brings up containerd and dockerd, under the lock. When it fails it takes everything back.
func start(ctx context.Context, opts Options) (e *Engine, err error) {
	task := progress.From(ctx).Start("start a container engine of sickbay's own", opts.Timeouts.Start)
	task.Expect(2 * time.Second)
	defer func() { task.End(err) }()
	ctx, cancel := context.WithTimeout(ctx, opts.Timeouts.Start)
	defer cancel()

	for _, dir := range []string{opts.StateDir, opts.RunDir} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, fmt.Errorf("make the engine's directories: %w", err)
		}
	}
	if err := endStale(ctx, opts); err != nil {
		return nil, err
	}
	if err := placeRuntime(ctx, opts); err != nil {
		return nil, fmt.Errorf("place the OCI runtime that the engine starts containers with: %w", err)
	}
	before, err := rememberHost(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*opts.Timeouts.Stop)
		defer cancel()
		if undo := stop(ctx, opts, task); undo != nil {
			err = fmt.Errorf("%w (and taking it back failed: %w)", err, undo)
		}
	}()
	if err := roomForNodes(); err != nil {
		return nil, err
	}
	m := thisMachine(opts)
	if slices.Contains(before.Links, "docker0") {
		m.Bridge = ownBridgeName
		if err := addBridge(ownBridgeName); err != nil {
			return nil, err
		}
	}
	config, err := dockerdJSON(opts, m)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(atomicfile.Write(opts.dockerdConfig(), config, 0o644),
		atomicfile.Write(opts.containerdConfig(), []byte(containerdTOML(opts)), 0o644)); err != nil {
		return nil, fmt.Errorf("configure the engine: %w", err)
	}
	if err := holdContainers(opts); err != nil {
		return nil, err
	}
	boundLog(opts)

	task.Detail("containerd")
	dial := func(ctx context.Context) error {
		var d net.Dialer
		c, err := d.DialContext(ctx, "unix", opts.containerdSocket())
		if err == nil {
			err = c.Close()
		}
		return err
	}
	if err := daemon(ctx, opts, dial, "containerd", "--config", opts.containerdConfig()); err != nil {
		return nil, err
	}
	task.Detail("dockerd")
	var version struct{ Version string }
	answer := func(ctx context.Context) error { return socketAPI(opts.socket()).get(ctx, "/version", &version) }
	if err := daemon(ctx, opts, answer, "dockerd", "--config-file", opts.dockerdConfig()); err != nil {
		return nil, err
	}
	if _, here := otherDaemons(opts); len(here) > 0 {
		if err := giveBackRules(ctx, before); err != nil {
			return nil, err
		}
	}
	return private(ctx, opts)
}

// inotifyInstances is enough for forty nodes: systemd, containerd and the kubelet of one take up to 25 between them. Linux's own
// 128 is used up by nine, and the kubelet of the next exits with "inotify_init: too many open files".
const inotifyInstances = "1024"

// roomForNodes raises the kernel's limit of inotify instances per user, which all nodes share; stop gives it back.
func roomForNodes() error {
	const file = "/proc/sys/fs/inotify/max_user_instances"
	now, err := os.ReadFile(file)
	if err != nil {
		return nil // not there in some sandboxes, and then nothing to raise
	}
	have, err := strconv.Atoi(strings.TrimSpace(string(now)))
	want, _ := strconv.Atoi(inotifyInstances)
	if err != nil || have >= want {
		return nil
	}
	if err := os.WriteFile(file, []byte(inotifyInstances), 0o644); err != nil {
		return fmt.Errorf("raise fs.inotify.max_user_instances, which all nodes share, from %d to %s: %w", have, inotifyInstances, err)
	}
	return nil
}

// daemon starts a program in a session of its own, so that it outlives this process, and waits until it is ready.
func daemon(ctx context.Context, opts Options, ready func(context.Context) error, program string, args ...string) error {
	path := apt.Find(program)
	if path == "" {
		return fmt.Errorf("%s is not installed", program)
	}
	log, err := os.OpenFile(opts.log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open the engine's log: %w", err)
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return fmt.Errorf("open the engine's log: %w", err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = "/"
	cmd.Env = daemonEnv(os.Environ())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ticker := time.NewTicker(startPoll)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			return &command.Error{Command: strings.Join(cmd.Args, " "), Output: lastLog(opts, info.Size(), 8), Err: fmt.Errorf("ended while starting: %w", orExit(err))}
		case <-ctx.Done():
			return &command.Error{Command: strings.Join(cmd.Args, " "), Output: lastLog(opts, info.Size(), 8), Err: fmt.Errorf("does not answer: %w", context.Cause(ctx))}
		case <-ticker.C:
			if ready(ctx) == nil {
				return nil
			}
		}
	}
}

func orExit(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// daemonEnv is the environment of the daemons: the caller's (proxies matter for pulls) without what speaks to clients or to the
// caller's own supervisor, and with every directory that packages put iptables, runc and their like into.
func daemonEnv(env []string) []string {
	out := slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return name == "PATH" || name == "DOCKER_HOST" || name == "NOTIFY_SOCKET" || slices.Contains(overridden, name) ||
			strings.HasPrefix(name, "LISTEN_") || strings.HasPrefix(name, "OTEL_")
	})
	return append(out, "PATH="+strings.Join(apt.Path(), ":"))
}

// endStale removes daemons of ours that run and do not answer.
func endStale(ctx context.Context, opts Options) error {
	own := ownProcesses(opts)
	if len(own) == 0 {
		_ = os.Remove(opts.dockerdPID()) // dockerd refuses to start when another process has the number now
		return nil
	}
	return endDaemons(ctx, opts)
}

func endDaemons(ctx context.Context, opts Options) error {
	var errs []error
	for _, role := range []string{roleDockerd, roleContainerd, roleShim} {
		for _, p := range ownProcesses(opts) {
			if p.Role == role {
				errs = append(errs, p.End(ctx, role != roleShim, opts.Timeouts.Stop))
			}
		}
	}
	for _, file := range []string{opts.dockerdPID(), opts.socket(), opts.containerdSocket(), opts.containerdSocket() + ".ttrpc"} {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// placeRuntime copies the OCI runtime to where the engine finds it also when the program that started it is gone.
func placeRuntime(ctx context.Context, opts Options) error {
	helper, cleanup, err := helperBinary(ctx, "", false)
	if err != nil {
		return err
	}
	defer cleanup()
	want, err := os.ReadFile(helper)
	if err != nil {
		return err
	}
	if have, err := os.ReadFile(opts.runtime()); err == nil && bytes.Equal(have, want) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(opts.runtime()), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(opts.runtime(), want, 0o755)
}

// thisMachine looks at what the configuration depends on.
func thisMachine(opts Options) machine {
	m := machine{Bridge: "none", MaxFiles: 1 << 20, OverlayOnRoot: true}
	var cgroups, state unix.Statfs_t
	if unix.Statfs("/sys/fs/cgroup", &cgroups) == nil && cgroups.Type == unix.CGROUP2_SUPER_MAGIC {
		_, err := os.Stat("/run/systemd/system")
		m.SystemdCgroups = err == nil
	}
	if unix.Statfs(opts.StateDir, &state) == nil {
		m.OverlayOnRoot = state.Type != unix.OVERLAYFS_SUPER_MAGIC
	}
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil {
		m.MaxFiles = files.Max
	}
	return m
}

// holdContainers keeps the containers of an engine that died from coming back by their restart policy (kind's nodes have one)
// when it is started again: the rules that isolate them are not in place then.
func holdContainers(opts Options) error {
	paths, _ := filepath.Glob(filepath.Join(opts.dataRoot(), "containers", "*", "hostconfig.json"))
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("keep a container from restarting: %w", err)
		}
		var config map[string]json.RawMessage
		if json.Unmarshal(data, &config) != nil {
			continue // the engine does not load it either
		}
		config["RestartPolicy"] = json.RawMessage(`{"Name":"no","MaximumRetryCount":0}`)
		if data, err = json.Marshal(config); err == nil {
			err = atomicfile.Write(path, data, 0o600)
		}
		if err != nil {
			return fmt.Errorf("keep a container from restarting: %w", err)
		}
	}
	return nil
}

// giveBackRules restores what another docker lost when ours started: see restoreLost.
func giveBackRules(ctx context.Context, before hostState) error {
	for _, family := range []struct{ command, before string }{{"iptables", before.IPTables}, {"ip6tables", before.IP6Tables}} {
		now, err := saveRules(ctx, family.command+"-save")
		if err != nil {
			return err
		}
		if input := restoreLost(parseRules(family.before), parseRules(now)); input != "" {
			if err := applyRules(ctx, family.command, input); err != nil {
				return fmt.Errorf("give the other docker its rules back: %w", err)
			}
		}
	}
	return nil
}
