// The node of these tests is in memory. It has filesystems with mounts over them, loop devices, units, processes, swap and
// freezing, and it can die at any call: at once, after its effect, or in the middle of a write. What must never happen on a
// real node (a write to a frozen filesystem, a fill of the host's disk) is kept as a violation instead of failing the call.

package injectors_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/hypervisor"
	"github.com/sickbay-dev/sickbay/internal/op"
)

// ErrDied is what every call returns once the process under test has died.
var ErrDied = errors.New("the agent was killed here")

// ErrFault is an ordinary failure of one call.
var ErrFault = errors.New("this call was made to fail")

type inode struct {
	mode      fs.FileMode
	uid, gid  int
	data      []byte
	size      int64 // where data is not kept: images
	link      string
	modified  time.Time
	immutable bool
	xattrs    map[string][]byte
	label     string // SELinux context, "" as the policy has it
	ino       uint64
	disk      *disk // the filesystem in an image
	swapped   bool
}

func (i *inode) length() int64 { return max(i.size, int64(len(i.data))) }

type disk struct {
	dev      uint64
	fstype   string
	files    map[string]*inode // by path within the filesystem
	bytes    int64
	inodes   int64
	frozen   bool
	users    map[int]bool // processes whose root filesystems lie on it
	nextIno  uint64
	reserved int64 // used by what is not modelled
}

func (d *disk) free() int64 {
	n := d.bytes - d.reserved
	seen := map[*inode]bool{}
	for _, i := range d.files {
		if !seen[i] {
			n -= i.length()
			seen[i] = true
		}
	}
	return n
}

type mount struct {
	id, parent int
	target     string
	disk       *disk
	base       string // of a bind mount: the path within the disk
}

type loop struct {
	image *inode
	dev   uint64
	tag   string
	holds int
}

type unit struct {
	active, sub string
	pid         int
}

type proc struct {
	op.Process
	clock   time.Duration
	sandbox string
	root    *op.Mount // of its container
}

// Node is a node in memory, with all parts of op.Sys.
type Node struct {
	Containerd string // version; 2 unless told otherwise
	mu         sync.Mutex
	root       *disk
	mounts     []mount
	nextID     int
	loops      map[int]*loop
	units      map[string]*unit
	tables     map[string]bool   // nft
	images     map[string]string // of the runtime: name → digest
	procs      map[int]*proc
	nextP      int
	tick       uint64
	boot       string
	now        time.Duration
	moved      time.Duration // of the wall clock
	guest      bool
	locked     bool

	// Budget is the number of changing calls until Trouble strikes; negative for never.
	Budget int
	// Trouble is what then happens.
	Trouble Trouble
	dead    bool

	// Violations are things that must never happen on a real node.
	Violations []string
	// Calls counts the changing calls.
	Calls int
}

// Trouble is a way for a call to go wrong.
type Trouble int

// Ways for a call to go wrong.
const (
	DieBefore Trouble = iota // the process dies before the call's effect
	DieAfter                 // after it
	DieWithin                // in the middle, where a call has one
	Fail                     // the call fails, the process lives on
)

// Conflist is the node's CNI configuration.
const Conflist = `{"cniVersion":"0.3.1","name":"kindnet","plugins":[{"type":"ptp","ipam":{"type":"host-local","ranges":[[{"subnet":"10.1.0.0/26"}]]}}]}` + "\n"

// A kernel has either of them; the node in memory has both, for the tests of both.
const appArmorProfiles = op.AppArmorProfiles

const policyLabel = "system_u:object_r:container_file_t:s0"

// RegistrarSocket is the socket of a CSI driver's registrar.
const RegistrarSocket = "/var/lib/kubelet/plugins_registry/csi.sickbay.dev-reg.sock"

const containerdConfig = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  enable_selinux = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    SystemdCgroup = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.test-handler]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.test-handler.options]
    SystemdCgroup = true
`

// clientPEM has the form of a kubelet's certificate and key.
const clientPEM = "-----BEGIN CERTIFICATE-----\nQUFB\n-----END CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\nQkJC\n-----END EC PRIVATE KEY-----\n"

// newGuest is newNode on a machine that `sickbay vm` made.
func newGuest() *Node {
	n := newNode()
	n.guest = true
	dir := path.Dir(hypervisor.VendorFile)
	for d := dir; d != "/sys/class"; d = path.Dir(d) {
		n.root.files[d] = n.root.node(fs.ModeDir|0o755, nil)
	}
	n.root.files[hypervisor.VendorFile] = n.root.node(0o444, []byte(hypervisor.GuestVendor+"\n"))
	return n
}

// newNode returns a node with kubelet, containerd, a CNI configuration and two running pods.
func newNode() *Node {
	n := &Node{
		root:  &disk{dev: unix.Mkdev(254, 1), fstype: "ext4", files: map[string]*inode{}, bytes: 100 << 30, inodes: 1 << 20, users: map[int]bool{}},
		loops: map[int]*loop{}, units: map[string]*unit{}, tables: map[string]bool{}, images: map[string]string{}, procs: map[int]*proc{}, nextP: 100, boot: "boot-1", now: time.Hour, Budget: -1,
	}
	// sickbay's mark, as kind puts it there.
	null := &disk{dev: unix.Mkdev(0, 5), fstype: "devtmpfs", files: map[string]*inode{}, users: map[int]bool{}}
	n.mounts = []mount{{id: 1, target: "/", disk: n.root}, {id: 2, parent: 1, target: injectors.Mark + "/one.core.0", disk: null}}
	n.nextID = 3
	for _, d := range []string{
		"/", "/etc", "/etc/cni", "/etc/cni/net.d", "/etc/systemd", "/etc/systemd/system", "/etc/systemd/system/timers.target.wants",
		"/var", "/var/lib", "/var/lib/kubelet", "/var/lib/kubelet/plugins_registry", "/var/lib/kubelet/device-plugins", "/var/lib/sickbay", "/var/lib/sickbay/volumes", "/var/lib/kubelet/pki", "/var/lib/containerd", "/var/lib/containerd/snapshots", "/run", "/run/netns", "/run/containerd",
		"/dev", "/proc", "/proc/sys", "/proc/sys/net", "/proc/sys/net/bridge", "/sys", "/opt", "/opt/cni", "/opt/cni/bin", "/etc/kubernetes", "/etc/containerd",
		"/var/lib/cni", "/var/lib/cni/networks", "/var/lib/cni/networks/kindnet", "/usr/local/sbin", "/usr", "/usr/bin", "/usr/sbin", "/usr/local", "/usr/local/bin",
		"/run/containerd/io.containerd.runtime.v2.task", "/run/containerd/io.containerd.runtime.v2.task/k8s.io",
		"/sys/module", "/sys/module/apparmor", "/sys/module/apparmor/parameters", "/sys/kernel", "/sys/kernel/security", "/sys/kernel/security/apparmor",
		"/etc/apparmor.d", "/sys/fs", "/sys/fs/selinux", "/sys/fs/cgroup", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup/system.slice/containerd.service", "/sys/fs/cgroup/system.slice/kubelet.service",
		"/sys/class", "/sys/class/net", "/sys/fs/cgroup/kubepods.slice",
	} {
		n.root.files[d] = n.root.node(fs.ModeDir|0o755, nil)
	}
	for p, text := range map[string]string{
		"/etc/cni/net.d/10-kindnet.conflist":              Conflist,
		"/etc/cni/net.d/20-spare.conflist":                `{"cniVersion":"0.3.1","name":"spare","plugins":[{"type":"ptp"}]}` + "\n",
		"/etc/fstab":                                      "# nothing\n",
		"/etc/systemd/system/timers.target.wants/x.timer": "",
		"/var/lib/kubelet/config.yaml":                    "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nfailSwapOn: false\nevictionHard:\n  imagefs.available: 0%\n  nodefs.available: 0%\n",
		"/var/lib/containerd/meta.db":                     "the runtime's database",
		"/dev/loop-control":                               "",
		"/opt/cni/bin/ptp":                                "ELF ptp",
		"/usr/local/bin/containerd-shim-runc-v2":          "ELF shim",
		"/usr/local/sbin/runc":                            "ELF runc",
		"/usr/sbin/nft":                                   "",
		"/usr/bin/curl":                                   "",
		"/usr/bin/jq":                                     "",
		"/usr/bin/nsenter":                                "",
		"/usr/sbin/ip":                                    "",
		"/var/lib/cni/networks/kindnet/10.1.0.3":          "sandbox0\r\neth0",
		"/proc/sys/net/bridge/bridge-nf-call-iptables":    "1",
		"/etc/kubernetes/kubelet.conf":                    "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: QQ==\n    server: https://control-plane:6443\n",
		"/etc/containerd/config.toml":                     containerdConfig,
		"/sys/module/apparmor/parameters/enabled":         "Y",
		appArmorProfiles:                                  "cri-containerd.apparmor.d (enforce)\n",
		"/usr/sbin/apparmor_parser":                       "",
		"/sys/fs/selinux/enforce":                         "1",
		"/usr/sbin/mkfs.ext4":                             "",
		"/usr/bin/cp":                                     "",
		"/usr/bin/du":                                     "",
		"/sys/fs/cgroup/system.slice/containerd.service/cgroup.freeze": "0",
		"/sys/fs/cgroup/system.slice/kubelet.service/cgroup.freeze":    "0",
	} {
		n.root.files[p] = n.root.node(0o644, []byte(text))
	}
	for _, run := range []string{"r", "r0", "r1"} { // of the tests
		n.root.files["/var/lib/sickbay/volumes/"+run] = n.root.node(fs.ModeDir|0o700, nil)
		n.root.files["/var/lib/sickbay/volumes/"+run+"/spare.img"] = n.root.node(0o600, []byte(strings.Repeat("an ext4 ", 512)))
	}
	n.root.files["/var/lib/kubelet/kubeadm-flags.env"] = n.root.node(0o644, []byte("KUBELET_KUBEADM_ARGS=\"--node-ip=172.18.0.3\"\n"))
	n.root.files["/var/lib/kubelet/pki/kubelet-client-1.pem"] = n.root.node(0o600, []byte(clientPEM))
	link := n.root.node(fs.ModeSymlink|0o777, nil)
	link.link = "/var/lib/kubelet/pki/kubelet-client-1.pem"
	n.root.files["/var/lib/kubelet/pki/kubelet-client-current.pem"] = link
	for _, u := range []string{"kubelet.service", "containerd.service"} {
		n.units[u] = &unit{}
		n.startLocked(u)
	}
	n.startPlugins()
	n.StartPod("kube-system", "kube-proxy")
	n.StartPod("lab", "web")
	return n
}

func (d *disk) node(mode fs.FileMode, data []byte) *inode {
	d.nextIno++
	return &inode{mode: mode, data: data, ino: d.nextIno, modified: time.Unix(1e9, 0)}
}

// Revive is the next process: the lock is free and calls work again.
func (n *Node) Revive() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dead, n.locked, n.Budget = false, false, -1
	for num, l := range n.loops {
		l.holds = 0
		n.reap(num)
	}
}

// Pull gives the runtime an image under a name.
func (n *Node) Pull(name, digest string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.images[name] = digest
}

// Images are the names of the runtime's images.
func (n *Node) Images() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.images))
}

// Pass lets time pass.
func (n *Node) Pass(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now += d
}

// Active tells whether a unit is active.
func (n *Node) Active(u string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.units[u] != nil && n.units[u].active == "active"
}

func (n *Node) violate(format string, args ...any) {
	n.Violations = append(n.Violations, fmt.Sprintf(format, args...))
}

// change brackets one changing call: within is what is done when the process dies in the middle of it.
func (n *Node) change(effect func() error, within ...func()) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dead {
		return ErrDied
	}
	n.Calls++
	if n.Budget != 0 {
		if n.Budget > 0 {
			n.Budget--
		}
		return effect()
	}
	n.Budget = -1
	switch n.Trouble {
	case Fail:
		return ErrFault
	case DieAfter:
		_ = effect()
	case DieWithin:
		for _, w := range within {
			w()
		}
	}
	n.dead = true
	return ErrDied
}

// look brackets a call that only reads.
func (n *Node) look(read func() error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dead {
		return ErrDied
	}
	return read()
}

// find resolves a path to the filesystem that serves it.
func (n *Node) find(p string) (*disk, string) {
	best := n.mounts[0]
	for _, m := range n.mounts {
		if (p == m.target || strings.HasPrefix(p, m.target+"/")) && len(m.target) >= len(best.target) {
			best = m
		}
	}
	if best.target == "/" {
		return best.disk, p
	}
	rel := best.base + strings.TrimPrefix(p, best.target)
	if rel == "" {
		rel = "/"
	}
	return best.disk, rel
}

func (n *Node) get(verb, p string) (*disk, string, *inode, error) {
	d, rel := n.find(p)
	i := d.files[rel]
	if i == nil {
		return d, rel, nil, &fs.PathError{Op: verb, Path: p, Err: fs.ErrNotExist}
	}
	return d, rel, i, nil
}

// touch says that something on the disk is written.
func (n *Node) touch(d *disk, what string) {
	if d.frozen {
		n.violate("%s on a frozen filesystem: it would block for ever", what)
	}
}

func (n *Node) put(verb, p string, i *inode) error {
	d, rel := n.find(p)
	n.touch(d, verb+" "+p)
	if parent := d.files[path.Dir(rel)]; parent == nil {
		return &fs.PathError{Op: verb, Path: p, Err: fs.ErrNotExist}
	} else if parent.immutable {
		return &fs.PathError{Op: verb, Path: p, Err: fs.ErrPermission}
	}
	d.files[rel] = i
	return nil
}

// Dump is the node's state as text, to compare. What the agent itself keeps below /var/lib/sickbay and its timer are left
// out when own is false.
func (n *Node) Dump(own bool) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	for _, m := range n.mounts {
		if len(n.mounts) > 1 {
			out = append(out, fmt.Sprintf("mount %s frozen=%t", m.target, m.disk.frozen))
		}
	}
	if n.moved != 0 {
		out = append(out, fmt.Sprintf("wall clock off by %s", n.moved))
	}
	for num, l := range n.loops {
		out = append(out, fmt.Sprintf("loop%d %s", num, l.tag))
	}
	for t := range n.tables {
		out = append(out, "nft table "+t)
	}
	for name, u := range n.units {
		if !strings.HasPrefix(name, "sickbay-") || own {
			out = append(out, fmt.Sprintf("unit %s %s", name, u.active))
		}
	}
	for _, p := range n.procs {
		if p.clock != 0 {
			out = append(out, fmt.Sprintf("clock of %s off by %s", strings.Join(p.Command, " "), p.clock))
		}
		if p.State == "T" {
			out = append(out, "stopped process "+strings.Join(p.Command, " "))
		}
	}
	for p, i := range n.root.files {
		mine := strings.HasPrefix(p, "/var/lib/sickbay") && !strings.HasPrefix(p, "/var/lib/sickbay/volumes") || strings.Contains(p, "sickbay-sweep")
		if i.swapped {
			out = append(out, "swap "+p)
		}
		switch {
		case mine && !own, p == "/var/lib/sickbay", p == "/var/lib/sickbay/lock", p == "/var/lib/sickbay/journal":
			continue
		case strings.HasPrefix(p, "/run/containerd") || strings.HasPrefix(p, "/run/netns"):
			continue // pods come and go
		case strings.HasPrefix(p, "/proc/") && !strings.HasPrefix(p, "/proc/sys"):
			continue // so do processes
		}
		data := string(i.data)
		if len(data) > 4096 {
			data = op.Sum(i.data)
		}
		out = append(out, fmt.Sprintf("%s %s %q %s immutable=%t %s", p, i.mode, data, i.link, i.immutable, i.label))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// Wait: time jumps.
func (n *Node) Wait(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return n.look(func() error { n.now += d; return nil })
}

func (n *Node) Clock() (boot string, since time.Duration, err error) {
	err = n.look(func() error { boot, since = n.boot, n.now; return nil })
	return boot, since, err
}

func (n *Node) Wall() (t time.Time, err error) {
	err = n.look(func() error { t = bootedAt.Add(n.now + n.moved); return nil })
	return t, err
}

func (n *Node) SetWall(t time.Time) error {
	return n.change(func() error {
		if !n.guest {
			n.violate("the host's clock set to %s", t)
		}
		n.moved = t.Sub(bootedAt.Add(n.now))
		return nil
	})
}

var bootedAt = time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)

func (n *Node) LookupHost(context.Context, string) ([]string, error) {
	return []string{"172.18.0.2"}, nil
}
