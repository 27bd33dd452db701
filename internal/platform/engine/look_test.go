package engine

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/internal/platform/engine/oci"
	"github.com/sickbay-dev/sickbay/internal/process"
)

// fakeDocker puts a client in PATH whose context leads to an address, and whose kernel has a boot id. It answers with what was run.
func fakeDocker(t *testing.T, context, boot string) (ran func() string) {
	t.Helper()
	dir := t.TempDir()
	report, err := json.Marshal(oci.Report{Capabilities: ^oci.Set(0), FullUserIDs: true, CgroupVersion: 2, Boot: boot})
	if err != nil {
		t.Fatal(err)
	}
	docker := `#!/bin/sh
echo "$@" >> ` + dir + `/log
case "$1" in
version) echo '{"Server":{"Version":"27.0","APIVersion":"1.47","Arch":"` + runtime.GOARCH + `","Os":"linux"}}';;
info) echo '[]';;
context) echo ` + context + `;;
import) cat >/dev/null; echo sha256:x;;
run) echo '` + string(report) + `';;
esac`
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(docker), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() string {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		return string(log)
	}
}

// The docker client's current context, DOCKER_HOST or a forwarded socket may lead to another machine: it is not used in silence, and no
// privileged container runs there.
func TestEngineElsewhere(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a virtual machine's kernel is all there is")
	}
	here := process.Boot()
	for _, tt := range []struct {
		name, context, host, boot, allowed string
		usable, elsewhere, ran             bool
	}{
		{name: "this machine's", context: "unix:///var/run/docker.sock", boot: here, usable: true, ran: true},
		{name: "this machine's, by DOCKER_HOST", host: "unix:///x.sock", boot: here, usable: true, ran: true},
		{name: "a context over ssh", context: "ssh://root@prod.example", boot: "b", elsewhere: true},
		{name: "DOCKER_HOST over ssh", host: "ssh://root@prod.example", boot: "b", elsewhere: true},
		{name: "DOCKER_HOST over TCP", host: "tcp://10.0.0.9:2376", boot: "b", elsewhere: true},
		{name: "a forwarded socket", context: "unix:///tmp/prod.sock", boot: "b", elsewhere: true, ran: true},
		{name: "asked for", host: "tcp://10.0.0.9:2376", boot: "b", allowed: "1", usable: true, elsewhere: true, ran: true},
		{name: "asked for, and here after all", host: "tcp://docker:2376", boot: here, allowed: "1", usable: true, ran: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ran := fakeDocker(t, tt.context, tt.boot)
			t.Setenv(ElsewhereEnv, tt.allowed)
			t.Setenv("DOCKER_HOST", tt.host)
			c := system{Options{StateDir: t.TempDir(), RunDir: t.TempDir()}.withDefaults()}.Look(t.Context(), Docker, tt.host)
			if c.Unproven != "" {
				t.Skip(c.Unproven)
			}
			if c.Usable != tt.usable || c.Engine.Elsewhere != tt.elsewhere {
				t.Errorf("usable %v, elsewhere %v: %s", c.Usable, c.Engine.Elsewhere, c.Problem)
			}
			if privileged := strings.Contains(ran(), "--privileged"); privileged != tt.ran {
				t.Errorf("a privileged container ran there: %v\n%s", privileged, ran())
			}
			if !c.Usable && !strings.Contains(c.Problem, ElsewhereEnv) {
				t.Errorf("no way out is told: %s", c.Problem)
			}
			if c.Usable && c.Engine.Elsewhere && !strings.Contains(c.Engine.String(), "another kernel") {
				t.Errorf("not told: %s", &c.Engine)
			}
		})
	}
}

// TestRootlessPodman is refused with the reason, before anything runs on it; a rootful one without its API says how it is served.
func TestRootlessPodman(t *testing.T) {
	dir := t.TempDir()
	for rootless, want := range map[string]string{"true": "rootless", "false": ""} {
		script := `#!/bin/sh
case "$1" in
info) echo '{"host":{"arch":"` + runtime.GOARCH + `","serviceIsRemote":false,"security":{"rootless":` + rootless + `},"remoteSocket":{"path":"/run/podman/podman.sock"}},"version":{"Version":"4.3.1","APIVersion":"4.3.1"}}';;
*) echo "$1 was run" >>` + dir + `/ran;;
esac`
		cli := filepath.Join(dir, "podman")
		if err := os.WriteFile(cli, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		e := &Engine{Provider: Podman, CLI: cli}
		_, err := system{Options{}.withDefaults()}.ask(t.Context(), e)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("rootless %s: %v", rootless, err)
		}
		if err := e.Socket(); want == "" && (err == nil || e.Version != "4.3.1") {
			t.Errorf("%+v: %v", e, err)
		}
	}
	if raw, err := os.ReadFile(dir + "/ran"); err == nil {
		t.Errorf("%s", raw)
	}
}
