package collect

import (
	"syscall"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
)

// cpu is what this process and the programs it has waited for have used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

// BenchmarkLook looks at the machine it runs on. On a node the budget is 150 ms of CPU and 300 ms of wall time; agent's
// BenchmarkObserve measures that on a node of a cluster.
func BenchmarkLook(b *testing.B) {
	first := Look(b.Context(), protocol.ObserveOptions{})
	opts := protocol.ObserveOptions{Cursor: first.Journal.Cursor}
	before := cpu(b)
	b.ResetTimer()
	for b.Loop() {
		Look(b.Context(), opts)
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}
