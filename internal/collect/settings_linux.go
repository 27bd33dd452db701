package collect

import (
	"context"
	"encoding/json"
	"path"
	"path/filepath"
	"sort"
	"strings"

	toml "github.com/pelletier/go-toml/v2"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// settings is where the runtime keeps things, from its running configuration, else its file, else its defaults.
type settings struct {
	root, state  string
	cniConf      string
	cniBin       []string
	configPath   []string // registry hosts directories
	snapshotter  string
	sandboxImage string
	handlers     []v1alpha1.RuntimeHandler
	defaultName  string
}

func defaultSettings() settings {
	return settings{
		root: "/var/lib/containerd", state: "/run/containerd",
		cniConf: "/etc/cni/net.d", cniBin: []string{"/opt/cni/bin"}, configPath: []string{"/etc/containerd/certs.d"}, snapshotter: "overlayfs",
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

// settings is what is known of the runtime by now.
func (l *look) settings() settings {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.runtime
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
	Root    string   `toml:"root"`
	State   string   `toml:"state"`
	Imports []string `toml:"imports"`
	Plugins struct {
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

// runtimeFile reads containerd's configuration on disk, for comparison and for when containerd does not answer.
func (l *look) runtimeFile(_ context.Context, s *source) error {
	if err := s.at(l, "reading", containerdConfig); err != nil {
		return err
	}
	file := v1alpha1.RuntimeConfigFile{Path: containerdConfig}
	set := defaultSettings()
	var handlers []v1alpha1.RuntimeHandler
	fi, err := l.root.stat(containerdConfig)
	if err == nil {
		file.ModTime = fi.ModTime().UTC()
		handlers, err = l.mergeTOML(s, containerdConfig, &set, &file, 0)
	}
	if err != nil {
		file.Error = why(err)
	}
	file.Handlers = handlers
	if len(handlers) > 0 {
		set.handlers = handlers
	}
	l.setSettings(set, false)
	l.put(func(o *v1alpha1.Observation) {
		o.Runtime.ConfigFile = file
		setIfEmpty(&o.Runtime.Snapshotter, set.snapshotter)
		setIfEmpty(&o.Runtime.SandboxImage, set.sandboxImage)
		setIfEmpty(&o.Runtime.RootDir, set.root)
		setIfEmpty(&o.Runtime.StateDir, set.state)
	})
	return nil
}

func setIfEmpty(dst *string, v string) {
	if *dst == "" {
		*dst = v
	}
}

func (l *look) mergeTOML(s *source, p string, set *settings, file *v1alpha1.RuntimeConfigFile, depth int) ([]v1alpha1.RuntimeHandler, error) {
	if err := s.at(l, "reading", p); err != nil {
		return nil, err
	}
	b, err := l.root.read(p, 1<<20)
	if err != nil {
		return nil, err
	}
	var c configTOML
	if err := toml.Unmarshal(b, &c); err != nil {
		return nil, &parseError{p, err}
	}
	setIf(&set.root, c.Root)
	setIf(&set.state, c.State)
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
				more, err := l.mergeTOML(s, m, set, file, depth+1)
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
	parts := strings.Split(kind, ".")
	if len(parts) < 2 {
		return ""
	}
	return "containerd-shim-" + parts[len(parts)-2] + "-" + parts[len(parts)-1]
}

// find looks a binary up as containerd does: in PATH. Only what can be run counts.
func (l *look) find(s *source, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	dirs := searchPath
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
