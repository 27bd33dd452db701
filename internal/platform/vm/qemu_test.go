package vm

import (
	"slices"
	"strings"
	"testing"
)

func TestArguments(t *testing.T) {
	m := machine{
		Accel: TCG, CPUs: 2, MemoryMiB: 6144, Kernel: "/c/vmlinuz", Initrd: "/c/initrd.img", Append: commandLine, Port: 40001, Console: "/g/console.log",
		Disks: bootDisks("/g,h/overlay.qcow2", "/g", imageDisk("/g/image.tar")),
	}
	args := m.arguments()
	after := func(option string) []string {
		var out []string
		for i, a := range args {
			if a == option {
				out = append(out, args[i+1])
			}
		}
		return out
	}
	for option, want := range map[string][]string{
		"-accel":  {"tcg,thread=multi,tb-size=1024"},
		"-cpu":    {"max"},
		"-smp":    {"2"},
		"-m":      {"6144M"},
		"-kernel": {"/c/vmlinuz"},
		"-serial": {"file:/g/console.log"},
		"-netdev": {"user,id=net,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:40001-:22"},
		"-drive": {
			"file=/g,,h/overlay.qcow2,if=none,id=root,format=qcow2,cache=unsafe,discard=unmap,detect-zeroes=unmap",
			"file=/g/payload.tar,if=none,id=payload,format=raw,readonly=on",
			"file=/g/image.tar,if=none,id=image,format=raw,readonly=on",
		},
	} {
		if got := after(option); !slices.Equal(got, want) {
			t.Errorf("%s %q, want %q", option, got, want)
		}
	}
	// What would open the machine to others, or let it do more than it must.
	line := strings.Join(args, " ")
	for _, must := range []string{"-nodefaults", "-no-user-config", "-no-reboot", "-display none", "-monitor none", "-sandbox on,", "root=LABEL=guest", "systemd.unified_cgroup_hierarchy=1", "apparmor", "tsc=reliable"} {
		if !strings.Contains(line, must) {
			t.Errorf("no %q in %s", must, line)
		}
	}
	for _, mustNot := range []string{"-vnc", "-daemonize", "0.0.0.0", "tcp::", "-netdev tap", "-qmp", "-virtfs"} {
		if strings.Contains(line, mustNot) {
			t.Errorf("%q in %s", mustNot, line)
		}
	}

	m.Accel, m.Port = KVM, 0
	args = m.arguments()
	if !slices.Equal(after("-accel"), []string{"kvm"}) || !slices.Equal(after("-cpu"), []string{"host"}) {
		t.Errorf("KVM: %v", args)
	}
	if line := after("-append"); !slices.Equal(line, []string{commandLine}) {
		t.Errorf("KVM: the kernel is told %q; whether the TSC is reliable it sees itself", line)
	}
	if len(after("-netdev")) != 0 {
		t.Errorf("a machine without a port has a network: %v", args)
	}
}
