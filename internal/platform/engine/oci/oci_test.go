package oci

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const everything = Set(1<<41 - 1)

// noResource is the bounding set of the machine that made this program necessary.
const noResource = Set(0x1fffeffffff)

func TestParse(t *testing.T) {
	tests := []struct {
		line string
		want request
		ok   bool
	}{
		{"--root /r --log /l --log-format json create --bundle /b --pid-file /p ID", request{"/b/config.json", false}, true},
		{"--root=/r --systemd-cgroup create --bundle=/b ID", request{"/b/config.json", false}, true},
		{"--debug run -b /b ID", request{"/b/config.json", false}, true},
		{"create ID", request{"config.json", false}, true},
		{"restore --bundle /b ID", request{"/b/config.json", false}, true},
		{"--root /r exec --process /p.json --detach --pid-file /x ID", request{"/p.json", true}, true},
		{"exec -p /p.json ID", request{"/p.json", true}, true},
		{"exec --tty -d -p /p.json ID", request{"/p.json", true}, true},
		{"exec --detach ID sh -p x", request{}, false}, // the container's own argument
		{"create --no-pivot --bundle /b ID", request{"/b/config.json", false}, true},
		{"exec --process", request{}, false},
		{"exec ID sh", request{"", true}, false},
		{"--root create delete --force ID", request{}, false},
		{"--root /create state ID", request{}, false},
		{"kill --all ID 9", request{}, false},
		{"--version", request{}, false},
		{"", request{}, false},
	}
	for _, tt := range tests {
		got, ok := parse(strings.Fields(tt.line))
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("parse(%q) = %+v, %v; want %+v, %v", tt.line, got, ok, tt.want, tt.ok)
		}
	}
}

const config = `{
  "ociVersion": "1.0.2", "future": {"big": 12345678901234567890, "html": "<&>"},
  "process": {"args": ["a", "<b>"], "oomScoreAdj": 0,
    "capabilities": {
      "bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE", "CAP_SYS_ADMIN"],
      "effective": ["CAP_SYS_RESOURCE"],
      "permitted": ["CAP_CHOWN", "CAP_SYS_RESOURCE", "CAP_FUTURE"],
      "future": ["CAP_SYS_RESOURCE"]}},
  "linux": {"resources": {"memory": {"limit": 9223372036854771712}}}}`

func TestRewriteCreate(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "config.json", config)
	gone, err := Rewrite([]string{"--log", "x", "create", "--bundle", dir, "id"}, noResource)
	if err != nil || !slices.Equal(gone, []string{"CAP_SYS_RESOURCE"}) {
		t.Fatal(gone, err)
	}
	// Everything else is as it was, to the last digit.
	want := `{"future":{"big":12345678901234567890,"html":"<&>"},"linux":{"resources":{"memory":{"limit":9223372036854771712}}},"ociVersion":"1.0.2",` +
		`"process":{"args":["a","<b>"],"capabilities":{"bounding":["CAP_CHOWN","CAP_SYS_ADMIN"],"effective":[],"future":["CAP_SYS_RESOURCE"],` +
		`"permitted":["CAP_CHOWN","CAP_FUTURE"]},"oomScoreAdj":0}}`
	if got := read(t, path); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func TestRewriteExec(t *testing.T) {
	path := write(t, t.TempDir(), "process.json", `{"args":["sh"],"capabilities":{"bounding":["CAP_SYS_RESOURCE","CAP_KILL"]}}`)
	gone, err := Rewrite([]string{"exec", "--process", path, "id"}, noResource)
	if err != nil || len(gone) != 1 {
		t.Fatal(gone, err)
	}
	if got, want := read(t, path), `{"args":["sh"],"capabilities":{"bounding":["CAP_KILL"]}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What needs no change is not written, byte for byte, and no odd input is an obstacle that runc would not have.
func TestRewriteLeavesAlone(t *testing.T) {
	for name, content := range map[string]string{
		"nothing to take out": config,
		"no capabilities":     `{"process": {"args": []}}`,
		"no process":          `{"linux": {}}`,
		"null":                `{"process": {"capabilities": null}}`,
	} {
		t.Run(name, func(t *testing.T) {
			have := noResource
			if content == config {
				have = everything
			}
			dir := t.TempDir()
			path := write(t, dir, "config.json", content)
			if gone, err := Rewrite([]string{"create", "-b", dir, "id"}, have); err != nil || gone != nil {
				t.Errorf("%v, %v", gone, err)
			}
			if read(t, path) != content {
				t.Errorf("changed: %s", read(t, path))
			}
		})
	}
	for name, content := range map[string]string{"not JSON": "{", "a list": "[]", "a set that is no list": `{"process":{"capabilities":{"bounding":1}}}`} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := write(t, dir, "config.json", content)
			if _, err := Rewrite([]string{"create", "-b", dir, "id"}, noResource); err == nil {
				t.Error("no error")
			}
			if read(t, path) != content {
				t.Errorf("changed: %s", read(t, path))
			}
		})
	}
	if _, err := Rewrite([]string{"create", "-b", "/nowhere", "id"}, noResource); err == nil {
		t.Error("no error for a bundle that is not there")
	}
	if _, err := Rewrite([]string{"exec", "--process", "/dev/null", "id"}, noResource); err == nil {
		t.Error("no error for a device")
	}
}

func TestSet(t *testing.T) {
	have, err := ParseStatus("Name:\tx\nCapEff:\t0000000000000000\nCapBnd:\t000001fffeffffff\n", "CapBnd")
	if err != nil || have != noResource {
		t.Fatalf("%x, %v", have, err)
	}
	if m := have.Missing(); !slices.Equal(m, []string{"CAP_SYS_RESOURCE"}) {
		t.Errorf("missing %v", m)
	}
	if !have.Has("cap_chown") || have.Has("CAP_SYS_RESOURCE") || !have.Has("CAP_OF_TOMORROW") {
		t.Error("wrong members")
	}
	if m := everything.Missing(); m != nil {
		t.Errorf("missing %v", m)
	}
	if _, err := ParseStatus("Name: x\n", "CapBnd"); err == nil {
		t.Error("no error without the line")
	}
}

func TestPrivileged(t *testing.T) {
	good := Report{Capabilities: noResource, FullUserIDs: true}
	if ok, why := good.Privileged(); !ok || why != "" {
		t.Error(ok, why)
	}
	for want, spoil := range map[string]func(*Report){
		"CAP_SYS_ADMIN": func(r *Report) { r.Capabilities &^= 1 << 21 },
		"rootless":      func(r *Report) { r.FullUserIDs = false },
		"EPERM":         func(r *Report) { r.MountError = "EPERM" },
	} {
		bad := good
		spoil(&bad)
		if ok, why := bad.Privileged(); ok || !strings.Contains(why, want) {
			t.Errorf("%s: %v, %q", want, ok, why)
		}
	}
	data, _ := json.Marshal(good)
	var back Report
	if err := json.Unmarshal(data, &back); err != nil || back.Capabilities != noResource {
		t.Errorf("%+v, %v", back, err)
	}
}

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
