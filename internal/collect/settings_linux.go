package collect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	toml "github.com/pelletier/go-toml/v2"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// settings is where the runtime keeps things, from its running configuration, else its file, else its defaults.
type settings struct {
	name         string // as Runtime.Name
	root, state  string
	cniConf      string
	cniBin       []string
	configPath   []string // registry hosts directories
	snapshotter  string
	sandboxImage string
	handlers     []v1alpha1.RuntimeHandler
	defaultName  string
	// systemdCgroup is what CRI-O is told for all handlers.
	systemdCgroup *bool
	argv          []string // of its process
	path          []string // where it looks for binaries: its PATH, then beside itself; empty when it does not run
}

// settingsOf are a runtime's own defaults.
func settingsOf(name string) settings {
	s := defaultSettings()
	switch name {
	case "cri-o":
		s.root, s.state, s.snapshotter, s.configPath = "/var/lib/containers/storage", "/run/containers/storage", "", nil
		s.cniBin = append(s.cniBin, "/usr/libexec/cni") // where its packages of the Red Hat family put them
		s.handlers, s.defaultName = nil, ""
	case "docker":
		s.root, s.state, s.snapshotter, s.configPath = "/var/lib/docker", "/run/docker", "", nil
		s.handlers, s.defaultName = nil, ""
	}
	return s
}

func defaultSettings() settings {
	return settings{
		root: "/var/lib/containerd", state: "/run/containerd",
		cniConf: "/etc/cni/net.d", cniBin: []string{"/opt/cni/bin"}, snapshotter: "overlayfs",
		handlers: []v1alpha1.RuntimeHandler{{Name: "runc", Type: "io.containerd.runc.v2"}}, defaultName: "runc",
	}
}

// setSettings takes what is known of the runtime. The running configuration is better than what its files say, whichever is
// known first.
func (l *look) setSettings(s settings, running bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if running || !l.runtimeTold {
		l.runtime, l.runtimeTold = s, running
	}
}

// settings is what is known of the runtime by now. Before its process was looked for, its endpoint tells whose defaults they are.
func (l *look) settings() settings {
	l.mu.Lock()
	s := l.runtime
	l.mu.Unlock()
	if name := usualProgram(l.endpoint()).name; s.name == "" && name != "containerd" {
		s = settingsOf(name)
		s.name = name
	}
	return s
}

// criConfig is the part of containerd's verbose CRI status that is read: 1.7 and 2.x alike. Registry credentials stand beside
// it in 1.7 and are not decoded.
type criConfig struct {
	Containerd struct {
		Snapshotter        string                `json:"snapshotter"`
		DefaultRuntimeName string                `json:"defaultRuntimeName"`
		Runtimes           map[string]criRuntime `json:"runtimes"`
	} `json:"containerd"`
	CNI struct {
		BinDir  string   `json:"binDir"`
		BinDirs []string `json:"binDirs"`
		ConfDir string   `json:"confDir"`
	} `json:"cni"`
	Registry struct {
		ConfigPath string `json:"configPath"`
	} `json:"registry"`
	SandboxImage      string `json:"sandboxImage"`
	ContainerdRootDir string `json:"containerdRootDir"`
	StateDir          string `json:"stateDir"`
}

type criRuntime struct {
	Type    string         `json:"runtimeType"`
	Path    string         `json:"runtimePath"`
	Options map[string]any `json:"options"`
}

// fromStatus reads the running configuration.
func fromStatus(config string, base settings) (settings, error) {
	var c criConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return base, err
	}
	s := base
	setIf(&s.root, c.ContainerdRootDir)
	// The state directory of the CRI plugin lies below containerd's own: /run/containerd/io.containerd.grpc.v1.cri.
	if c.StateDir != "" {
		s.state = path.Dir(c.StateDir)
	}
	setIf(&s.cniConf, c.CNI.ConfDir)
	if len(c.CNI.BinDirs) > 0 {
		s.cniBin = c.CNI.BinDirs
	} else if c.CNI.BinDir != "" {
		s.cniBin = []string{c.CNI.BinDir}
	}
	if c.Registry.ConfigPath != "" {
		s.configPath = filepath.SplitList(c.Registry.ConfigPath)
	}
	setIf(&s.snapshotter, c.Containerd.Snapshotter)
	setIf(&s.sandboxImage, c.SandboxImage)
	setIf(&s.defaultName, c.Containerd.DefaultRuntimeName)
	if len(c.Containerd.Runtimes) > 0 {
		s.handlers = nil
		for name, r := range c.Containerd.Runtimes {
			s.handlers = append(s.handlers, handlerOf(name, r.Type, r.Path, r.Options))
		}
		sortHandlers(s.handlers)
	}
	return s, nil
}

func setIf(dst *string, v string) {
	if v != "" {
		*dst = v
	}
}

func handlerOf(name, kind, binary string, options map[string]any) v1alpha1.RuntimeHandler {
	h := v1alpha1.RuntimeHandler{Name: name, Type: kind}
	for k, v := range options {
		switch strings.ToLower(k) {
		case "systemdcgroup":
			if b, ok := v.(bool); ok {
				h.SystemdCgroup = &b
			}
		case "binaryname":
			if s, ok := v.(string); ok {
				h.BinaryName = s
			}
		}
	}
	if binary != "" {
		h.ShimPath = binary // runtime_path names the shim itself
	}
	return h
}

func sortHandlers(h []v1alpha1.RuntimeHandler) {
	sort.Slice(h, func(i, j int) bool { return h[i].Name < h[j].Name })
}

// configTOML is the part of containerd's file that is read, versions 2 and 3.
type configTOML struct {
	Root     string   `toml:"root"`
	State    string   `toml:"state"`
	Imports  []string `toml:"imports"`
	Disabled []string `toml:"disabled_plugins"`
	Plugins  struct {
		Grpc    criTOML `toml:"io.containerd.grpc.v1.cri"`
		Runtime criTOML `toml:"io.containerd.cri.v1.runtime"`
		Images  struct {
			Snapshotter  string            `toml:"snapshotter"`
			PinnedImages map[string]string `toml:"pinned_images"`
			Registry     registryTOML      `toml:"registry"`
		} `toml:"io.containerd.cri.v1.images"`
	} `toml:"plugins"`
}

type registryTOML struct {
	ConfigPath string `toml:"config_path"`
}

type criTOML struct {
	SandboxImage string `toml:"sandbox_image"`
	Containerd   struct {
		Snapshotter        string                 `toml:"snapshotter"`
		DefaultRuntimeName string                 `toml:"default_runtime_name"`
		Runtimes           map[string]runtimeTOML `toml:"runtimes"`
	} `toml:"containerd"`
	CNI struct {
		BinDir  string   `toml:"bin_dir"`
		BinDirs []string `toml:"bin_dirs"`
		ConfDir string   `toml:"conf_dir"`
	} `toml:"cni"`
	Registry registryTOML `toml:"registry"`
}

type runtimeTOML struct {
	Type    string         `toml:"runtime_type"`
	Path    string         `toml:"runtime_path"`
	Options map[string]any `toml:"options"`
}

const containerdConfig = "/etc/containerd/config.toml"

// takeFlags are the settings of the runtime's command line, which win over its files.
func (s *settings) takeFlags() {
	setIf(&s.root, flagValue(s.argv, "root"))
	setIf(&s.state, cmp.Or(flagValue(s.argv, "state"), flagValue(s.argv, "runroot")))
	setIf(&s.cniConf, cmp.Or(flagValue(s.argv, "cni-conf-dir"), flagValue(s.argv, "cni-config-dir")))
	if v := cmp.Or(flagValue(s.argv, "cni-bin-dir"), flagValue(s.argv, "cni-plugin-dir")); v != "" {
		s.cniBin = strings.Split(v, ",")
	}
}

// runtimeFile reads the runtime's configuration on disk, for comparison and for when it does not answer.
func (l *look) runtimeFile(ctx context.Context, s *source) error {
	set := l.settings()
	file := v1alpha1.RuntimeConfigFile{}
	var read []string
	var handlers []v1alpha1.RuntimeHandler
	var err error
	switch set.name {
	case "docker": // what cri-dockerd is told stands on its command line
	case "cri-o":
		file.Path = cmp.Or(flagValue(set.argv, "config"), flagValue(set.argv, "c"), "/etc/crio/crio.conf")
		read, handlers, err = l.crioFiles(ctx, s, file.Path, &set)
		if bad := (*parseError)(nil); errors.As(err, &bad) {
			file.Path = bad.path // the drop-in that is wrong
		}
	default:
		file.Path = cmp.Or(flagValue(set.argv, "config"), flagValue(set.argv, "c"), containerdConfig)
		set.configPath = nil
		handlers, err = l.mergeTOML(s, file.Path, &set, &file, &read, 0)
	}
	if file.Path != "" {
		fi, statErr := l.root.stat(file.Path)
		if statErr == nil {
			file.ModTime = fi.ModTime().UTC()
		}
		file.Missing = errors.Is(statErr, fs.ErrNotExist)
	}
	if err != nil && !file.Missing {
		file.Error = why(err)
	}
	file.Handlers = handlers
	if len(handlers) > 0 {
		set.handlers = handlers
	}
	set.takeFlags()
	l.setSettings(set, false)
	l.put(func(o *v1alpha1.Observation) {
		r := &o.Runtime
		r.ConfigFile, r.ConfigFiles = file, read
		setIf(&r.RootDir, set.root)
		setIf(&r.StateDir, set.state)
		setIfEmpty(&r.Snapshotter, set.snapshotter)
		setIfEmpty(&r.SandboxImage, set.sandboxImage)
	})
	return nil
}

// crioTOML is the part of CRI-O's configuration that is read.
type crioTOML struct {
	Crio struct {
		Root    string `toml:"root"`
		RunRoot string `toml:"runroot"`
		Image   struct {
			PauseImage string `toml:"pause_image"`
		} `toml:"image"`
		Network struct {
			ConfDir string   `toml:"network_dir"`
			BinDirs []string `toml:"plugin_dirs"`
		} `toml:"network"`
		Runtime struct {
			Default  string `toml:"default_runtime"`
			Manager  string `toml:"cgroup_manager"` // of all handlers
			Runtimes map[string]struct {
				Path    string `toml:"runtime_path"`
				Monitor string `toml:"monitor_path"`
				Type    string `toml:"runtime_type"`
			} `toml:"runtimes"`
		} `toml:"runtime"`
	} `toml:"crio"`
}

// crioFiles reads CRI-O's file and the drop-ins beside it in the order of their names, then what the running CRI-O says of itself,
// which it tells over HTTP on the socket of CRI (server/inspect.go).
func (l *look) crioFiles(ctx context.Context, s *source, main string, set *settings) (read []string, handlers []v1alpha1.RuntimeHandler, err error) {
	dir := cmp.Or(flagValue(set.argv, "config-dir"), flagValue(set.argv, "d"), main+".d")
	files := []string{main}
	names, _ := l.root.names(dir, 100)
	for _, n := range names {
		files = append(files, path.Join(dir, n))
	}
	by := map[string]v1alpha1.RuntimeHandler{}
	for _, f := range files {
		if err := s.at(l, "reading", f); err != nil {
			return read, nil, err
		}
		b, e := l.root.read(f, 1<<20)
		if e == nil {
			read = append(read, f)
			e = takeCRIO(b, set, by)
		}
		if e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, &parseError{f, e})
		}
	}
	if l.real() {
		if b, e := askUnix(ctx, strings.TrimPrefix(l.endpoint(), "unix://"), "/config"); e == nil {
			_ = takeCRIO(b, set, by)
		}
	}
	handlers = slices.Collect(maps.Values(by))
	sortHandlers(handlers)
	return read, handlers, err
}

func takeCRIO(b []byte, set *settings, by map[string]v1alpha1.RuntimeHandler) error {
	var c crioTOML
	if err := toml.Unmarshal(b, &c); err != nil {
		return err
	}
	setIf(&set.root, c.Crio.Root)
	setIf(&set.state, c.Crio.RunRoot)
	setIf(&set.cniConf, c.Crio.Network.ConfDir)
	setIf(&set.sandboxImage, c.Crio.Image.PauseImage)
	setIf(&set.defaultName, c.Crio.Runtime.Default)
	if len(c.Crio.Network.BinDirs) > 0 {
		set.cniBin = c.Crio.Network.BinDirs
	}
	for name, r := range c.Crio.Runtime.Runtimes {
		by[name] = v1alpha1.RuntimeHandler{Name: name, Type: r.Type, BinaryName: cmp.Or(r.Path, name), ShimPath: cmp.Or(r.Monitor, "conmon")}
	}
	if m := c.Crio.Runtime.Manager; m != "" {
		set.systemdCgroup = new(m == "systemd")
	}
	for name, r := range by {
		r.SystemdCgroup = set.systemdCgroup
		by[name] = r
	}
	return nil
}

// askUnix asks an HTTP server on a Unix socket.
func askUnix(ctx context.Context, socket, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(settingsWait/2))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://crio"+path, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	r, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Body.Close() }()
	if r.StatusCode != http.StatusOK {
		return nil, errors.New(r.Status)
	}
	return io.ReadAll(io.LimitReader(r.Body, 1<<20))
}

// certsDirs are containerd's directories of hosts.toml where its configuration names none: from 2.3 on it looks for them by itself
// (plugins/cri/images/plugin.go), before that it reads none.
func certsDirs(version string) []string {
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	if version != "" && (number(major) < 2 || number(major) == 2 && number(minor) < 3) {
		return nil
	}
	return []string{"/etc/containerd/certs.d", "/etc/docker/certs.d"}
}

func setIfEmpty(dst *string, v string) {
	if *dst == "" {
		*dst = v
	}
}

func (l *look) mergeTOML(s *source, p string, set *settings, file *v1alpha1.RuntimeConfigFile, read *[]string, depth int) ([]v1alpha1.RuntimeHandler, error) {
	if err := s.at(l, "reading", p); err != nil {
		return nil, err
	}
	b, err := l.root.read(p, 1<<20)
	if err != nil {
		return nil, err
	}
	*read = append(*read, p)
	var c configTOML
	if err := toml.Unmarshal(b, &c); err != nil {
		return nil, &parseError{p, err}
	}
	setIf(&set.root, c.Root)
	setIf(&set.state, c.State)
	if len(c.Disabled) > 0 {
		file.DisabledPlugins, file.DisabledBy = append(file.DisabledPlugins, c.Disabled...), append(file.DisabledBy, p)
	}
	by := map[string]v1alpha1.RuntimeHandler{}
	for _, cri := range []criTOML{c.Plugins.Grpc, c.Plugins.Runtime} {
		setIf(&set.sandboxImage, cri.SandboxImage)
		setIf(&set.snapshotter, cri.Containerd.Snapshotter)
		setIf(&set.defaultName, cri.Containerd.DefaultRuntimeName)
		setIf(&set.cniConf, cri.CNI.ConfDir)
		if len(cri.CNI.BinDirs) > 0 {
			set.cniBin = cri.CNI.BinDirs
		} else if cri.CNI.BinDir != "" {
			set.cniBin = []string{cri.CNI.BinDir}
		}
		setIf(&file.ConfigPath, cri.Registry.ConfigPath)
		for name, r := range cri.Containerd.Runtimes {
			by[name] = handlerOf(name, r.Type, r.Path, r.Options)
		}
	}
	setIf(&set.snapshotter, c.Plugins.Images.Snapshotter)
	setIf(&set.sandboxImage, c.Plugins.Images.PinnedImages["sandbox"])
	setIf(&file.ConfigPath, c.Plugins.Images.Registry.ConfigPath)
	if file.ConfigPath != "" {
		set.configPath = filepath.SplitList(file.ConfigPath)
	}
	if depth < 2 {
		for _, imp := range c.Imports {
			if !path.IsAbs(imp) {
				imp = path.Join(path.Dir(p), imp)
			}
			matches, _ := filepath.Glob(l.root.path(imp))
			for _, m := range matches {
				if l.root != "/" && l.root != "" {
					m = strings.TrimPrefix(m, string(l.root))
				}
				more, err := l.mergeTOML(s, m, set, file, read, depth+1)
				if err != nil {
					return nil, err
				}
				for _, h := range more {
					by[h.Name] = h
				}
			}
		}
	}
	var out []v1alpha1.RuntimeHandler
	for _, h := range by {
		out = append(out, h)
	}
	sortHandlers(out)
	return out, nil
}

// parseError is a file that could be read but not understood. The parser's own text may quote the file: only its first line
// is kept.
type parseError struct {
	path string
	err  error
}

func (e *parseError) Error() string {
	text, _, _ := strings.Cut(e.err.Error(), "\n")
	return e.path + ": " + text
}

func (e *parseError) Unwrap() error { return e.err }

// searchPath is where containerd, started by systemd, looks for binaries.
var searchPath = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// shimName is the binary of a runtime type: io.containerd.runc.v2 is containerd-shim-runc-v2.
func shimName(kind string) string {
	if path.IsAbs(kind) { // containerd core/runtime/v2/shim_manager.go
		return kind
	}
	parts := strings.Split(kind, ".")
	if len(parts) < 2 {
		return ""
	}
	return "containerd-shim-" + parts[len(parts)-2] + "-" + parts[len(parts)-1]
}

// find looks a binary up in directories. Only what can be run counts.
func (l *look) find(s *source, name string, dirs []string) (string, error) {
	if name == "" {
		return "", nil
	}
	if path.IsAbs(name) {
		dirs, name = []string{path.Dir(name)}, path.Base(name)
	}
	for _, d := range dirs {
		p := path.Join(d, name)
		if err := s.at(l, "reading", p); err != nil {
			return "", err
		}
		if fi, err := l.root.stat(p); err == nil && fi.Mode().IsRegular() && fi.Mode().Perm()&0o111 != 0 {
			return p, nil
		}
	}
	return "", nil
}
