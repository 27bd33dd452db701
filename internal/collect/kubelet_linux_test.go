package collect

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// stat is a line of /proc/PID/stat.
func stat(pid, name, state, flags, started string) string {
	return pid + " (" + name + ") " + state + " 1 1 1 0 -1 " + flags + " 0 0 0 0 0 0 0 0 20 0 1 0 " + started + " 0 0\n"
}

func TestKubeletConfig(t *testing.T) {
	const file = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: systemd
failSwapOn: false
memorySwap: {swapBehavior: NoSwap}
evictionHard: {imagefs.available: 15%}
imageGCHighThresholdPercent: 100
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
maxPods: 110
`
	kubelet := func(argv ...string) map[string]string {
		return map[string]string{
			"/proc/2/stat": stat("2", "kubelet", "S", "2097152", "1"), "/proc/2/cmdline": "kernel thread of the same name",
			"/proc/77/stat": stat("77", "kubelet", "S", "0", "100"), "/proc/77/cmdline": strings.Join(argv, "\x00") + "\x00",
		}
	}
	with := func(m map[string]string, p, content string) map[string]string { m[p] = content; return m }
	for _, c := range []struct {
		name  string
		files map[string]string
		check func(*testing.T, v1alpha1.Kubelet)
	}{
		{"read whole", with(kubelet("/usr/bin/kubelet", "--config=/var/lib/kubelet/config.yaml", "--node-ip", "172.18.0.3"), kubeletConfigFile, file), func(t *testing.T, k v1alpha1.Kubelet) {
			c := k.Config
			if k.ConfigSource != "file" || c.CgroupDriver != "systemd" || c.FailSwapOn == nil || *c.FailSwapOn || c.SwapBehavior != "NoSwap" ||
				c.EvictionHard["imagefs.available"] != "15%" || *c.ImageGCHighThresholdPercent != 100 || c.MaxPods != 110 || c.RuntimeEndpoint != "unix:///run/containerd/containerd.sock" {
				t.Errorf("%s: %+v", k.ConfigSource, c)
			}
			if !slices.Contains(k.Flags, "172.18.0.3") || k.FileError != "" {
				t.Errorf("flags %q, %q", k.Flags, k.FileError)
			}
		}},
		{"a flag wins over the file", with(kubelet("kubelet", "--config", "/etc/k.yaml", "--container-runtime-endpoint=unix:///run/crio.sock"), "/etc/k.yaml", file), func(t *testing.T, k v1alpha1.Kubelet) {
			if k.Config.RuntimeEndpoint != "unix:///run/crio.sock" || k.Config.CgroupDriver != "systemd" || k.File.RuntimeEndpoint == k.Config.RuntimeEndpoint {
				t.Errorf("%+v, file %+v", k.Config, k.File)
			}
		}},
		{"no secret of the command line", with(kubelet("kubelet", "--some-token=abcdef.0123456789abcdef"), kubeletConfigFile, file), func(t *testing.T, k v1alpha1.Kubelet) {
			if strings.Contains(strings.Join(k.Flags, " "), "0123456789abcdef") {
				t.Errorf("flags %q", k.Flags)
			}
		}},
		{"broken YAML", map[string]string{kubeletConfigFile: "cgroupDriver: [\nkey: secret"}, func(t *testing.T, k v1alpha1.Kubelet) {
			if !strings.HasPrefix(k.FileError, kubeletConfigFile+": ") || strings.Contains(k.FileError, "\n") || k.ConfigSource != "" {
				t.Errorf("%q from %q", k.FileError, k.ConfigSource)
			}
		}},
		{"a field of another type", map[string]string{kubeletConfigFile: "maxPods: many"}, func(t *testing.T, k v1alpha1.Kubelet) {
			if !strings.Contains(k.FileError, "maxPods") || k.ConfigSource != "" {
				t.Errorf("%q from %q", k.FileError, k.ConfigSource)
			}
		}},
		{"no file and no kubelet", nil, func(t *testing.T, k v1alpha1.Kubelet) {
			if !strings.Contains(k.FileError, "no such file") || k.ConfigSource != "" || len(k.Flags) > 0 {
				t.Errorf("%q from %q, %q", k.FileError, k.ConfigSource, k.Flags)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := at(t, tree(t, c.files))
			c.check(t, read(t, l, l.kubeletConfig).Kubelet)
		})
	}
}

// TestKubeletConfigThatIsNoFile: a pipe or directory in its place must not hold the look up.
func TestKubeletConfigThatIsNoFile(t *testing.T) {
	pipe, dir := tree(t, map[string]string{"/var/lib/kubelet/": ""}), tree(t, map[string]string{kubeletConfigFile + "/": ""})
	must(t, unix.Mkfifo(pipe.path(kubeletConfigFile), 0o600))
	writer, err := os.OpenFile(pipe.path(kubeletConfigFile), os.O_RDWR, 0) // somebody holds it open and writes nothing
	must(t, err)
	defer writer.Close()
	for name, r := range map[string]root{"pipe": pipe, "directory": dir} {
		began := time.Now()
		l := at(t, r)
		k := read(t, l, l.kubeletConfig).Kubelet
		if took := time.Since(began); took > time.Second || k.FileError == "" || k.ConfigSource != "" {
			t.Errorf("%s: %q from %q after %s", name, k.FileError, k.ConfigSource, took)
		}
	}
}

func TestFlagValue(t *testing.T) {
	argv := []string{"kubelet", "--config=/a", "-v=2", "--node-ip", "10.0.0.1", "--config-dir=/d", "--last"}
	for name, want := range map[string]string{"config": "/a", "v": "2", "node-ip": "10.0.0.1", "config-dir": "/d", "last": "", "node": ""} {
		if got := flagValue(argv, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestHealthz(t *testing.T) {
	slow := make(chan struct{})
	t.Cleanup(func() { close(slow) })
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		body    string
		err     string
	}{
		{"well", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) }, "ok", ""},
		{"ill", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "PLEG is not healthy", 500) }, "", "500 Internal Server Error: PLEG is not healthy"},
		{"hangs", func(http.ResponseWriter, *http.Request) { <-slow }, "", "gave no answer within 50ms"},
	} {
		s := httptest.NewServer(c.handler)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		h, err := askHealthz(ctx, s.URL, 50*time.Millisecond)
		cancel()
		if err != nil || h.body != c.body || !strings.Contains(h.wrong, c.err) || (c.err == "") != (h.wrong == "") {
			t.Errorf("%s: %q, %q, %v", c.name, h.body, h.wrong, err)
		}
		if off := time.Since(h.date); c.name != "hangs" && off > time.Minute {
			t.Errorf("%s: its clock read %s", c.name, h.date)
		}
		s.CloseClientConnections()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, l.Close())
	if h, err := askHealthz(t.Context(), "http://"+l.Addr().String(), time.Second); err != nil || h.body != "" || !strings.Contains(h.wrong, "refused") || !h.date.IsZero() {
		t.Errorf("nobody listens: %+v, %v", h, err)
	}
}

func TestSecurity(t *testing.T) {
	l := at(t, tree(t, map[string]string{
		"/var/lib/kubelet/seccomp/profiles/audit.json": "{}", "/var/lib/kubelet/seccomp/deny.json": "{}",
		"/sys/module/apparmor/parameters/enabled": "Y\n", "/sys/fs/selinux/enforce": "0",
	}))
	s := read(t, l, l.security).Security
	slices.Sort(s.SeccompProfiles)
	if !slices.Equal(s.SeccompProfiles, []string{"deny.json", "profiles/audit.json"}) || !s.AppArmor || s.SELinux != "permissive" {
		t.Errorf("%+v", s)
	}
	l = at(t, tree(t, nil))
	if s := read(t, l, l.security).Security; len(s.SeccompProfiles) > 0 || s.AppArmor || s.SELinux != "" {
		t.Errorf("a node with nothing of it: %+v", s)
	}
}

// full makes a socket that has as many callers as it takes and answers none.
func full(t *testing.T, p string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: p}))
	must(t, unix.Listen(fd, 0))
	for range 4 {
		c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		must(t, err)
		t.Cleanup(func() { _ = unix.Close(c) })
		_ = unix.Connect(c, &unix.SockaddrUnix{Name: p})
	}
}

func TestPluginSockets(t *testing.T) {
	// A socket's path may have 108 characters: t.TempDir is too long with the node's own path below it.
	dir, err := os.MkdirTemp("", "s")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := root(dir)
	for _, d := range []string{"/device-plugins", "/plugins_registry", "/plugins/csi.example.com", "/plugins/csi.gone.com"} {
		must(t, os.MkdirAll(r.path(kubeletDir+d), 0o755))
	}
	listen := func(p string) *net.UnixListener {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: r.path(kubeletDir + p), Net: "unix"})
		must(t, err)
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	serve := func(p string) {
		s, l := grpc.NewServer(), listen(p) // there before anybody looks
		go func() { _ = s.Serve(l) }()
		t.Cleanup(s.Stop)
	}
	listen("/device-plugins/kubelet.sock") // the kubelet's own
	serve("/device-plugins/example.com_gpu.sock")
	listen("/device-plugins/stopped.sock") // the kernel accepts for a process that is stopped
	serve("/plugins_registry/csi.example.com-reg.sock")
	gone := listen("/plugins/csi.gone.com/csi.sock")
	gone.SetUnlinkOnClose(false)
	must(t, gone.Close())
	full(t, r.path(kubeletDir+"/plugins/csi.example.com/csi.sock"))
	must(t, os.WriteFile(r.path(kubeletDir+"/device-plugins/kubelet_internal_checkpoint"), []byte("{}"), 0o600))

	l := at(t, r)
	var got []string
	for _, s := range read(t, l, l.pluginSockets).Sockets {
		got = append(got, strings.Join([]string{s.Kind, s.Name, s.Answers}, " "))
		if !strings.HasPrefix(s.Path, kubeletDir) {
			t.Errorf("the path is told as %s", s.Path)
		}
	}
	want := []string{
		"device-plugin example.com_gpu ok", "device-plugin stopped timeout", "csi-registration csi.example.com ok", "csi csi.example.com timeout", "csi csi.gone.com refused",
	}
	if !slices.Equal(got, want) {
		t.Errorf("\ngot  %q\nwant %q", got, want)
	}

	l = at(t, tree(t, nil))
	if s := read(t, l, l.pluginSockets).Sockets; len(s) > 0 {
		t.Errorf("a node without plugins: %+v", s)
	}
}

func TestPortOf(t *testing.T) {
	for host, want := range map[string]string{"r:5000": "5000", "r": "443", "[::1]:6443": "6443", "r:https": "443"} {
		if got := portOf(host); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

// TestStuckLooks: a child of an earlier look that waits in the kernel names the mount that later looks keep away from.
func TestStuckLooks(t *testing.T) {
	task := "/proc/40/task/40/"
	// openat(AT_FDCWD, 0x10, …): the path lies at address 16 of the process.
	memory := append(make([]byte, 16), "/var/lib/containerd/x\x00"...)
	r := tree(t, map[string]string{
		"/proc/uptime":          "1000.00 2000.00\n",
		"/proc/self/mountinfo":  "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 7:0 / /var/lib/containerd rw - ext4 /dev/loop0 rw\n",
		"/proc/40/stat":         stat("40", lookName, "S", "0", "90000"), // 100 s old
		task + "stat":           stat("40", lookName, "D", "0", "90000"),
		task + "syscall":        fmt.Sprintf("%d 0xffffff9c 0x10 0x0 0x0 0x0 0x0 0x7ffc 0x7f00\n", unix.SYS_OPENAT),
		task + "mem":            string(memory),
		"/proc/41/stat":         stat("41", lookName, "S", "0", "99999"), // another look of this moment, which waits for a moment
		"/proc/41/task/41/stat": stat("41", lookName, "D", "0", "99999"),
	})
	must(t, os.Symlink("/", r.path(task+"root")))
	must(t, os.Symlink("/", r.path(task+"cwd")))
	l := at(t, r)
	l.table = readMounts(r)
	stuck := l.stuckLooks()
	if len(stuck) != 1 || stuck[0].pid != 40 || stuck[0].mount != "/var/lib/containerd" {
		t.Fatalf("%+v", stuck)
	}
	l.avoid = stuck
	s := &source{what: "files"}
	if err := s.at(l, "reading", "/var/lib/containerd/io.containerd.x"); err == nil || !strings.Contains(err.Error(), "process 40) still hangs on /var/lib/containerd") {
		t.Errorf("it would hang there again: %v", err)
	}
	if err := s.at(l, "reading", "/var/lib/kubelet"); err != nil {
		t.Errorf("another filesystem: %v", err)
	}
}
