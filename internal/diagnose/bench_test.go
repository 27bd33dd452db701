package diagnose

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// recordings are real histories of sick nodes, as JSON.
func recordings(b *testing.B) (looks [][]byte, packed [][]byte) {
	b.Helper()
	files, err := filepath.Glob("../../detectors/all/testdata/recorded/*/nodes/*" + compressed)
	if err != nil || len(files) == 0 {
		b.Fatalf("no recordings: %v", err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			b.Fatal(err)
		}
		packed = append(packed, raw)
		if raw, err = unpack(raw); err != nil {
			b.Fatal(err)
		}
		var h []json.RawMessage
		if err := json.Unmarshal(raw, &h); err != nil {
			b.Fatal(err)
		}
		looks = append(looks, h[len(h)-1])
	}
	return looks, packed
}

// reportPeak runs f and reports the heap's highest size meanwhile beside what it was before. It forces no collection: what counts is
// what a user's machine has to hold.
func reportPeak(b *testing.B, f func()) {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	size := func() uint64 {
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	before := size()
	stop, done := make(chan struct{}), make(chan uint64)
	go func() {
		var peak uint64
		for {
			select {
			case <-stop:
				done <- peak
				return
			case <-time.After(2 * time.Millisecond):
				peak = max(peak, size())
			}
		}
	}()
	f()
	close(stop)
	if peak := <-done; peak > before {
		b.ReportMetric(float64(peak-before)/(1<<20), "peak-MiB")
	} else {
		b.ReportMetric(0, "peak-MiB")
	}
}

// BenchmarkBundle judges bundles of recorded nodes: a hundred take less than a second, and memory does not grow with them.
func BenchmarkBundle(b *testing.B) {
	_, packed := recordings(b)
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			dir := b.TempDir()
			if _, err := WriteCompactBundle(dir, v1alpha1.Bundle{}, map[string]v1alpha1.History{"n": {{}}}); err != nil {
				b.Fatal(err)
			}
			// The files are linked to what was recorded: only the header is of this size.
			info := v1alpha1.Bundle{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindBundle, Format: v1alpha1.BundleFormat}
			for i := range n {
				file := fmt.Sprintf("nodes/n%04d.json%s", i, compressed)
				if err := os.WriteFile(filepath.Join(dir, file), packed[i%len(packed)], 0o600); err != nil {
					b.Fatal(err)
				}
				info.Nodes = append(info.Nodes, v1alpha1.BundleNode{Name: fmt.Sprintf("n%04d", i), File: file})
			}
			header, err := json.Marshal(info) // JSON is YAML
			if err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, headerFile), header, 0o600); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			reportPeak(b, func() {
				for b.Loop() {
					bundle, err := OpenBundle(dir)
					if err != nil {
						b.Fatal(err)
					}
					d := JudgeBundle(bundle, nil)
					if len(d.Nodes) != n || len(d.Findings) < n {
						b.Fatalf("%d nodes, %d findings", len(d.Nodes), len(d.Findings))
					}
					_ = bundle.Close()
				}
			})
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n), "µs/node")
		})
	}
}

// BenchmarkOnce is a look at nodes that answer at once with what was recorded, decoded as an agent's answer is.
func BenchmarkOnce(b *testing.B) {
	looks, _ := recordings(b)
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			var t Target
			for i := range n {
				t.Nodes = append(t.Nodes, Node{Name: fmt.Sprintf("n%04d", i), Agent: AgentFunc(func(context.Context, Ask) (*v1alpha1.Observation, error) {
					var o v1alpha1.Observation
					return &o, json.Unmarshal(looks[i%len(looks)], &o)
				})})
			}
			b.ReportAllocs()
			reportPeak(b, func() {
				for b.Loop() {
					if d, err := Once(b.Context(), t, Options{NodeTimeout: time.Minute}, nil); err != nil || len(d.Nodes) != n {
						b.Fatalf("%d nodes, %v", len(d.Nodes), err)
					}
				}
			})
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n), "µs/node")
		})
	}
}
