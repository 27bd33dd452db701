package collect

import (
	"cmp"
	"context"
	"net"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/redact"
	"github.com/sickbay-dev/sickbay/internal/systemd"
)

// Units that hold a kubelet or a runtime, by distribution: kubeadm and the clouds, CRI-O, Docker, k3s, RKE2, k0s, MicroK8s, EKS's
// snap. Which of them does on this node its process tells; where none runs, the first that exists.
var (
	kubeletUnits = []string{"kubelet", "k3s", "k3s-agent", "rke2-server", "rke2-agent", "k0scontroller", "k0sworker", "snap.microk8s.daemon-kubelite", "snap.kubelet-eks.daemon"}
	runtimeUnits = []string{"containerd", "crio", "docker", "cri-docker", "snap.microk8s.daemon-containerd"}
)

// kubeletProgram is a program that is a kubelet or holds one, and the flags of that kubelet which its own command line does not say.
type kubeletProgram struct {
	name  string
	flags func(l *look, argv []string, env map[string]string) []string
}

var kubeletPrograms = []kubeletProgram{
	{"kubelet", nil}, {"k3s-server", k3sFlags}, {"k3s-agent", k3sFlags}, {"kubelite", kubeliteFlags},
}

// ofUnit are the flags that a distribution's unit gives the kubelet that it starts, by the unit's name: for when no kubelet runs.
var ofUnit = map[string]func(l *look, argv []string, env map[string]string) []string{
	"k3s": k3sFlags, "k3s-agent": k3sFlags, "rke2-server": rke2Flags, "rke2-agent": rke2Flags, "k0scontroller": k0sFlags, "k0sworker": k0sFlags,
	"snap.microk8s.daemon-kubelite": kubeliteFlags,
}

// k0sFlags: k0s starts its kubelet as a process (k0s pkg/component/worker/kubelet.go). Its own --config is no kubelet's.
func k0sFlags(_ *look, argv []string, _ map[string]string) []string {
	data, run := cmp.Or(flagValue(argv, "data-dir"), "/var/lib/k0s"), cmp.Or(flagValue(argv, "status-socket"), "/run/k0s/status.sock")
	root := cmp.Or(flagValue(argv, "kubelet-root-dir"), data+"/kubelet")
	return []string{"--root-dir=" + root, "--config=" + data + "/kubelet-config.yaml", "--kubeconfig=" + data + "/kubelet.conf", "--cert-dir=" + root + "/pki",
		"--container-runtime-endpoint=unix://" + path.Dir(run) + "/containerd.sock"}
}

// rke2Flags: RKE2 is k3s with another folder, and its kubelet a process.
func rke2Flags(l *look, argv []string, env map[string]string) []string {
	return k3sFlags(l, append(argv[:len(argv):len(argv)], "--data-dir="+cmp.Or(flagValue(argv, "data-dir"), flagValue(argv, "d"), "/var/lib/rancher/rke2")), env)
}

// k3sFlags: k3s starts its kubelet within itself (k3s pkg/daemons/agent/agent_linux.go).
func k3sFlags(_ *look, argv []string, _ map[string]string) []string {
	data := cmp.Or(flagValue(argv, "data-dir"), flagValue(argv, "d"), "/var/lib/rancher/k3s") + "/agent"
	out := []string{"--kubeconfig=" + data + "/kubelet.kubeconfig", "--config-dir=" + data + "/etc/kubelet.conf.d", "--cert-dir=" + data + "/pki",
		"--container-runtime-endpoint=unix:///run/k3s/containerd/containerd.sock"}
	for i, a := range argv {
		if v, ok := strings.CutPrefix(a, "--kubelet-arg="); ok {
			out = append(out, "--"+v)
		} else if a == "--kubelet-arg" && i+1 < len(argv) {
			out = append(out, "--"+argv[i+1])
		}
	}
	if n := flagValue(argv, "node-name"); n != "" {
		out = append(out, "--hostname-override="+n)
	}
	return out
}

// kubeliteFlags: MicroK8s keeps them in a file, with its own variables in them.
func kubeliteFlags(l *look, argv []string, env map[string]string) []string {
	file := cmp.Or(flagValue(argv, "kubelet-args-file"), "/var/snap/microk8s/current/args/kubelet")
	return expand(strings.Fields(l.root.text(file)), env)
}

// ours tells that a process is one of this node: on a machine that hosts nodes as containers, /proc shows theirs as well, each in a PID
// namespace of its own. Where the kernel does not say it counts.
func (l *look) ours(pid int) bool {
	own, err := l.root.readlink("/proc/self/ns/pid")
	if err != nil {
		return true
	}
	other, err := l.root.readlink(procPath(pid, "ns/pid"))
	return err != nil || own == other
}

// kubeletProcess finds the kubelet's process. There may be several: the node's own is the one that is in no container, or in the fewest.
func (l *look) kubeletProcess() (p procInfo, program kubeletProgram, ok bool) {
	procs, _ := l.procs()
	depth := -1
	for _, c := range procs {
		i := slices.IndexFunc(kubeletPrograms, func(k kubeletProgram) bool { return k.name == c.name })
		if i < 0 || c.kernel || c.state == "Z" || !l.ours(c.pid) {
			continue
		}
		d := strings.Count(containerPath(l.cgroupOf(c.pid)), "/")
		if depth < 0 || d < depth {
			p, program, ok, depth = c, kubeletPrograms[i], true, d
		}
	}
	return p, program, ok
}

// serviceUnits are the units in which processes with a service's name run, whatever the units are called.
func (l *look) serviceUnits() []string {
	procs, _ := l.procs()
	var out []string
	for _, p := range procs {
		if p.kernel || !serviceNames[p.name] || p.name == "containerd-shim" || p.name == "conmon" || !l.ours(p.pid) {
			continue
		}
		if u := unitOf(l.cgroupOf(p.pid)); u != "" && !slices.Contains(out, u) {
			out = append(out, u)
		}
	}
	return out
}

func (l *look) cgroupOf(pid int) cgroupOf { return parseCgroup(l.root.text(procPath(pid, "cgroup"))) }

func (l *look) argv(pid int) []string {
	b, err := l.root.read(procPath(pid, "cmdline"), 64<<10)
	if err != nil || len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
}

// environ is a process's environment. It may hold secrets: only [startedWith] takes anything of it into an observation.
func (l *look) environ(pid int) map[string]string {
	b, err := l.root.read(procPath(pid, "environ"), 256<<10)
	if err != nil {
		return nil
	}
	out := map[string]string{}
	for kv := range strings.SplitSeq(string(b), "\x00") {
		if k, v, ok := strings.Cut(kv, "="); ok {
			out[k] = v
		}
	}
	return out
}

// startedWith is what of an environment decides how a process sees the node.
func startedWith(env map[string]string) v1alpha1.Environment {
	either := func(name string) string { return cmp.Or(env[name], env[strings.ToLower(name)]) }
	return v1alpha1.Environment{
		Path: filepath.SplitList(env["PATH"]), TZ: env["TZ"],
		HTTPProxy: proxyHost(either("HTTP_PROXY")), HTTPSProxy: proxyHost(either("HTTPS_PROXY")), NoProxy: redact.Text(either("NO_PROXY")),
	}
}

// proxyHost is a proxy's address without the credentials that may stand in it.
func proxyHost(v string) string {
	if v == "" {
		return ""
	}
	u, err := url.Parse(v)
	if err != nil || u.Host == "" {
		_, v, _ = strings.Cut("@"+v, "@")
		return v[strings.LastIndex(v, "@")+1:]
	}
	u.User = nil
	return u.String()
}

// expand puts an environment's values into words as systemd does: $NAME alone as words, ${NAME} within one.
func expand(words []string, env map[string]string) []string {
	var out []string
	for _, w := range words {
		if name, ok := strings.CutPrefix(w, "$"); ok && !strings.HasPrefix(name, "{") && !strings.Contains(name, "/") {
			out = append(out, strings.Fields(env[name])...)
			continue
		}
		for k, v := range env {
			w = strings.NewReplacer("${"+k+"}", v, "$"+k+"/", v+"/").Replace(w)
		}
		out = append(out, w)
	}
	return out
}

// unitCommand is the command line with which systemd would start a unit that does not run, from `systemctl show`.
func (l *look) unitCommand(block map[string]string) (argv []string, env map[string]string) {
	env = map[string]string{}
	set := func(kv string) {
		if k, v, ok := strings.Cut(strings.Trim(strings.TrimSpace(kv), `"'`), "="); ok && !strings.HasPrefix(k, "#") {
			env[k] = strings.Trim(v, `"'`)
		}
	}
	for _, kv := range quotedWords(block["Environment"]) {
		set(kv)
	}
	for _, word := range strings.Fields(block["EnvironmentFiles"]) { // /a (ignore_errors=yes) /b …
		if strings.HasPrefix(word, "/") {
			for line := range strings.Lines(l.root.text(word)) {
				set(line)
			}
		}
	}
	return expand(strings.Fields(systemd.Argv(block["ExecStart"])), env), env
}

// quotedWords splits at blanks outside of double quotes.
func quotedWords(s string) []string {
	quoted := false
	return strings.FieldsFunc(s, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	})
}

// runtimePrograms are the programs that serve CRI, the name by which CRI's Version calls each, and the endpoint that is usually its.
var runtimePrograms = []runtimeProgram{
	{"containerd", "containerd", "containerd"}, {"crio", "cri-o", "crio"}, {"cri-dockerd", "docker", "cri-dockerd"},
}

type runtimeProgram struct{ comm, name, endpoint string }

// usualProgram is who usually serves at an endpoint.
func usualProgram(endpoint string) runtimeProgram {
	if i := slices.IndexFunc(runtimePrograms, func(r runtimeProgram) bool { return strings.Contains(endpoint, r.endpoint) }); i >= 0 {
		return runtimePrograms[i]
	}
	return runtimePrograms[0]
}

// runtimeProcess finds out who serves CRI at the kubelet's endpoint: the process that listens there, else one that usually does.
func (l *look) runtimeProcess(_ context.Context, s *source) error {
	endpoint := l.endpoint()
	if err := s.at(l, "asking who listens on", strings.TrimPrefix(endpoint, "unix://")); err != nil {
		return err
	}
	procs, err := l.procs()
	if err != nil {
		return err
	}
	rt := l.whoServes(endpoint, procs)
	set := settingsOf(rt.Name)
	set.name = rt.Name
	if rt.PID != 0 {
		argv, env := l.argv(rt.PID), l.environ(rt.PID)
		rt.Unit, rt.Environment = unitOf(l.cgroupOf(rt.PID)), startedWith(env)
		if exe, err := l.root.readlink(procPath(rt.PID, "exe")); err == nil {
			rt.Exe = strings.TrimSuffix(exe, " (deleted)")
		}
		set.argv = argv
		set.takeFlags()
		set.path = rt.Environment.Path
		if rt.Exe != "" {
			set.path = append(slices.Clone(set.path), path.Dir(rt.Exe))
		}
	}
	rt.CLI = l.runtimeCLI(s, rt, set)
	l.setSettings(set, false)
	l.put(func(o *v1alpha1.Observation) {
		r := &o.Runtime
		r.Endpoint, r.PID, r.Unit, r.Exe, r.Environment, r.CLI = rt.Endpoint, rt.PID, rt.Unit, rt.Exe, rt.Environment, rt.CLI
		setIfEmpty(&r.Name, rt.Name)
		setIfEmpty(&r.RootDir, set.root)
		setIfEmpty(&r.StateDir, set.state)
	})
	return nil
}

// whoServes is the runtime among the processes: the listener, else the one of the usual name that is the least deep in cgroups.
func (l *look) whoServes(endpoint string, procs []procInfo) v1alpha1.Runtime {
	usual := usualProgram(endpoint)
	listener := 0
	if l.real() {
		listener = listenerOf(strings.TrimPrefix(endpoint, "unix://"))
	}
	rt := v1alpha1.Runtime{Endpoint: endpoint, Name: usual.name}
	depth := 0
	for _, p := range procs {
		i := slices.IndexFunc(runtimePrograms, func(r runtimeProgram) bool { return r.comm == p.name })
		if p.kernel || i < 0 && p.pid != listener || p.pid != listener && !l.ours(p.pid) {
			continue
		}
		d := strings.Count(containerPath(l.cgroupOf(p.pid)), "/")
		switch {
		case p.pid == listener && p.pid != 1: // systemd itself listens for what it starts at the first call
			d = -1
		case p.name != usual.comm || p.state == "Z" || servesOthers(l.argv(p.pid), endpoint):
			continue
		}
		if rt.PID == 0 || d < depth {
			rt.PID, depth = p.pid, d
			if i >= 0 {
				rt.Name = runtimePrograms[i].name
			}
		}
	}
	return rt
}

// servesOthers tells a containerd that is told to listen elsewhere: dockerd starts one of its own, and k3s does.
func servesOthers(argv []string, endpoint string) bool {
	address := cmp.Or(flagValue(argv, "address"), flagValue(argv, "a"))
	config := cmp.Or(flagValue(argv, "config"), flagValue(argv, "c"))
	return address != "" && !strings.HasSuffix(endpoint, strings.TrimPrefix(address, "/var")) || strings.Contains(config, "/docker/")
}

// runtimeCLI is the command that talks CRI to this runtime: crictl where the node's or the runtime's PATH has it, or the one that k3s
// has within itself.
func (l *look) runtimeCLI(s *source, rt v1alpha1.Runtime, set settings) []string {
	crictl, _ := l.find(s, "crictl", append(slices.Clone(set.path), searchPath...))
	cli := []string{crictl}
	if crictl == "" {
		k3s, _ := l.find(s, "k3s", searchPath)
		if k3s == "" {
			return nil
		}
		cli = []string{k3s, "crictl"}
	}
	return append(cli, "--runtime-endpoint", rt.Endpoint)
}

// real tells that this is a node and no fixture: sockets and commands are those of the machine that the look runs on.
func (l *look) real() bool { return l.root == "/" || l.root == "" }

// listenerOf is the process that listens on a Unix socket, 0 when nobody does. The kernel notes it when listen is called, so a process
// that is stopped is told as well.
func listenerOf(socket string) (pid int) {
	c, err := (&net.Dialer{Timeout: 100 * time.Millisecond}).Dial("unix", socket)
	if err != nil {
		return 0
	}
	defer func() { _ = c.Close() }()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}

// logUnits are the units whose journal is read: those of the kubelet and the runtime, and where a process is not there to tell its
// unit, all that may hold one.
func (l *look) logUnits() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var units []string
	for _, u := range []string{l.obs.Kubelet.Unit, l.obs.Runtime.Unit} {
		if u != "" && !slices.Contains(units, u) {
			units = append(units, u)
		}
	}
	if l.obs.Kubelet.Unit == "" {
		units = append(units, kubeletUnits...)
	}
	if l.obs.Runtime.Unit == "" || l.obs.Runtime.Name == "docker" {
		units = append(units, runtimeUnits...)
	}
	return slices.Compact(units)
}

// nodeNames are the names by which the cluster may know this node, the most certain first: the kubelet's flag, the subject of its
// certificate, the host's name.
func nodeNames(o *v1alpha1.Observation) []string {
	names := []string{flagValue(o.Kubelet.Flags, "hostname-override")}
	for _, c := range o.Certs {
		if _, name, ok := strings.Cut(c.Subject, "system:node:"); ok {
			name, _, _ = strings.Cut(name, ",")
			names = append(names, name)
		}
	}
	var out []string
	for _, n := range append(names, strings.ToLower(o.Host.Hostname)) {
		if n != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// boolFlag is a flag's value where it was given.
func boolFlag(argv []string, name string) *bool {
	v, err := strconv.ParseBool(flagValue(argv, name))
	if err != nil {
		return nil
	}
	return &v
}
