package timeoutscale

import "testing"

func TestBusyness(t *testing.T) {
	cpu, io := "some avg10=97.00 avg60=0.00 avg300=0.00 total=1\n", "some avg10=25.00 avg60=0.00 avg300=0.00 total=1\n"
	for name, c := range map[string]struct {
		cpu, io, load string
		want          float64
	}{
		"at rest":                         {"", "", "0.10 0.10 0.10 1/200 99\n", 0},
		"as many tasks as it can carry":   {cpu, "", "1.90 1.00 1.00 2/200 99\n", 0}, // others are held back by a quota
		"more to do since a moment":       {cpu, "", "0.40 0.10 0.10 9/200 99\n", 1},
		"more to do since a minute":       {cpu, "", "6.00 0.10 0.10 1/200 99\n", 1},
		"a disk that makes wait":          {"", io, "0.10 0.10 0.10 1/200 99\n", 0.5},
		"no pressure, and twice the load": {"", "", "4.00 0.10 0.10 1/200 99\n", 0.25},
		"pressure alone":                  {cpu, "", "", 1},
	} {
		files := map[string]string{"/proc/pressure/cpu": c.cpu, "/proc/pressure/io": c.io, "/proc/loadavg": c.load}
		if got := Busyness(func(p string) string { return files[p] }, 2); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
