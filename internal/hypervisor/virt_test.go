package hypervisor

import (
	"testing"

	"github.com/klauspost/cpuid/v2"
)

func TestNamed(t *testing.T) {
	for _, c := range []struct {
		virtual bool
		vendor  cpuid.Vendor
		want    string
	}{
		{false, cpuid.VendorUnknown, "none"},
		{false, cpuid.KVM, "none"}, // leftovers in a register that means nothing without the flag
		{true, cpuid.KVM, "kvm"}, {true, cpuid.QEMU, "tcg"}, {true, cpuid.MSVM, "hyperv"}, {true, cpuid.VMware, "vmware"},
		{true, cpuid.XenHVM, "xen"}, {true, cpuid.VendorUnknown, "other"},
	} {
		if got := named(c.virtual, c.vendor); got != c.want {
			t.Errorf("%t, %s: %q, want %q", c.virtual, c.vendor, got, c.want)
		}
	}
}
