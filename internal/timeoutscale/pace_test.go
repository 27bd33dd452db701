package timeoutscale

import (
	"slices"
	"testing"
	"time"
)

func TestBound(t *testing.T) {
	defer Set(1)
	for _, c := range []struct {
		factor float64
		d      time.Duration
		want   time.Duration
	}{
		{1, time.Minute, time.Minute}, {2.5, 4 * time.Second, 10 * time.Second}, {10, 0, 0},
		{0.3, time.Minute, time.Minute}, {1000, time.Second, Most * time.Second}, {1.01, time.Second, 1100 * time.Millisecond},
	} {
		Set(c.factor)
		if got := Bound(c.d); got != c.want {
			t.Errorf("%v × %v: %v, want %v", c.factor, c.d, got, c.want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, s := range []string{"", "x", "0", "0.9", "31", "NaN", "-1"} {
		if _, err := Parse(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
	for _, f := range []float64{1, 2.5, 30} {
		if got, err := Parse(Format(f)); err != nil || got != f {
			t.Errorf("%v comes back as %v, %v", f, got, err)
		}
	}
}

func TestEnvironmentOverrules(t *testing.T) {
	forget := func() { current.factor, current.measure = 0, false }
	defer forget()
	forget()
	if got := Factor(); got != 1 {
		t.Errorf("%v where nobody measures, want 1", got)
	}
	forget()
	t.Setenv(Env, "7.5")
	MeasureWhenAsked()
	if got := Factor(); got != 7.5 {
		t.Errorf("%v, want what the environment says", got)
	}
	forget()
	t.Setenv(Env, "none of it")
	MeasureWhenAsked()
	if got := Factor(); got < 1 || got > Most {
		t.Errorf("%v was measured", got)
	}
}

// A machine that is as fast as the reference, or faster, or merely busy, gets the bounds as they are.
func TestRatio(t *testing.T) {
	took := []time.Duration{10, 20, 400, 11, 12}
	i := 0
	got := ratio(10, func() time.Duration { i++; return took[i-1] })
	if got != 1.2 {
		t.Errorf("%v, want the middle reading's", got)
	}
	if f := clamp(got / spare); f != 1 {
		t.Errorf("%v, want 1", f)
	}
}

// BenchmarkReference is where the reference's figures come from: the least of its readings.
func BenchmarkReference(b *testing.B) {
	var sorts, execs []time.Duration
	for b.Loop() {
		sorts, execs = append(sorts, sortOnce()), append(execs, execOnce())
	}
	b.ReportMetric(slices.Min(sorts).Seconds()*1e3, "least-sort-ms")
	b.ReportMetric(slices.Min(execs).Seconds()*1e3, "least-exec-ms")
}
