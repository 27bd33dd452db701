package vdso

import (
	"testing"
	"time"
)

func TestCode(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		for _, by := range []time.Duration{0, time.Second, -time.Hour, 10 * 365 * 24 * time.Hour, -30 * 365 * 24 * time.Hour} {
			b, err := code(arch, by)
			if err != nil {
				t.Fatal(err)
			}
			if got, ours := offset(arch, append(b, 0xcc, 0xcc)); !ours || got != by {
				t.Errorf("%s: %s came back as %s, %t", arch, by, got, ours)
			}
			b[0]++
			if got, ours := offset(arch, b); ours || got != 0 {
				t.Errorf("%s: another function is taken for ours, moved by %s", arch, got)
			}
		}
		if _, err := code(arch, 100*365*24*time.Hour); err == nil {
			t.Errorf("%s: a century was accepted", arch)
		}
	}
	if _, err := code("riscv64", time.Hour); err == nil {
		t.Error("riscv64 was accepted")
	}
}
