package vm

// Accel is how the guest's processor is made.
type Accel string

// The accelerators.
const (
	KVM Accel = "kvm" // the processor's own virtualisation
	TCG Accel = "tcg" // QEMU's software emulation, about ten times slower
)
