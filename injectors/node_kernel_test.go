package injectors_test

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/internal/op"
)

func (n *Node) Mounts(pid int) (out []*op.Mount, err error) {
	err = n.look(func() error {
		if pid != 0 {
			if p := n.procs[pid]; p != nil && p.root != nil {
				out = append(out, p.root)
			}
			return nil
		}
		for _, m := range n.mounts {
			out = append(out, &op.Mount{
				ID: m.id, Parent: m.parent, Mountpoint: m.target, FSType: m.disk.fstype, Major: int(unix.Major(m.disk.dev)), Minor: int(unix.Minor(m.disk.dev)),
			})
		}
		return nil
	})
	return out, err
}

func (n *Node) Mount(source, target, _ string, flags op.MountFlag, _ string) error {
	return n.change(func() error {
		if flags&op.Bind != 0 {
			d, rel, _, err := n.get("mount", source)
			if err != nil {
				return err
			}
			n.mounts = append(n.mounts, mount{id: n.nextID, parent: 1, target: target, disk: d, base: rel})
			n.nextID++
			return nil
		}
		num, err := strconv.Atoi(strings.TrimPrefix(source, "/dev/loop"))
		if err != nil {
			return fmt.Errorf("mount %s: only loop devices are modelled", source)
		}
		l := n.loops[num]
		if l == nil || l.image.disk == nil {
			return fmt.Errorf("mount %s: no filesystem there", source)
		}
		if _, _, _, err := n.get("mount", target); err != nil {
			return err
		}
		l.image.disk.dev = unix.Mkdev(op.LoopMajor, uint32(num))
		n.mounts = append(n.mounts, mount{id: n.nextID, parent: 1, target: target, disk: l.image.disk})
		n.nextID++
		return nil
	})
}

func (n *Node) Unmount(target string, lazy bool) error {
	return n.change(func() error {
		for k := len(n.mounts) - 1; k > 0; k-- {
			m := n.mounts[k]
			if m.target != target {
				continue
			}
			n.touch(m.disk, "umount "+target)
			n.mounts = slices.Delete(n.mounts, k, k+1)
			if m.disk != n.root {
				n.reap(int(unix.Minor(m.disk.dev)))
			}
			return nil
		}
		return fmt.Errorf("umount %s: not mounted (lazy %t)", target, lazy)
	})
}

// reap frees a loop device that nothing uses, as autoclear does.
func (n *Node) reap(num int) {
	l := n.loops[num]
	if l == nil || l.holds > 0 {
		return
	}
	if l.image.disk != nil {
		for _, m := range n.mounts {
			if m.disk == l.image.disk {
				return
			}
		}
		if len(l.image.disk.users) > 0 {
			return
		}
	}
	delete(n.loops, num)
}

func (n *Node) Statfs(p string) (out op.Statfs, err error) {
	err = n.look(func() error {
		d, _ := n.find(p)
		out = statfs(d)
		return nil
	})
	return out, err
}

func statfs(d *disk) op.Statfs {
	return op.Statfs{Type: d.fstype, Bytes: d.bytes, Free: d.free(), Inodes: d.inodes, InodesFree: d.inodes - int64(len(d.files))}
}

func (n *Node) Allocate(p string, size int64) error {
	return n.change(func() error {
		d, _ := n.find(p)
		if d.free() < size {
			return op.ErrNoSpace
		}
		i := d.node(0o600, nil)
		i.size = size
		return n.put("allocate", p, i)
	})
}

func (n *Node) Loops() (out []op.Loop, err error) {
	err = n.look(func() error {
		for _, num := range slices.Sorted(maps.Keys(n.loops)) {
			l := n.loops[num]
			out = append(out, op.Loop{Number: num, Tag: l.tag, ImageDev: l.dev, ImageIno: l.image.ino, Bytes: l.image.size})
		}
		return nil
	})
	return out, err
}

func (n *Node) FreeLoop() (num int, missing bool, err error) {
	err = n.look(func() error {
		for num = 8; n.loops[num] != nil; num++ {
		}
		missing = n.root.files[fmt.Sprintf("/dev/loop%d", num)] == nil
		return nil
	})
	return num, missing, err
}

func (n *Node) AttachLoop(num int, image, tag string) (func() error, error) {
	err := n.change(func() error {
		if n.loops[num] != nil {
			return op.ErrLoopBusy
		}
		d, _, i, err := n.get("attach", image)
		if err != nil {
			return err
		}
		n.root.files[fmt.Sprintf("/dev/loop%d", num)] = n.root.node(fs.ModeDevice, nil)
		n.loops[num] = &loop{image: i, dev: d.dev, tag: tag, holds: 1}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return func() error {
		return n.change(func() error {
			if l := n.loops[num]; l != nil && l.holds > 0 {
				l.holds--
				n.reap(num)
			}
			return nil
		})
	}, nil
}

func (n *Node) DetachLoop(num int) error {
	return n.change(func() error { n.reap(num); return nil })
}

func (n *Node) Freeze(p string) error {
	return n.change(func() error {
		d, _ := n.find(p)
		if d == n.root {
			n.violate("freeze of the host's disk through %s", p)
		}
		if d.frozen {
			return op.ErrFrozen
		}
		d.frozen = true
		return nil
	})
}

func (n *Node) Thaw(p string) error {
	return n.change(func() error { d, _ := n.find(p); d.frozen = false; return nil })
}

func (n *Node) Swaps() (out []string, err error) {
	err = n.look(func() error {
		for p, i := range n.root.files {
			if i.swapped && !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
		return nil
	})
	return out, err
}

func (n *Node) SwapActive(p string) (on bool, err error) {
	err = n.look(func() error {
		_, _, i, err := n.get("open", p)
		if err == nil {
			on = i.swapped
		}
		return err
	})
	return on, err
}

func (n *Node) SwapOn(p string) error {
	return n.edit("swapon", p, func(i *inode) error { i.swapped = true; return nil })
}

func (n *Node) SwapOff(p string) error {
	return n.edit("swapoff", p, func(i *inode) error {
		if !i.swapped {
			return errors.New("swapoff: invalid argument")
		}
		i.swapped = false
		return nil
	})
}

func (n *Node) Process(pid int) (p op.Process, err error) {
	err = n.look(func() error {
		x := n.procs[pid]
		if x == nil {
			return fs.ErrNotExist
		}
		p = x.Process
		return nil
	})
	return p, err
}

func (n *Node) Processes() (out []op.Process, err error) {
	err = n.look(func() error {
		for _, pid := range slices.Sorted(maps.Keys(n.procs)) {
			out = append(out, n.procs[pid].Process)
		}
		return nil
	})
	return out, err
}

func (n *Node) ClockOffset(pid int) (by time.Duration, err error) {
	err = n.look(func() error {
		if p := n.procs[pid]; p != nil {
			by = p.clock
			return nil
		}
		return fs.ErrNotExist
	})
	return by, err
}

func (n *Node) Signal(pid int, start uint64, sig op.Signal) error {
	return n.change(func() error {
		p := n.procs[pid]
		if p == nil || p.Start != start {
			return fs.ErrNotExist
		}
		switch sig {
		case op.STOP:
			p.State = "T"
		case op.CONT:
			p.State = "S"
		case op.KILL, op.TERM:
			n.end(pid)
		}
		return nil
	})
}

// end takes a process away; systemd starts a unit's main process again.
func (n *Node) end(pid int) {
	delete(n.procs, pid)
	for num, l := range n.loops {
		if l.image.disk != nil && l.image.disk.users[pid] {
			delete(l.image.disk.users, pid)
			n.reap(num)
		}
	}
	for name, u := range n.units {
		if u.pid == pid && u.active == "active" {
			n.startLocked(name)
		}
	}
}

func (n *Node) spawn(command ...string) *proc {
	n.nextP++
	n.tick++
	p := &proc{Process: op.Process{PID: n.nextP, Parent: 1, Start: n.tick, State: "S", Command: command}}
	n.procs[p.PID] = p
	return p
}

func (n *Node) startLocked(name string) {
	u := n.units[name]
	u.active, u.sub = "active", "running"
	u.pid = 0
	if strings.HasSuffix(name, ".service") {
		p := n.spawn("/usr/bin/" + strings.TrimSuffix(name, ".service"))
		u.pid = p.PID
		for f, i := range n.root.files {
			if strings.HasPrefix(f, "/etc/systemd/system/"+name+".d/") && strings.Contains(string(i.data), "shift-clock") {
				p.clock = time.Hour
			}
		}
	}
}

// startPlugins starts the pods of a CSI driver and a device plugin. Their roots are new, and so are their sockets.
func (n *Node) startPlugins() {
	for f := range n.root.files {
		if strings.HasPrefix(f, "/proc/") && strings.Contains(f, "/root") {
			delete(n.root.files, f)
		}
	}
	n.spawn("/csi-node", "csi-driver")
	n.root.files[RegistrarSocket] = n.root.node(fs.ModeSocket|0o755, nil)
	p := n.spawn("/lamps", "device-plugin")
	for _, d := range []string{"", "/root", "/root/run", "/root/run/devices"} {
		n.root.files[fmt.Sprintf("/proc/%d%s", p.PID, d)] = n.root.node(fs.ModeDir|0o755, nil)
	}
}

const tasks = "/run/containerd/io.containerd.runtime.v2.task/k8s.io"

// StartPod starts a pod with one container, on whatever filesystem the runtime has at this moment.
func (n *Node) StartPod(namespace, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d, _ := n.find("/var/lib/containerd")
	if d.frozen {
		return
	}
	sandbox := fmt.Sprintf("sandbox%d", n.nextP)
	for _, kind := range []string{"sandbox", "container"} {
		id := sandbox
		if kind == "container" {
			id = strings.Replace(sandbox, "sandbox", "container", 1)
		}
		p := n.spawn("/app/" + name)
		p.sandbox = sandbox
		if d != n.root {
			d.users[p.PID] = true
		}
		p.root = &op.Mount{
			ID: 5000 + p.PID, Parent: 1, Mountpoint: "/", FSType: "overlay", VFSOptions: fmt.Sprintf("rw,lowerdir=/var/lib/containerd/snapshots/1/fs,upperdir=/var/lib/containerd/snapshots/%d/fs", p.PID),
		}
		dir := path.Join(tasks, id)
		n.root.files[dir] = n.root.node(fs.ModeDir|0o755, nil)
		n.root.files[dir+"/init.pid"] = n.root.node(0o644, []byte(strconv.Itoa(p.PID)))
		n.root.files[dir+"/config.json"] = n.root.node(0o644, fmt.Appendf(nil,
			`{"annotations":{"io.kubernetes.cri.container-type":%q,"io.kubernetes.cri.sandbox-id":%q,"io.kubernetes.cri.sandbox-namespace":%q,"io.kubernetes.cri.sandbox-name":%q}}`,
			kind, sandbox, namespace, name))
	}
}

// Forget has the runtime lose its running containers: they run on, and it has no bundles of them any more.
func (n *Node) Forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for f := range n.root.files {
		if strings.HasPrefix(f, tasks+"/") {
			delete(n.root.files, f)
		}
	}
}

func (n *Node) RemoveSandbox(_ context.Context, id string) error {
	return n.change(func() error {
		if u := n.units["containerd.service"]; u.active != "active" {
			return errors.New("the runtime does not run")
		} else if n.procs[u.pid] != nil && n.procs[u.pid].State == "T" {
			return context.DeadlineExceeded
		}
		for pid, p := range n.procs {
			if p.sandbox == id {
				n.end(pid)
			}
		}
		for f, i := range n.root.files {
			if strings.HasPrefix(f, tasks+"/") && path.Base(f) == "config.json" && strings.Contains(string(i.data), fmt.Sprintf("%q", id)) {
				dir := path.Dir(f)
				for _, g := range []string{dir, dir + "/init.pid", f} {
					delete(n.root.files, g)
				}
			}
		}
		return nil
	})
}

func (n *Node) UpdateContainer(_ context.Context, _ string) error {
	return n.change(func() error {
		u := n.units["containerd.service"]
		if u.active != "active" {
			return errors.New("the runtime does not run")
		}
		if d, _ := n.find("/var/lib/containerd"); d.frozen || n.procs[u.pid] != nil && n.procs[u.pid].State == "T" {
			return context.DeadlineExceeded
		}
		return nil
	})
}

// Restart is what a restart of the node's container does: processes and mounts go, /run is emptied, enabled units start.
func (n *Node) Restart() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.procs = map[int]*proc{}
	n.mounts = n.mounts[:2]
	n.tables = map[string]bool{}
	n.root.files["/proc/sys/net/bridge/bridge-nf-call-iptables"].data = []byte("1")
	for num, l := range n.loops {
		if l.image.disk != nil {
			l.image.disk.users, l.image.disk.frozen = map[int]bool{}, false
		}
		l.holds = 0
		n.reap(num)
	}
	for f := range n.root.files {
		if strings.HasPrefix(f, tasks+"/") || strings.HasPrefix(f, "/dev/loop") && f != "/dev/loop-control" {
			delete(n.root.files, f)
		}
	}
	n.startPlugins()
	for name, u := range n.units {
		switch {
		case strings.HasSuffix(name, ".timer"):
			u.active = "inactive"
			if n.root.files["/etc/systemd/system/timers.target.wants/"+name] != nil && n.root.files["/etc/systemd/system/"+name] != nil {
				u.active = "active"
			}
		default:
			n.startLocked(name)
		}
	}
}

// Run knows the few commands that operations use.
func (n *Node) Run(_ context.Context, argv ...string) (out []byte, err error) {
	if argv[0] == "systemctl" && argv[1] == "show" || argv[0] == "du" || argv[0] == "containerd" || argv[0] == "nft" && argv[1] == "list" || argv[0] == "curl" || argv[0] == "stat" || argv[0] == "ctr" && argv[4] == "ls" {
		err = n.look(func() error { out, err = n.command(argv); return err })
		return out, err
	}
	err = n.change(func() error { out, err = n.command(argv); return err })
	return out, err
}

func (n *Node) command(argv []string) ([]byte, error) {
	last := argv[len(argv)-1]
	switch argv[0] {
	case "containerd":
		return []byte("containerd github.com/containerd/containerd " + cmp.Or(n.Containerd, "v2.4.2") + " 0123\n"), nil
	case "du":
		return []byte("1000000\t" + last), nil
	case "mkfs.ext4":
		_, _, i, err := n.get("mkfs", last)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(argv, "-U") {
			i.data = []byte(last + " holds an ext4")
			return nil, nil
		}
		uuid := argv[slices.Index(argv, "-U")+1]
		id, err := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
		if err != nil {
			return nil, err
		}
		i.data = append(make([]byte, 1024+0x68), id...)
		i.disk = &disk{fstype: "ext4", files: map[string]*inode{}, bytes: i.size - 10<<20, inodes: 10000, users: map[int]bool{}}
		i.disk.files["/"] = i.disk.node(fs.ModeDir|0o755, nil)
		return nil, nil
	case "cp":
		from, rel := n.find(strings.TrimSuffix(argv[2], "/."))
		to, _ := n.find(last)
		if to == n.root {
			n.violate("copy of %s to the host's disk", argv[2])
		}
		for f, i := range from.files {
			if below, ok := strings.CutPrefix(f, rel); ok && strings.HasPrefix(below, "/") {
				c := *i
				to.files[below] = &c
			}
		}
		return nil, nil
	case "curl":
		if n.units["kubelet.service"].active != "active" {
			return nil, errors.New("connection refused")
		}
		return []byte("ok"), nil
	case "ip":
		switch dir := "/sys/class/net/" + argv[3]; argv[2] {
		case "add":
			if argv[1] == "link" {
				n.root.files[dir] = n.root.node(fs.ModeDir|0o755, nil)
			}
		case "delete":
			delete(n.root.files, dir)
		}
		return nil, nil
	case "nft":
		switch {
		case argv[1] == "list" && argv[2] == "table":
			if !n.tables[argv[3]+" "+argv[4]] {
				return nil, errors.New("nft: No such file or directory")
			}
			return fmt.Appendf(nil, "table %s %s {\n\tchain out {\n\t\ttcp dport 6443 reject with tcp reset\n\t}\n}\n", argv[3], argv[4]), nil
		case argv[1] == "list":
			var b strings.Builder
			for t := range n.tables {
				fmt.Fprintf(&b, "table %s\n", t)
			}
			return []byte(b.String()), nil
		case argv[1] == "delete":
			delete(n.tables, argv[3]+" "+argv[4])
		default:
			first, _, _ := strings.Cut(argv[1], "\n")
			n.tables[strings.TrimPrefix(first, "add table ")] = true
		}
		return nil, nil
	case "ctr": // -n k8s.io images ls|rm --sync NAME…
		if argv[4] == "ls" {
			var b strings.Builder
			b.WriteString("REF TYPE DIGEST SIZE PLATFORMS LABELS\n")
			for name, digest := range n.images {
				fmt.Fprintf(&b, "%s application/vnd.oci.image.manifest.v1+json %s 1.0 MiB linux/amd64 -\n", name, digest)
			}
			return []byte(b.String()), nil
		}
		for _, name := range argv[6:] {
			delete(n.images, name)
		}
		return nil, nil
	case "systemctl":
		return n.systemctl(argv[1], last)
	case "apparmor_parser":
		return nil, n.apparmor(argv[1:], last)
	case "stat":
		_, _, i, err := n.get("stat", last)
		if err != nil {
			return nil, err
		}
		return []byte(cmp.Or(i.label, policyLabel) + "\n"), nil
	case "chcon":
		_, _, i, err := n.get("chcon", last)
		if err != nil {
			return nil, err
		}
		i.label = strings.TrimPrefix(argv[1], policyLabel)
		return nil, nil
	}
	return nil, fmt.Errorf("%s is not modelled", argv[0])
}

// apparmor loads or removes the profile whose text is in the file.
func (n *Node) apparmor(argv []string, file string) error {
	_, _, text, err := n.get("apparmor_parser", file)
	if err != nil {
		return err
	}
	name := strings.Fields(string(text.data))[1]
	loaded := n.root.files[appArmorProfiles]
	line := name + " (enforce)\n"
	rest := strings.ReplaceAll(string(loaded.data), line, "")
	if slices.Contains(argv, "--replace") {
		rest += line
	} else if rest == string(loaded.data) {
		return fmt.Errorf("profile %s does not exist", name)
	}
	loaded.data = []byte(rest)
	return nil
}

func (n *Node) systemctl(verb, name string) ([]byte, error) {
	if verb == "daemon-reload" {
		for u := range n.units {
			if u != "kubelet.service" && u != "containerd.service" && n.root.files["/etc/systemd/system/"+u] == nil && n.units[u].active != "active" {
				delete(n.units, u)
			}
		}
		return nil, nil
	}
	u := n.units[name]
	if u == nil && n.root.files["/etc/systemd/system/"+name] != nil {
		u = &unit{active: "inactive"}
		n.units[name] = u
	}
	if u == nil {
		if verb == "show" {
			return []byte("LoadState=not-found\nActiveState=inactive\nMainPID=0\n"), nil
		}
		return nil, fmt.Errorf("unit %s not loaded", name)
	}
	hangs := false
	if name == "containerd.service" {
		d, _ := n.find("/var/lib/containerd")
		hangs = d.frozen
	}
	switch verb {
	case "show":
		return fmt.Appendf(nil, "LoadState=loaded\nActiveState=%s\nSubState=%s\nMainPID=%d\nControlGroup=/system.slice/%s\n"+
			"ExecStart={ path=/usr/bin/%[5]s ; argv[]=/usr/bin/%[5]s --config=/etc/%%i ; ignore_errors=no }\n",
			u.active, u.sub, u.pid, name, strings.TrimSuffix(name, ".service")), nil
	case "start":
		if u.active != "active" {
			n.startLocked(name)
		}
	case "stop", "kill":
		if hangs {
			n.violate("%s of %s while its filesystem is frozen: it would hang", verb, name)
		}
		if u.active == "active" {
			u.active, u.sub = "inactive", "dead"
			delete(n.procs, u.pid)
			u.pid = 0
		}
	case "reset-failed":
		if u.active == "failed" {
			u.active = "inactive"
		}
	default:
		return nil, fmt.Errorf("systemctl %s is not modelled", verb)
	}
	return nil, nil
}
