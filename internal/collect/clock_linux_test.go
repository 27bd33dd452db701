package collect

import (
	"strconv"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// TestYears: a klog header has no year; one line that quotes the process's clock, or calls a certificate expired, gives it to all
// lines of that process.
func TestYears(t *testing.T) {
	at := time.Date(2026, 11, 25, 16, 0, 0, 0, time.UTC)
	c := ownClock{zone: time.UTC}
	lines := func(pid int, texts ...string) (out []v1alpha1.LogLine) {
		for _, s := range texts {
			l := v1alpha1.LogLine{Source: "kubelet", At: at, PID: pid, Text: s}
			l.Own, l.Level = c.stamp(s, at)
			out = append(out, l)
		}
		return out
	}
	all := lines(1, `I1128 16:00:00.000000    3857 kubelet.go:1] "Starting"`,
		`E1128 16:00:00.000000    3857 reflector.go:1] "x509: certificate has expired or is not yet valid: current time 2016-11-28T16:00:00Z is before 2026-11-25T15:00:00Z"`)
	all = append(all, lines(2, `I1122 16:00:00.000000    77 server.go:1] "Starting"`,
		`E1122 16:00:00.000000    77 bootstrap.go:1] part of the existing bootstrap client certificate in /etc/kubernetes/kubelet.conf is expired: 2027-11-25 15:00:00 +0000 UTC`)...)
	all = append(all, lines(3, `I1125 16:00:00.000000    9 server.go:1] "Starting"`)...)
	c.years(all)
	for i, year := range []int{2016, 2016, 2028, 2028, 2026} {
		if got := all[i].Own.Year(); got != year {
			t.Errorf("%s: read as year %d, want %d", all[i].Text, got, year)
		}
	}
}

func TestSetOffset(t *testing.T) {
	var o v1alpha1.Observation
	setOffset(&o, "kubelet", -3, false)
	setOffset(&o, "kubelet", 7, true)
	setOffset(&o, "kubelet", -3, false)
	if got := o.Clocks.ProcessOffsetSeconds["kubelet"]; got != 7 {
		t.Errorf("the kubelet answered that it is 7 s ahead, and %v was noted", got)
	}
}

func TestRTCOffset(t *testing.T) {
	rtc := map[string]string{"/sys/class/rtc/rtc0/since_epoch": strconv.FormatInt(time.Now().Add(-15*time.Minute).Unix(), 10) + "\n"}
	if got, known := rtcOffset(tree(t, rtc)); !known || got < 898 || got > 902 {
		t.Errorf("%v, %t: want 900 s ahead", got, known)
	}
	rtc["/etc/adjtime"] = "0.0 0 0.0\n0\nLOCAL\n"
	if _, known := rtcOffset(tree(t, rtc)); known {
		t.Error("local time was taken for UTC")
	}
	if _, known := rtcOffset(tree(t, nil)); known {
		t.Error("a machine without a hardware clock has one")
	}
}
