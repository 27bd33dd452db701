package collect

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
)

// What somebody added to a node: a service that runs, one that a timer starts, one that is off, and the harness's own.
func TestLocalUnits(t *testing.T) {
	r := tree(t, map[string]string{
		"/etc/systemd/system/exporter.service":      "",
		"/etc/systemd/system/nightly.service":       "",
		"/etc/systemd/system/nightly.timer":         "",
		"/etc/systemd/system/off.service":           "",
		"/etc/systemd/system/kubelet.service":       "",
		"/etc/systemd/system/sickbay-sweep.service": "",
		"/opt/nightly.sh":                           "#!/bin/sh\ncurl -H 'Authorization: Bearer abcdefgh12345' x\npkill pause\n",
		"/opt/exporter":                             "\x7fELF",
		"/etc/crontab":                              "SHELL=/bin/sh\n# m h dom mon dow user command\n17 * * * * root run-parts /etc/cron.hourly\n",
		"/etc/cron.d/tidy":                          "* * * * * root /opt/nightly.sh --password=verysecret\n",
	})
	var asked string
	systemctl := func(_ context.Context, read func(io.Reader) error, argv ...string) error {
		asked = strings.Join(argv, " ")
		block := func(id, active, exec string) string {
			return "Id=" + id + "\nLoadState=loaded\nActiveState=" + active + "\nExecStart={ path=" + exec + " ; argv[]=" + exec + " --now ; ignore_errors=no }\n"
		}
		return read(strings.NewReader(strings.Join([]string{
			block("kubelet.service", "active", "/usr/bin/kubelet"), block("containerd.service", "active", "/usr/local/bin/containerd"),
			block("exporter.service", "active", "/opt/exporter"), block("nightly.service", "inactive", "/opt/nightly.sh"),
			"Id=nightly.timer\nLoadState=loaded\nActiveState=active\n", block("off.service", "inactive", "/opt/nightly.sh"),
		}, "\n")))
	}
	l := newLook(protocol.ObserveOptions{Node: "worker"}, r, systemctl)
	o := read(t, l, l.units)
	if strings.Contains(asked, "sickbay") {
		t.Errorf("the harness's own units were asked for: %s", asked)
	}
	var got []string
	for _, u := range o.LocalUnits {
		got = append(got, u.Name)
		switch script := u.Script; {
		case u.Name == "nightly.service" && (!strings.Contains(script, "pkill pause") || strings.Contains(script, "abcdefgh")):
			t.Errorf("script of %s: %q", u.Name, script)
		case u.Name == "exporter.service" && script != "":
			t.Errorf("a program is no script: %q", script)
		}
	}
	if j := o.LocalJobs; len(j) != 2 || j[1].Crontab != "/etc/cron.d/tidy" || !strings.Contains(j[1].Script, "pkill pause") || strings.Contains(j[1].Command, "verysecret") || j[0].Command != "17 * * * * root run-parts /etc/cron.hourly" {
		t.Errorf("cron's entries: %+v", j)
	}
	if want := "exporter.service nightly.service nightly.timer"; strings.Join(got, " ") != want {
		t.Errorf("local units %v, want %s", got, want)
	}
}

// What runs outside of units: by hand, from a login, from cron; not systemd, not a unit's, not this look itself.
func TestLoose(t *testing.T) {
	for cgroup, want := range map[string]bool{
		"/": true, "/user.slice/user-0.slice/session-3.scope": true, "/system.slice/cron.service": true,
		"/system.slice/containerd.service": false, "/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope": false,
	} {
		if got := loose(procInfo{pid: 4711, name: "sh", state: "S"}, cgroupOf{"name=systemd": cgroup}); got != want {
			t.Errorf("%s: %t", cgroup, got)
		}
	}
	for _, p := range []procInfo{{pid: 1, name: "systemd", state: "S"}, {pid: 7, name: "sh", state: "Z"}, {pid: 8, name: lookName, state: "R"}} {
		if loose(p, cgroupOf{"": "/"}) {
			t.Errorf("%+v is called loose", p)
		}
	}
}

// TestLooseJobsAreNotOurs: sickbay's own agents, some of which stay, are no jobs of the node.
func TestLooseJobsAreNotOurs(t *testing.T) {
	r := tree(t, map[string]string{"/proc/40/cmdline": "/var/lib/sickbay/agent-1\x00observe\x00--stay\x00", "/proc/41/cmdline": "sh\x00-c\x00pkill pause\x00"})
	l := newLook(short, r, noCommands)
	if j, ok := l.looseJob(procInfo{pid: 40}, nil); ok {
		t.Errorf("%+v", j)
	}
	if j, ok := l.looseJob(procInfo{pid: 41, ppid: 0}, nil); !ok || j.Command != "sh -c pkill pause" {
		t.Errorf("%+v, %t", j, ok)
	}
}

// A value of several lines is one line again: the reason for which a kubelet ends itself may be such a one.
func TestJoinValues(t *testing.T) {
	line := func(pid int, text string) v1alpha1.LogLine {
		return v1alpha1.LogLine{Source: "kubelet", PID: pid, Text: text}
	}
	got := joinValues([]v1alpha1.LogLine{
		line(7, `E1129 run.go:72] "command failed" err=<`),
		line(8, "I1129 of another process"),
		line(7, `E1129 run.go:72] "command failed" err=<`),
		line(7, "\tfailed to validate kubelet flags: unknown 'kubernetes.io' or 'k8s.io' labels"),
		line(7, "\t--node-labels in the 'kubernetes.io' namespace"),
		line(7, " > logger=x"),
		line(7, "\tno value"),
	})
	want := []string{
		`E1129 run.go:72] "command failed" err="`,
		"I1129 of another process",
		`E1129 run.go:72] "command failed" err="failed to validate kubelet flags: unknown 'kubernetes.io' or 'k8s.io' labels\n--node-labels in the 'kubernetes.io' namespace\n" logger=x`,
		"\tno value",
	}
	for i := range got {
		if i >= len(want) || got[i].Text != want[i] {
			t.Errorf("line %d: %q", i, got[i].Text)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d lines", len(got))
	}
}
