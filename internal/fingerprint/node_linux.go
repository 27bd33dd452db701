package fingerprint

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// nodeFiles are the paths that a fault of the vocabulary may touch, as far as they are not a pod's own.
var nodeFiles = []string{
	"/etc", "/opt/cni", "/kind", "/usr/local", "/usr/bin/containerd", "/usr/bin/runc", "/usr/sbin/runc", "/usr/bin/conmon", "/usr/bin/kubelet",
	"/run/systemd/system", "/run/systemd/transient", "/var/spool/cron",
	"/var/lib/kubelet/config.yaml", "/var/lib/kubelet/kubeadm-flags.env", "/var/lib/kubelet/pki", "/var/lib/kubelet/seccomp",
	"/var/lib/kubelet/config.json", "/var/lib/kubelet/instance-config.yaml", "/var/lib/kubelet/plugins", "/var/lib/kubelet/plugins_registry",
	"/var/lib/sickbay",
}

// lasting is what stays of sickbay's on a node on purpose: agents, so that they are copied once, the lock, and the mark of a cluster
// that is up.
var lasting = regexp.MustCompile(`^/var/lib/sickbay/(lock|cluster-up|agent-[0-9a-f]{12})$`)

// volatileFile leaves out what a healthy node rewrites by itself.
func volatileFile(p string) bool {
	return p == "/etc/mtab" || p == "/etc/machine-id" /* kind makes one at every start of the container */ || lasting.MatchString(p) || p == "/etc/resolv.conf" || p == "/etc/hosts" || p == "/etc/hostname" ||
		hasAnyPrefix(p, "/kind/images", "/run/systemd/transient/run-", "/run/systemd/transient/cri-containerd-", "/run/systemd/transient/crio-", "/run/systemd/transient/kubepods", "/run/systemd/transient/session-") ||
		strings.HasSuffix(p, ".scope") || strings.HasSuffix(p, ".scope.d") || strings.HasSuffix(p, ".slice") || strings.HasSuffix(p, ".slice.d") && strings.Contains(p, "kubepods") ||
		strings.Contains(p, "/run/systemd/transient/") && strings.Contains(p, "kubepods")
}

// volatileMount leaves out what comes and goes with pods.
func volatileMount(m *mountinfo.Info) bool {
	return hasAnyPrefix(m.Mountpoint, "/var/lib/kubelet/pods/", "/run/containerd/", "/run/containers/", "/var/lib/containers/storage/overlay", "/run/netns/", "/var/run/netns/", "/run/ipcns/", "/run/utsns/", "/proc", "/sys/fs/cgroup",
		"/run/credentials", "/run/user", "/dev/", "/var/lib/kubelet/plugins/kubernetes.io/csi")
}

// nodeRules are chains that change with pods and services.
var nodeRules = regexp.MustCompile(`CNI-|cni|kube-proxy|KIND-MASQ|SICKBAY-MASQ|DOCKER_OUTPUT|DOCKER_POSTROUTING|flannel|ip6? (nat|filter|mangle)$`)

func nodeRule(rule string) bool {
	return strings.Contains(rule, "KUBE-") || nodeRules.MatchString(rule)
}

// Node takes the fingerprint of the node it runs on. criEndpoint is the runtime's socket, such as /run/containerd/containerd.sock.
func Node(ctx context.Context, name, criEndpoint string) *Fingerprint {
	f := New(name, time.Now())
	addFiles(f, volatileFile, nodeFiles...)
	addMounts(f, volatileMount)
	addUnits(ctx, f)
	addServiceProcesses(f)
	addServiceCgroups(f)
	addRules(ctx, f, nodeRule)
	addRoutes(f, func(dev string) bool { return hasAnyPrefix(dev, "veth", "cni", "lxc", "cali", "kube-ipvs") })
	addSysctls(f, "net.ipv4.ip_forward", "net.ipv4.conf.all.*", "net.bridge.*", "vm.overcommit_memory", "vm.panic_on_oom", "vm.swappiness", "kernel.panic*", "fs.inotify.*")
	addImages(ctx, f, criEndpoint)
	return f
}

// transientUnit are units that come and go with pods, mounts and logins.
var transientUnit = regexp.MustCompile(`^(run-|cri-containerd-|crio-|session-|user|systemd-(tmpfiles-clean|hostnamed|timedated|localed)|e2scrub|fstrim|apt-|dpkg-|logrotate|phpsession)`)

func addUnits(ctx context.Context, f *Fingerprint) {
	out, err := exec.CommandContext(ctx, "systemctl", "list-units", "--all", "--type=service,timer,socket,path", "--no-legend", "--plain", "--no-pager").Output()
	if err != nil {
		f.Fail(Units, fmt.Errorf("systemctl list-units: %w", err))
		return
	}
	for _, line := range strings.Split(string(out), "\n") {
		w := strings.Fields(line)
		if len(w) < 4 || transientUnit.MatchString(w[0]) {
			continue
		}
		state := w[2]
		if state == "activating" || state == "reloading" {
			state = "active" // a unit with Restart=always between two starts; its health is a detector's matter
		}
		f.Set(Units, w[0], w[1]+" "+state)
	}
	out, err = exec.CommandContext(ctx, "systemctl", "list-unit-files", "--no-legend", "--plain", "--no-pager", "kubelet.service", "containerd.service", "crio.service").Output()
	if err != nil {
		return // exit 1 means no such files; the units above say so already
	}
	for _, line := range strings.Split(string(out), "\n") {
		if w := strings.Fields(line); len(w) >= 2 {
			f.Set(Units, w[0]+" file", w[1])
		}
	}
}

// ourVerb are agent calls that are under way whenever somebody looks, and the script by which another process puts its agent here.
var ourVerb = regexp.MustCompile(`\.sickbay-\$\$|\x00(observe|fingerprint|status|renew|check|collect-[a-z]+)(\x00|$)`)

// addServiceProcesses tells which executables run below systemd services, which of those are stopped, and processes of sickbay.
func addServiceProcesses(f *Fingerprint) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		f.Fail(Processes, err)
		return
	}
	self := os.Getpid()
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == self || pid == os.Getppid() {
			continue
		}
		dir := "/proc/" + e.Name()
		cg, err := os.ReadFile(dir + "/cgroup")
		if err != nil {
			continue // ended meanwhile
		}
		cmd, _ := os.ReadFile(dir + "/cmdline")
		if strings.Contains(string(cmd), "/var/lib/sickbay/") {
			if !ourVerb.Match(cmd) {
				f.Set(Processes, "sickbay "+strings.ReplaceAll(strings.TrimRight(string(cmd), "\x00"), "\x00", " "), "running")
			}
			continue
		}
		service := serviceOf(string(cg))
		if service == "" || transientUnit.MatchString(service) {
			continue
		}
		comm, _ := os.ReadFile(dir + "/comm")
		name := strings.TrimSpace(string(comm))
		if comesAndGoes(name) {
			continue
		}
		state := "running"
		if st, err := os.ReadFile(dir + "/stat"); err == nil {
			if i := strings.LastIndexByte(string(st), ')'); i > 0 && i+2 < len(st) && (st[i+2] == 'T' || st[i+2] == 't') {
				state = "stopped"
			}
		}
		f.Set(Processes, service+" "+name, state)
	}
}

// comesAndGoes reports whether the name is of a short-lived child of kubelet or containerd.
func comesAndGoes(name string) bool {
	// A number is runc as it starts a container: it executes itself by the number of an open file.
	return hasAnyPrefix(name, "containerd-shim", "conmon", "runc", "sh", "iptables", "ip6tables", "mount", "umount", "nsenter", "(") ||
		serviceHelper[name] || strings.Trim(name, "0123456789") == ""
}

// serviceHelper are programs the kubelet and containerd start for a moment.
var serviceHelper = map[string]bool{"du": true, "find": true, "nice": true, "ionice": true, "ptp": true, "host-local": true, "portmap": true, "loopback": true, "bridge": true, "pause": true, "unpigz": true, "igzip": true, "pinns": true, "unshare": true, "systemctl": true, "journalctl": true}

var serviceName = regexp.MustCompile(`/system\.slice/([^/\n]+\.service)$`)

func serviceOf(cgroup string) string {
	for _, line := range strings.Split(cgroup, "\n") {
		if m := serviceName.FindStringSubmatch(line); m != nil {
			return m[1]
		}
	}
	return ""
}

// addServiceCgroups tells CPU quota and freezer state of the services' own cgroups, and cgroups that stand outside the usual slices.
func addServiceCgroups(f *Fingerprint) {
	for _, controller := range []string{"", "/cpu", "/cpu,cpuacct", "/freezer", "/pids", "/memory", "/systemd", "/unified"} {
		root := "/sys/fs/cgroup" + controller
		for _, base := range []string{"", "/system.slice", "/kubelet.slice"} {
			matches, _ := filepath.Glob(root + base + "/*")
			for _, dir := range matches {
				name := filepath.Base(dir)
				if st, err := os.Stat(dir); err != nil || !st.IsDir() || transientUnit.MatchString(name) || strings.HasSuffix(name, ".mount") ||
					strings.HasSuffix(name, ".scope") || strings.HasPrefix(name, "kubepods") || transientCgroup.MatchString(name) {
					continue
				}
				if controller == "" && base == "" {
					if _, err := os.Stat(dir + "/cgroup.procs"); err != nil {
						continue // v1: a controller's mount point, not a cgroup
					}
				}
				value := ""
				for _, file := range []string{"cpu.cfs_quota_us", "cpu.max", "freezer.state", "cgroup.freeze", "memory.limit_in_bytes", "memory.max", "pids.max"} {
					if b, err := os.ReadFile(dir + "/" + file); err == nil {
						value += file + "=" + strings.TrimSpace(string(b)) + " "
					}
				}
				if value != "" || base == "" {
					f.Set(Cgroups, strings.TrimPrefix(dir, "/sys/fs/cgroup"), strings.TrimSpace(value))
				}
			}
		}
	}
}

// transientCgroup are cgroups that systemd makes for services only while they have processes.
var transientCgroup = regexp.MustCompile(`^(system-|dev-|sys-|proc-|tmp|var-|sickbay-sweep)`)

func addImages(ctx context.Context, f *Fingerprint, endpoint string) {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(3*time.Second)) // ListImages of a quiet node takes 10 ms
	defer cancel()
	conn, err := grpc.NewClient("unix://"+strings.TrimPrefix(endpoint, "unix://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		f.Fail(Images, err)
		return
	}
	defer conn.Close()
	r, err := runtimeapi.NewImageServiceClient(conn).ListImages(ctx, &runtimeapi.ListImagesRequest{})
	if err != nil {
		f.Fail(Images, fmt.Errorf("CRI ListImages on %s: %w", endpoint, err))
		return
	}
	for _, i := range r.Images {
		f.Set(Images, i.Id, strings.Join(i.RepoTags, " ")+pinned(i.Pinned))
	}
}

func pinned(yes bool) string {
	if yes {
		return " (pinned)"
	}
	return ""
}
