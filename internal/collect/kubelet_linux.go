package collect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/redact"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

const (
	kubeletDir        = "/var/lib/kubelet"
	kubeletConfigFile = kubeletDir + "/config.yaml"
	// healthzWait is how long a loopback answer may take: a kubelet answers in 2 ms, a stopped one never.
	healthzWait = time.Second
)

// healthzURL is where the kubelet serves healthz by its flags and configuration (cmd/kubelet/app/server.go); empty when it does not.
func (l *look) healthzURL() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, flags := l.obs.Kubelet.Config, l.obs.Kubelet.Flags
	port := "10248"
	if c.HealthzPort != nil {
		port = strconv.Itoa(int(*c.HealthzPort))
	}
	if port = cmp.Or(flagValue(flags, "healthz-port"), port); port == "0" {
		return ""
	}
	host := cmp.Or(flagValue(flags, "healthz-bind-address"), c.HealthzBindAddress, "127.0.0.1")
	if a, err := netip.ParseAddr(host); err == nil && a.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/healthz"
}

// healthz asks the running kubelet.
func (l *look) healthz(ctx context.Context, s *source) error {
	if l.root != "/" && l.root != "" {
		return nil // a fixture has no kubelet
	}
	url := l.healthzURL()
	if url == "" {
		return errors.New("the kubelet is configured not to serve healthz")
	}
	d := "GET " + url
	s.doing.Store(&d)
	a, err := askHealthz(ctx, url, timeoutscale.Bound(healthzWait))
	if err != nil {
		return err
	}
	at := time.Now().Truncate(time.Second)
	l.put(func(o *v1alpha1.Observation) {
		o.Kubelet.Healthz, o.Kubelet.HealthzError = a.body, a.wrong
		if !a.date.IsZero() {
			setOffset(o, "kubelet", a.date.Sub(at).Seconds(), true)
		}
	})
	return nil
}

// health is the kubelet's answer, or what was wrong with it: a kubelet that does not answer is what was seen, not a failure to look.
type health struct {
	body, wrong string
	date        time.Time // the kubelet's own clock, in whole seconds; zero when it did not answer
}

func askHealthz(ctx context.Context, url string, wait time.Duration) (health, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return health{}, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}}
	r, err := client.Do(req)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return health{wrong: fmt.Sprintf("%s gave no answer within %s", url, wait)}, nil
		}
		return health{wrong: err.Error()}, nil
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(r.Body, 4096))
	if err != nil {
		return health{}, err
	}
	h := health{body: strings.TrimSpace(string(b))}
	if h.date, err = http.ParseTime(r.Header.Get("Date")); err != nil {
		h.date = time.Time{} // no clock to read
	}
	if r.StatusCode != http.StatusOK {
		h.body, h.wrong = "", r.Status+": "+h.body
	}
	return h, nil
}

// kubeletConfig finds out how the kubelet is run, from its process, else from the unit that would start it, and reads its configuration:
// the file, the drop-ins over it, the flags over both. It stands for the running configuration only until the API server's configz
// replaces it.
func (l *look) kubeletConfig(_ context.Context, s *source) error {
	var k v1alpha1.Kubelet
	flags := []string(nil)
	if p, program, ok := l.kubeletProcess(); ok {
		argv, env := l.argv(p.pid), l.environ(p.pid)
		k.PID, k.Unit, k.Environment, flags = p.pid, unitOf(l.cgroupOf(p.pid)), startedWith(env), argv
		if program.flags != nil {
			flags = append(program.flags(l, argv, env), argv...)
		}
	} else {
		l.mu.Lock()
		units, blocks := l.obs.Units, l.unitBlocks
		l.mu.Unlock()
		for _, u := range kubeletUnits {
			if _, there := units[u]; there {
				argv, env := l.unitCommand(blocks[u])
				k.Unit, k.Environment, flags = u, startedWith(env), argv
				if own := ofUnit[u]; own != nil {
					flags = own(l, argv, env)
				}
				break
			}
		}
	}
	k.Flags = redact.Args(flags)
	k.RootDir = cmp.Or(flagValue(flags, "root-dir"), kubeletDir)
	k.CertDir = cmp.Or(flagValue(flags, "cert-dir"), k.RootDir+"/pki")
	file := cmp.Or(flagValue(flags, "config"), kubeletConfigFile)
	read, merged, err := l.kubeletFiles(s, file, flagValue(flags, "config-dir"))
	var config v1alpha1.KubeletConfig
	if err == nil {
		if config, err = parseKubeletConfig(merged); err != nil {
			err = &parseError{file, err}
		}
	}
	if err != nil {
		k.FileError = why(err)
	}
	k.File, k.ConfigFiles = config, read
	l.put(func(o *v1alpha1.Observation) {
		k.Healthz, k.HealthzError = o.Kubelet.Healthz, o.Kubelet.HealthzError
		if k.FileError == "" {
			k.Config, k.ConfigSource = config, "file"
		}
		if v := flagValue(flags, "container-runtime-endpoint"); v != "" {
			k.Config.RuntimeEndpoint = v
		}
		if v := flagValue(flags, "cgroup-driver"); v != "" {
			k.Config.CgroupDriver = v
		}
		if v := boolFlag(flags, "fail-swap-on"); v != nil {
			k.Config.FailSwapOn = v
		}
		if v := flagValue(flags, "eviction-hard"); v != "" {
			k.Config.EvictionHard = map[string]string{}
			for t := range strings.SplitSeq(v, ",") {
				signal, quantity, _ := strings.Cut(t, "<")
				k.Config.EvictionHard[signal] = quantity
			}
		}
		o.Kubelet = k
	})
	return nil
}

// kubeletFiles merges the drop-ins of --config-dir over the kubelet's file, in the order of their paths, as the kubelet does
// (cmd/kubelet/app/server.go, mergeKubeletConfigurations): each is a JSON merge patch. Without a file the drop-ins stand alone.
func (l *look) kubeletFiles(s *source, file, dir string) (read []string, merged []byte, err error) {
	files := []string{file}
	if dir != "" {
		files = append(files, l.dropIns(dir, 0)...)
	}
	for _, f := range files {
		if err := s.at(l, "reading", f); err != nil {
			return read, nil, err
		}
		b, err := l.root.read(f, 1<<20)
		if errors.Is(err, fs.ErrNotExist) && len(files) > 1 {
			continue
		}
		if err != nil {
			return read, nil, err
		}
		read = append(read, f)
		if b, err = yaml.YAMLToJSON(b); err != nil {
			return read, nil, &parseError{f, err}
		}
		if merged == nil {
			merged = b
		} else if merged, err = jsonpatch.MergePatch(merged, b); err != nil {
			return read, nil, &parseError{f, err}
		}
	}
	return read, merged, nil
}

func (l *look) dropIns(dir string, depth int) (out []string) {
	names, _ := l.root.names(dir, 200)
	for _, n := range names {
		p := path.Join(dir, n)
		if fi, err := l.root.stat(p); err == nil && fi.IsDir() && depth < 3 {
			out = append(out, l.dropIns(p, depth+1)...)
		} else if path.Ext(n) == ".conf" {
			out = append(out, p)
		}
	}
	return out
}

// defaultEviction are the kubelet's thresholds on Linux (pkg/kubelet/eviction/defaults_linux.go).
var defaultEviction = map[string]string{"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%", "imagefs.inodesFree": "5%"}

// parseKubeletConfig reads what detectors judge of a KubeletConfiguration, as YAML or JSON.
func parseKubeletConfig(b []byte) (v1alpha1.KubeletConfig, error) {
	var raw struct {
		v1alpha1.KubeletConfig
		MemorySwap struct {
			SwapBehavior string `json:"swapBehavior"`
		} `json:"memorySwap"`
		MergeDefaultEviction bool `json:"mergeDefaultEvictionSettings"`
	}
	if err := yaml.Unmarshal(b, &raw); err != nil {
		return v1alpha1.KubeletConfig{}, err
	}
	c := raw.KubeletConfig
	if raw.MergeDefaultEviction && c.EvictionHard != nil {
		hard := maps.Clone(defaultEviction)
		maps.Copy(hard, c.EvictionHard)
		c.EvictionHard = hard
	}
	if c.SwapBehavior == "" {
		c.SwapBehavior = raw.MemorySwap.SwapBehavior
	}
	return c, nil
}

// flagValue is a flag's value: the last one counts.
func flagValue(argv []string, name string) (value string) {
	for i, a := range argv {
		if !strings.HasPrefix(a, "-") {
			continue
		}
		a = strings.TrimLeft(a, "-")
		if v, ok := strings.CutPrefix(a, name+"="); ok {
			value = v
		}
		if a == name && i+1 < len(argv) {
			value = argv[i+1]
		}
	}
	return value
}

// kubeletRoot is --root-dir.
func (l *look) kubeletRoot() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return cmp.Or(l.obs.Kubelet.RootDir, kubeletDir)
}

// security tells what confines containers here. securityfs is often not mounted in a node that is a container; the LSM list
// of the host part is then empty, and AppArmor's own switch decides.
func (l *look) security(_ context.Context, s *source) error {
	var sec v1alpha1.Security
	profiles := l.kubeletRoot() + "/seccomp"
	if err := s.at(l, "listing", profiles); err != nil {
		return err
	}
	var walk func(dir string, depth int)
	walk = func(dir string, depth int) {
		names, err := l.root.names(dir, 500)
		if err != nil {
			return
		}
		for _, n := range names {
			p := path.Join(dir, n)
			fi, err := l.root.stat(p)
			switch {
			case err != nil:
			case fi.IsDir() && depth < 4:
				walk(p, depth+1)
			case fi.Mode().IsRegular():
				sec.SeccompProfiles = append(sec.SeccompProfiles, strings.TrimPrefix(p, profiles+"/"))
			}
		}
	}
	walk(profiles, 0)
	sec.AppArmor = l.root.text("/sys/module/apparmor/parameters/enabled") == "Y"
	switch l.root.text("/sys/fs/selinux/enforce") {
	case "1":
		sec.SELinux = "enforcing"
	case "0":
		sec.SELinux = "permissive"
	}
	l.put(func(o *v1alpha1.Observation) { o.Security = sec })
	return nil
}

// portOf is a URL's port, with https's default.
func portOf(host string) string {
	if _, port, err := net.SplitHostPort(host); err == nil {
		if _, err := strconv.Atoi(port); err == nil {
			return port
		}
	}
	return "443"
}
