// Package vdso gives one process a wall clock of its own.
//
// CLOCK_REALTIME belongs to the kernel, and time namespaces do not cover it: to set it would move the clock of the host and of
// every node on it. What a program reads, though, is a function that the kernel maps into it, and that copy can be written
// over in one process alone. Only the wall clocks move; monotonic time, on which timers run, stays.
//
// The package knows processes and machine code, nothing of units or faults.
package vdso

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrUnsupported means that this architecture's or kernel's vDSO cannot be written over.
var ErrUnsupported = errors.New("the vDSO cannot be changed here")

// symbol is the function a program's wall clock is read by.
func symbol(arch string) string {
	if arch == "arm64" {
		return "__kernel_clock_gettime"
	}
	return "__vdso_clock_gettime"
}

// Wall clocks: CLOCK_REALTIME is 0, CLOCK_REALTIME_COARSE 5.

// code is clock_gettime by system call, with seconds added to the wall clocks.
func code(arch string, by time.Duration) ([]byte, error) {
	seconds := int64(by / time.Second)
	if seconds > math.MaxInt32 || seconds < math.MinInt32 {
		return nil, fmt.Errorf("a clock off by %s: at most 68 years", by)
	}
	switch arch {
	case "amd64":
		b := []byte{
			0xb8, 0xe4, 0x00, 0x00, 0x00, // mov $228, %eax
			0x0f, 0x05, // syscall
			0x85, 0xff, // test %edi, %edi
			0x74, 0x05, // je add
			0x83, 0xff, 0x05, // cmp $5, %edi
			0x75, 0x07, // jne out
			0x48, 0x81, 0x06, 0, 0, 0, 0, // add: addq $seconds, (%rsi)
			0xc3, // out: ret
		}
		binary.LittleEndian.PutUint32(b[len(b)-5:], uint32(int32(seconds)))
		return b, nil
	case "arm64":
		u := uint64(seconds)
		words := []uint32{
			0xd2800e28,                       // mov x8, #113
			0x2a0003e9,                       // mov w9, w0
			0xd4000001,                       // svc #0
			0x34000069,                       // cbz w9, add
			0x7100153f,                       // cmp w9, #5
			0x54000101,                       // b.ne out
			0xf940002a,                       // add: ldr x10, [x1]
			0xd280000b | uint32(u&0xffff)<<5, // mov x11, seconds
			0xf2a0000b | uint32(u>>16&0xffff)<<5,
			0xf2c0000b | uint32(u>>32&0xffff)<<5,
			0xf2e0000b | uint32(u>>48&0xffff)<<5,
			0x8b0b014a, // add x10, x10, x11
			0xf900002a, // str x10, [x1]
			0xd65f03c0, // out: ret
		}
		b := make([]byte, 0, 4*len(words))
		for _, w := range words {
			b = binary.LittleEndian.AppendUint32(b, w)
		}
		return b, nil
	}
	return nil, fmt.Errorf("%w: no code for %s", ErrUnsupported, arch)
}

// offset reads back what code wrote; false when the function is not ours.
func offset(arch string, b []byte) (time.Duration, bool) {
	blank, err := code(arch, 0)
	if err != nil || len(b) < len(blank) {
		return 0, false
	}
	var seconds int64
	switch arch {
	case "amd64":
		seconds = int64(int32(binary.LittleEndian.Uint32(b[len(blank)-5:])))
	case "arm64":
		for i := range 4 {
			w := binary.LittleEndian.Uint32(b[4*(7+i):])
			seconds |= int64(w>>5&0xffff) << (16 * i)
		}
	}
	by := time.Duration(seconds) * time.Second
	if seconds > math.MaxInt32 || seconds < math.MinInt32 {
		return 0, false
	}
	if again, err := code(arch, by); err != nil || string(again) != string(b[:len(again)]) {
		return 0, false
	}
	return by, true
}
