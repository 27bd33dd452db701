// Package hypervisor says under which virtual machine monitor this process runs, from what the processor itself says. A container
// changes nothing about the answer, unlike systemd-detect-virt's.
package hypervisor

import (
	"strings"

	"github.com/klauspost/cpuid/v2"
)

// The monitors that matter to sickbay: with TCG everything takes about ten times as long.
const (
	None = "none" // the machine itself
	KVM  = "kvm"  // also under Firecracker, Cloud Hypervisor and QEMU with it
	TCG  = "tcg"  // QEMU's software emulation
)

// Who made the machine, says the firmware of a guest of `sickbay vm`. A container sees it as well (kind hides the product's name alone):
// what nodes share there is nobody else's, so a fault may take all of it.
const (
	GuestVendor = "sickbay.dev"
	VendorFile  = "/sys/class/dmi/id/sys_vendor"
)

// Machine answers None, KVM, TCG, another monitor's name in small letters (hyperv, vmware, xen …) or "other"; and "" on processors
// that do not say.
func Machine() string {
	c := cpuid.CPU
	if c.VendorID == cpuid.VendorUnknown && c.VendorString == "" {
		return "" // not x86
	}
	return named(c.VM(), c.HypervisorVendorID)
}

func named(virtual bool, vendor cpuid.Vendor) string {
	switch {
	case !virtual:
		return None
	case vendor == cpuid.KVM:
		return KVM
	case vendor == cpuid.QEMU:
		return TCG
	case vendor == cpuid.MSVM:
		return "hyperv"
	case vendor == cpuid.XenHVM:
		return "xen"
	case vendor == cpuid.VendorUnknown:
		return "other"
	}
	return strings.ToLower(vendor.String())
}
