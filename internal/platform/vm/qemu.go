package vm

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/hypervisor"
)

const qemu = "qemu-system-x86_64"

// commandLine is the guest kernel's. AppArmor is on, the hierarchy is cgroup v2 alone; mitigations cost a third under emulation
// and guard nobody there. A kernel that panics ends the guest; what it says at lesser occasions is in its log and does not go over the
// emulated serial line.
const commandLine = "root=LABEL=" + label + " rw console=ttyS0 loglevel=4 net.ifnames=0 lsm=landlock,yama,apparmor,bpf systemd.unified_cgroup_hierarchy=1 mitigations=off panic=-1"

// emulatedClock is for emulated processors: the kernel takes their TSCs for unsynchronized, though all count by one clock of QEMU's, and
// would read the HPET, which leaves the processor for QEMU at every look at the clock. Under KVM the kernel knows better itself.
const emulatedClock = " tsc=reliable"

// machine is one start of QEMU.
type machine struct {
	Accel     Accel
	CPUs      int
	MemoryMiB int
	Kernel    string
	Initrd    string
	// Append is the kernel's command line.
	Append string
	// Disks in their order; the first is what the guest boots from.
	Disks []disk
	// Port of 127.0.0.1 that leads to the guest's ssh; 0 for a machine without a network.
	Port int
	// Console is the file the guest's console goes to.
	Console string
}

// disk is one of the guest's disks.
type disk struct {
	File   string
	Format string // qcow2, raw
	// Serial names it in the guest: /dev/disk/by-id/virtio-SERIAL.
	Serial   string
	ReadOnly bool
}

// arguments are QEMU's: a machine with what is named here and nothing else, that listens on one port of 127.0.0.1 and whose own
// packets go nowhere.
func (m machine) arguments() []string {
	line := m.Append
	if m.Accel == TCG {
		line += emulatedClock
	}
	args := []string{
		"-name", "sickbay", "-machine", "q35", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-monitor", "none",
		// QEMU itself starts nothing and gains no rights.
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-smp", fmt.Sprint(m.CPUs), "-m", fmt.Sprintf("%dM", m.MemoryMiB),
		"-kernel", m.Kernel, "-initrd", m.Initrd, "-append", line,
		"-serial", "file:" + m.Console,
		"-device", "virtio-rng-pci",
		"-smbios", "type=1,product=guest,manufacturer=" + hypervisor.GuestVendor,
	}
	switch m.Accel {
	case KVM:
		args = append(args, "-accel", "kvm", "-cpu", "host")
	default:
		// Code that is translated is kept: a cluster's programs do not fit into the default.
		args = append(args, "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max")
	}
	for _, d := range m.Disks {
		o := fmt.Sprintf("file=%s,if=none,id=%s,format=%s", comma(d.File), d.Serial, d.Format)
		if d.ReadOnly {
			o += ",readonly=on"
		} else {
			// What a guest wrote before the power failed is worth nothing: an overlay is thrown away, and a disk that is being prepared
			// is synchronized by us before it gets its name.
			o += ",cache=unsafe,discard=unmap,detect-zeroes=unmap"
		}
		args = append(args, "-drive", o, "-device", fmt.Sprintf("virtio-blk-pci,drive=%s,serial=%s", d.Serial, d.Serial))
	}
	if m.Port > 0 {
		args = append(args, "-netdev", fmt.Sprintf("user,id=net,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:%d-:22", m.Port), "-device", "virtio-net-pci,netdev=net")
	}
	return args
}

// comma doubles the commas of a path, as QEMU wants them in an option.
func comma(path string) string { return strings.ReplaceAll(path, ",", ",,") }

// bootDisks are the disks of a guest: its root, and what the host hands in.
func bootDisks(root, dir string, more ...disk) []disk {
	return append([]disk{
		{File: root, Format: "qcow2", Serial: "root"},
		{File: filepath.Join(dir, payloadFile), Format: "raw", Serial: "payload", ReadOnly: true},
	}, more...)
}
