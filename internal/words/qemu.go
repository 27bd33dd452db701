package words

// The words of QEMU, which Kata runs, as runtimes pass them on.
var NoKVM = qemu.says("Could not access KVM kernel module", Entry{File: "accel/kvm/kvm-all.c",
	Sample: "Could not access KVM kernel module: No such file or directory qemu-system-x86_64: failed to initialize kvm: No such file or directory"})

var qemu = &Component{Name: "qemu"}
