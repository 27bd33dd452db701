package collect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/redact"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

const (
	kubeletDir        = "/var/lib/kubelet"
	kubeletConfigFile = kubeletDir + "/config.yaml"
	healthzURL        = "http://127.0.0.1:10248/healthz"
	// healthzWait is how long a loopback answer may take: a kubelet answers in 2 ms, a stopped one never.
	healthzWait = time.Second
)

// healthz asks the running kubelet on its loopback port (kubelet cmd/kubelet/app/server.go, healthzPort 10248).
func (l *look) healthz(ctx context.Context, s *source) error {
	if l.root != "/" && l.root != "" {
		return nil // a fixture has no kubelet
	}
	d := "GET " + healthzURL
	s.doing.Store(&d)
	a, err := askHealthz(ctx, healthzURL, timeoutscale.Bound(healthzWait))
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

// kubeletConfig reads the kubelet's configuration file and its running command line. The file stands for the running
// configuration only until the API server's configz replaces it.
func (l *look) kubeletConfig(_ context.Context, s *source) error {
	flags := l.kubeletFlags()
	file := kubeletConfigFile
	if f := flagValue(flags, "config"); f != "" {
		file = f
	}
	if err := s.at(l, "reading", file); err != nil {
		return err
	}
	var config v1alpha1.KubeletConfig
	text := ""
	b, err := l.root.read(file, 1<<20)
	if err == nil {
		config, err = parseKubeletConfig(b)
		if err != nil {
			err = &parseError{file, err}
		}
	}
	if err != nil {
		text = why(err)
	}
	l.put(func(o *v1alpha1.Observation) {
		k := &o.Kubelet
		k.File, k.FileError = config, text
		k.Flags = redact.Args(flags)
		if text == "" && k.ConfigSource == "" {
			k.Config, k.ConfigSource = config, "file"
		}
		if v := flagValue(flags, "container-runtime-endpoint"); v != "" {
			k.Config.RuntimeEndpoint = v
		}
	})
	return nil
}

// parseKubeletConfig reads what detectors judge of a KubeletConfiguration, as YAML or JSON.
func parseKubeletConfig(b []byte) (v1alpha1.KubeletConfig, error) {
	var raw struct {
		v1alpha1.KubeletConfig
		MemorySwap struct {
			SwapBehavior string `json:"swapBehavior"`
		} `json:"memorySwap"`
	}
	if err := yaml.Unmarshal(b, &raw); err != nil {
		return v1alpha1.KubeletConfig{}, err
	}
	c := raw.KubeletConfig
	if c.SwapBehavior == "" {
		c.SwapBehavior = raw.MemorySwap.SwapBehavior
	}
	return c, nil
}

// kubeletFlags is the command line of the running kubelet, nil when none runs.
func (l *look) kubeletFlags() []string {
	procs, err := l.procs()
	if err != nil {
		return nil
	}
	for _, p := range procs {
		if p.name != "kubelet" || p.kernel {
			continue
		}
		b, err := l.root.read(procPath(p.pid, "cmdline"), 64<<10)
		if err != nil || len(b) == 0 {
			continue
		}
		return strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
	}
	return nil
}

func flagValue(argv []string, name string) string {
	for i, a := range argv {
		a = strings.TrimLeft(a, "-")
		if v, ok := strings.CutPrefix(a, name+"="); ok {
			return v
		}
		if a == name && i+1 < len(argv) {
			return argv[i+1]
		}
	}
	return ""
}

// security tells what confines containers here. securityfs is often not mounted in a node that is a container; the LSM list
// of the host part is then empty, and AppArmor's own switch decides.
func (l *look) security(_ context.Context, s *source) error {
	var sec v1alpha1.Security
	const profiles = kubeletDir + "/seccomp"
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
