package collect

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/systemd"
)

// process is a process of a fixture.
func process(files map[string]string, pid, comm, cgroup string, argv ...string) {
	files["/proc/"+pid+"/stat"] = stat(pid, comm, "S", "0", "100")
	files["/proc/"+pid+"/cmdline"] = strings.Join(argv, "\x00") + "\x00"
	files["/proc/"+pid+"/cgroup"] = "0::" + cgroup + "\n"
}

const eksConfig = "current-context: kubelet\nclusters: [{name: kubernetes, cluster: {server: https://ABC.gr7.eu-central-1.eks.amazonaws.com, tls-server-name: kubernetes, certificate-authority: ../pki/none.crt}}]\ncontexts: [{name: kubelet, context: {cluster: kubernetes, user: kubelet}}]\nusers: [{name: kubelet, user: {exec: {command: aws-iam-authenticator}}}]\n"

// The kubelet is told where its kubeconfig is: EKS, AKS and GKE have it below /var/lib/kubelet, RKE2 and k0s elsewhere.
func TestKubeconfigFlag(t *testing.T) {
	files := map[string]string{"/var/lib/kubelet/kubeconfig": eksConfig}
	process(files, "77", "kubelet", "/runtime.slice/kubelet.service", "/usr/bin/kubelet", "--kubeconfig=/var/lib/kubelet/kubeconfig", "--hostname-override", "ip-10-0-0-7.ec2.internal")
	l := at(t, tree(t, files))
	k := read(t, l, l.kubeletConfig, l.kubeconfigs).Kubelet
	if c := k.Kubeconfig; c.Path != "/var/lib/kubelet/kubeconfig" || !c.Exists || c.TLSServerName != "kubernetes" || !strings.Contains(c.Error, "/var/lib/pki/none.crt") {
		t.Errorf("%+v", c)
	}
	if k.PID != 77 || k.Unit != "kubelet" || k.RootDir != "/var/lib/kubelet" {
		t.Errorf("%+v", k)
	}
	if got := nodeNames(&l.obs); !slices.Equal(got, []string{"ip-10-0-0-7.ec2.internal"}) {
		t.Errorf("names %q", got)
	}
}

// --config-dir (EKS AL2023, RKE2): a drop-in wins over the file, in the order of their names, as a JSON merge patch.
func TestKubeletDropIns(t *testing.T) {
	files := map[string]string{
		kubeletConfigFile:               "maxPods: 110\nfailSwapOn: true\nevictionHard: {memory.available: 100Mi, nodefs.available: 10%}\n",
		"/etc/k.d/10-a.conf":            `{"maxPods": 58, "evictionHard": {"nodefs.available": "5%"}}`,
		"/etc/k.d/20-b.conf":            "maxPods: 29\nfailSwapOn: false\nmergeDefaultEvictionSettings: true\n",
		"/etc/k.d/README":               "maxPods: 1",
		"/etc/k.d/more/00-below.conf":   "cgroupDriver: systemd",
		"/etc/k.d/30-not-a-dropin.yaml": "maxPods: 2",
	}
	process(files, "77", "kubelet", "/system.slice/kubelet.service", "kubelet", "--config="+kubeletConfigFile, "--config-dir=/etc/k.d")
	l := at(t, tree(t, files))
	k := read(t, l, l.kubeletConfig).Kubelet
	if c := k.Config; c.MaxPods != 29 || *c.FailSwapOn || c.CgroupDriver != "systemd" || c.EvictionHard["nodefs.available"] != "5%" || c.EvictionHard["imagefs.available"] != "15%" {
		t.Errorf("%+v", c)
	}
	if want := []string{kubeletConfigFile, "/etc/k.d/10-a.conf", "/etc/k.d/20-b.conf", "/etc/k.d/more/00-below.conf"}; !slices.Equal(k.ConfigFiles, want) {
		t.Errorf("read %q", k.ConfigFiles)
	}
}

// A machine that hosts nodes as containers shows their kubelets and runtimes as well, each in a PID namespace of its own.
func TestProcessesOfHostedNodes(t *testing.T) {
	files := map[string]string{}
	process(files, "500", "kubelet", "/docker/0123/kubelet.slice/kubelet.service", "/usr/bin/kubelet", "--hostname-override=hosted")
	process(files, "400", "containerd", "/docker/0123/system.slice/containerd.service", "/usr/local/bin/containerd")
	dir := tree(t, files)
	for link, to := range map[string]string{"self": "pid:[1]", "500": "pid:[2]", "400": "pid:[2]"} {
		ns := filepath.Join(string(dir), "proc", link, "ns")
		if err := os.MkdirAll(ns, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(ns, "pid")); err != nil {
			t.Fatal(err)
		}
	}
	l := at(t, dir)
	if p, _, ok := l.kubeletProcess(); ok {
		t.Errorf("the kubelet of a hosted node is taken for this machine's: %+v", p)
	}
	if o := read(t, l, l.runtimeProcess); o.Runtime.PID != 0 {
		t.Errorf("the runtime of a hosted node is taken for this machine's: %+v", o.Runtime)
	}
}

func TestHealthzURL(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"http://127.0.0.1:10248/healthz": nil,
		"http://localhost:10999/healthz": {kubeletConfigFile: "healthzPort: 10999\nhealthzBindAddress: 0.0.0.0\n"},
		"":                               {kubeletConfigFile: "healthzPort: 0\n"},
	} {
		l := at(t, tree(t, files))
		_ = l.kubeletConfig(t.Context(), newSource("test"))
		if got := l.healthzURL(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A kubelet that exits at each start has no process: its flags are those with which systemd starts it.
func TestFlagsOfAStoppedKubelet(t *testing.T) {
	l := at(t, tree(t, map[string]string{"/var/lib/kubelet/kubeadm-flags.env": "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///run/crio/crio.sock\"\n", "/etc/default/kubelet": "# none\n"}))
	l.obs.Units = map[string]v1alpha1.Unit{"kubelet": {Name: "kubelet"}}
	const show = `Id=kubelet.service
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/b.conf --kubeconfig=/etc/k.conf" KUBELET_CONFIG_ARGS=--config=/etc/c.yaml
EnvironmentFiles=/var/lib/kubelet/kubeadm-flags.env (ignore_errors=yes)
EnvironmentFiles=/etc/default/kubelet (ignore_errors=yes)
ExecStart={ path=/usr/bin/kubelet ; argv[]=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS ; ignore_errors=no ; pid=0 }
`
	l.unitBlocks = map[string]map[string]string{"kubelet": systemd.Units(show)[0]}
	k := read(t, l, l.kubeletConfig).Kubelet
	if want := "/usr/bin/kubelet --bootstrap-kubeconfig=/etc/b.conf --kubeconfig=/etc/k.conf --config=/etc/c.yaml --container-runtime-endpoint=unix:///run/crio/crio.sock"; strings.Join(k.Flags, " ") != want {
		t.Errorf("%q", k.Flags)
	}
	if k.Unit != "kubelet" || k.PID != 0 || l.endpoint() != "unix:///run/crio/crio.sock" {
		t.Errorf("%+v", k)
	}
}

// A kubelet that a distribution's unit starts has its files where that puts them, whether it runs or not.
func TestFlagsOfADistributionsStoppedKubelet(t *testing.T) {
	for unit, want := range map[string][3]string{
		"k3s-agent":  {"/usr/local/bin/k3s agent", "/var/lib/rancher/k3s/agent/kubelet.kubeconfig", "unix:///run/k3s/containerd/containerd.sock"},
		"rke2-agent": {"/usr/local/bin/rke2 agent --data-dir=/data", "/data/agent/kubelet.kubeconfig", "unix:///run/k3s/containerd/containerd.sock"},
		"k0sworker":  {"/usr/local/bin/k0s worker --config=/etc/k0s/k0s.yaml", "/var/lib/k0s/kubelet.conf", "unix:///run/k0s/containerd.sock"},
	} {
		l := at(t, tree(t, nil))
		l.obs.Units = map[string]v1alpha1.Unit{unit: {Name: unit}}
		l.unitBlocks = map[string]map[string]string{unit: {"ExecStart": "{ path=/usr/local/bin/x ; argv[]=" + want[0] + " ; ignore_errors=no ; pid=0 }"}}
		k := read(t, l, l.kubeletConfig).Kubelet
		if got := flagValue(k.Flags, "kubeconfig"); got != want[1] || k.Unit != unit || l.endpoint() != want[2] {
			t.Errorf("%s: %s, endpoint %s, %q", unit, got, l.endpoint(), k.Flags)
		}
	}
}

// Who serves CRI is found by the kubelet's endpoint and the processes, with its configuration and directories.
func TestRuntimes(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		procs func(map[string]string)
		want  func(*v1alpha1.Observation, settings) bool
	}{
		{"CRI-O beside a containerd of Docker's", map[string]string{
			"/etc/crio/crio.conf": "[crio.network]\nplugin_dirs = [\"/usr/libexec/cni\"]\n", "/etc/crio/crio.conf.d/00-default": "[crio]\nroot = \"/data/containers\"\n[crio.runtime]\ndefault_runtime = \"crun\"\ncgroup_manager = \"systemd\"\n[crio.runtime.runtimes.crun]\nruntime_path = \"/usr/bin/crun\"\n",
		}, func(f map[string]string) {
			process(f, "50", "containerd", "/system.slice/containerd.service", "/usr/bin/containerd")
			process(f, "60", "crio", "/system.slice/crio.service", "/usr/bin/crio")
			process(f, "77", "kubelet", "/system.slice/kubelet.service", "kubelet", "--container-runtime-endpoint=/var/run/crio/crio.sock")
			f["/proc/60/environ"] = "PATH=/usr/bin:/sbin\x00HTTPS_PROXY=http://user:geheim@proxy:3128\x00TOKEN=geheim\x00"
		}, func(o *v1alpha1.Observation, s settings) bool {
			r := o.Runtime
			return r.Name == "cri-o" && r.Unit == "crio" && r.PID == 60 && r.RootDir == "/data/containers" && s.root == "/data/containers" && slices.Equal(s.cniBin, []string{"/usr/libexec/cni"}) &&
				slices.Equal(r.ConfigFiles, []string{"/etc/crio/crio.conf", "/etc/crio/crio.conf.d/00-default"}) && r.Environment.HTTPSProxy == "http://proxy:3128" && s.handlers[0].BinaryName == "/usr/bin/crun" &&
				s.handlers[0].SystemdCgroup != nil && *s.handlers[0].SystemdCgroup
		}},
		{"CRI-O with a drop-in that is wrong", map[string]string{"/etc/crio/crio.conf": "[crio]\n", "/etc/crio/crio.conf.d/90-limits.conf": "[crio.runtime\n"}, func(f map[string]string) {
			f["/run/crio/crio.sock"] = ""
		}, func(o *v1alpha1.Observation, s settings) bool {
			return o.Runtime.ConfigFile.Path == "/etc/crio/crio.conf.d/90-limits.conf" && o.Runtime.ConfigFile.Error != ""
		}},
		{"k3s", map[string]string{"/var/lib/rancher/k3s/agent/etc/containerd/config.toml": "version = 3\nimports = [\"conf.d/*.toml\"]\n[plugins.'io.containerd.cri.v1.runtime'.cni]\nconf_dir = \"/var/lib/rancher/k3s/agent/etc/cni/net.d\"\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = \"/var/lib/rancher/k3s/agent/etc/containerd/certs.d\"\n",
			"/var/lib/rancher/k3s/agent/etc/containerd/conf.d/gpu.toml": "[plugins.'io.containerd.cri.v1.runtime'.containerd]\ndefault_runtime_name = \"nvidia\"\n"}, func(f map[string]string) {
			process(f, "40", "k3s-agent", "/system.slice/k3s-agent.service", "/usr/local/bin/k3s", "agent", "--kubelet-arg=max-pods=50")
			process(f, "41", "containerd", "/system.slice/k3s-agent.service", "containerd", "-c", "/var/lib/rancher/k3s/agent/etc/containerd/config.toml", "--root", "/var/lib/rancher/k3s/agent/containerd", "--state", "/run/k3s/containerd")
		}, func(o *v1alpha1.Observation, s settings) bool {
			return o.Kubelet.Unit == "k3s-agent" && o.Runtime.Unit == "k3s-agent" && o.Runtime.Endpoint == "unix:///run/k3s/containerd/containerd.sock" && o.Runtime.RootDir == "/var/lib/rancher/k3s/agent/containerd" &&
				slices.Contains(o.Kubelet.Flags, "--max-pods=50") && s.cniConf == "/var/lib/rancher/k3s/agent/etc/cni/net.d" && s.defaultName == "nvidia" && s.configPath[0] == "/var/lib/rancher/k3s/agent/etc/containerd/certs.d" && len(o.Runtime.ConfigFiles) == 2
		}},
		{"containerd without a configuration file", nil, func(f map[string]string) {
			process(f, "50", "containerd", "/system.slice/containerd.service", "/usr/bin/containerd")
		}, func(o *v1alpha1.Observation, s settings) bool {
			return o.Runtime.ConfigFile.Missing && o.Runtime.ConfigFile.Error == "" && o.Runtime.Unit == "containerd" && s.root == "/var/lib/containerd"
		}},
		{"containerd without CRI", map[string]string{"/etc/containerd/config.toml": "version = 2\nimports = [\"conf.d/*.toml\"]\n", "/etc/containerd/conf.d/docker.toml": "disabled_plugins = [\n  \"cri\",\n]\n"}, func(f map[string]string) {
			process(f, "50", "containerd", "/system.slice/containerd.service", "/usr/bin/containerd")
		}, func(o *v1alpha1.Observation, s settings) bool {
			return slices.Equal(o.Runtime.ConfigFile.DisabledPlugins, []string{"cri"}) && slices.Equal(o.Runtime.ConfigFile.DisabledBy, []string{"/etc/containerd/conf.d/docker.toml"})
		}},
		{"Docker's own containerd", nil, func(f map[string]string) {
			process(f, "50", "containerd", "/system.slice/docker.service", "containerd", "--config", "/var/run/docker/containerd/containerd.toml")
		}, func(o *v1alpha1.Observation, s settings) bool { return o.Runtime.Unit == "" && o.Runtime.PID == 0 }},
		{"nobody", nil, func(map[string]string) {}, func(o *v1alpha1.Observation, s settings) bool {
			return o.Runtime.Unit == "" && o.Runtime.PID == 0 && o.Kubelet.Unit == "" && slices.Contains((&look{}).logUnits(), "crio")
		}},
	} {
		files := map[string]string{"/proc/self/x": ""}
		for p, text := range c.files {
			files[p] = text
		}
		c.procs(files)
		l := newLook(short, tree(t, files), noCommands)
		o := read(t, l, func(ctx context.Context, s *source) error { _ = l.kubeletConfig(ctx, s); return nil }, l.runtimeProcess, l.runtimeFile)
		if !c.want(o, l.settings()) {
			t.Errorf("%s: kubelet %+v\nruntime %+v\nsettings %+v", c.name, o.Kubelet, o.Runtime, l.settings())
		}
	}
}

// On a node that is out of breath the kubelet's configuration comes too late: the runtime is not taken for another one, nor by its
// defaults (a false silent-mismatch, and a CA put where CRI-O does not look).
func TestRuntimeBeforeTheKubeletsConfiguration(t *testing.T) {
	files := map[string]string{"/proc/self/x": "", "/run/crio/crio.sock": "", "/etc/crio/crio.conf": "[crio.runtime]\ncgroup_manager = \"systemd\"\n[crio.runtime.runtimes.runc]\nruntime_path = \"/usr/bin/runc\"\n"}
	process(files, "60", "crio", "/system.slice/crio.service", "/usr/bin/crio")
	l := newLook(short, tree(t, files), noCommands)
	if s := l.settings(); s.name != "cri-o" || s.root != "/var/lib/containers/storage" || len(s.handlers) != 0 {
		t.Errorf("before its process is looked for: %+v", s)
	}
	must(t, l.takeStatus(&cri.StatusResponse{RuntimeHandlers: []*cri.RuntimeHandler{{Name: "runc"}}}))
	o := read(t, l, l.runtimeProcess, l.runtimeFile)
	if r := o.Runtime; r.Name != "cri-o" || r.PID != 60 || r.Endpoint != crioEndpoint || r.Snapshotter != "" {
		t.Errorf("%+v", r)
	}
	l.joinHandlers(o)
	if h := o.Runtime.Handlers; len(h) != 1 || h[0].SystemdCgroup == nil || !*h[0].SystemdCgroup || h[0].BinaryName != "/usr/bin/runc" {
		t.Errorf("a handler that was told before the file was read: %+v", h)
	}
}

// A runtime_type that is a path is its own shim (containerd core/runtime/v2/shim_manager.go).
func TestRuntimeTypeIsAPath(t *testing.T) {
	const shim = "/opt/kwasm/bin/containerd-shim-spin-v2"
	r := tree(t, map[string]string{shim: "ELF"})
	must(t, os.Chmod(r.path(shim), 0o755))
	if got, _ := at(t, r).binaries(v1alpha1.RuntimeHandler{Name: "spin", Type: shim}, nil); got != shim {
		t.Errorf("found %q", got)
	}
}

// systemd answers for a unit that does not exist, with defaults: it is none. One whose file was taken away and that runs is one.
func TestNoSuchUnit(t *testing.T) {
	if units := parseUnits("Id=containerd.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nResult=success\nKillMode=control-group\n", bootTime()); len(units) > 0 {
		t.Errorf("%+v", units)
	}
	if units := parseUnits("Id=crio.service\nLoadState=not-found\nActiveState=active\nMainPID=7\n", bootTime()); len(units) != 1 || units[0].MainPID != 7 {
		t.Errorf("%+v", units)
	}
}
