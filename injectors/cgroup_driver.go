package injectors

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var cgroupDriver = Mechanism{
	Name: "cgroup-driver",
	Doc:  "makes the kubelet and the runtime disagree about cgroups, in each way that still happens",
	New:  func() Params { return &CgroupDriver{Way: "stale", Handler: "test-handler"} },
}

// CgroupDriver are the parameters of cgroup-driver.
type CgroupDriver struct {
	// Way:
	//
	// stale: the kubelet asked while the runtime was on cgroupfs, the runtime is on systemd now: loud, no pod starts.
	// flip: the runtime's default handler is changed and only the runtime restarted: silent with a kubelet on systemd.
	// empty-options: another handler becomes the default, a copy without options, as vendors' runtimes are often added: it runs
	// on cgroupfs, and the runtime answers with the driver of the old one: silent, and it survives restarts. (The handler runc
	// cannot be it: containerd fills in its options.)
	// handler: one RuntimeClass handler is changed, and only its pods suffer.
	// wrapper: the OCI runtime is a script that names systemd whatever the configuration says, which says cgroupfs: loud, and
	// it survives restarts. A containerd 1 names no driver, so there the kubelet's own configuration says cgroupfs.
	// refuse-v1: the kubelet is told not to run on cgroup v1; only on a host that has v1.
	Way string `json:"way,omitempty" jsonschema:"enum=stale,enum=flip,enum=empty-options,enum=handler,enum=wrapper,enum=refuse-v1"`
	// Handler is what way handler changes.
	Handler string `json:"handler,omitempty"`
}

var cgroupWays = []string{"stale", "flip", "empty-options", "handler", "wrapper", "refuse-v1"}

func (c *CgroupDriver) Validate() error {
	if !slices.Contains(cgroupWays, c.Way) {
		return fmt.Errorf("way %q: want one of %s", c.Way, strings.Join(cgroupWays, ", "))
	}
	if c.Handler == "" || strings.ContainsAny(c.Handler, ".\"'[] ") {
		return fmt.Errorf("handler %q: want the name of a runtime handler", c.Handler)
	}
	return nil
}

// kubeletCgroups are what a kubelet on cgroupfs makes beside systemd's slices; kind puts it below a cgroup of its own.
var kubeletCgroups = []string{"kubepods", "kubelet", "kubelet/kubepods"}

const (
	containerdFile = "/etc/containerd/config.toml"
	runcWrapper    = "/usr/local/sbin/runc-wrapper"
)

func (c *CgroupDriver) Plan(ctx context.Context, n Node) (*Plan, error) {
	if c.Way == "refuse-v1" {
		return c.refuseV1(n)
	}
	if op.CRIOf(n.Sys) == op.CRIO {
		return c.planCRIO(ctx, n)
	}
	text, err := n.Sys.Read(containerdFile)
	if err != nil {
		return nil, cgroupDriver.unsupported(err.Error())
	}
	conf, err := readRuntimes(text)
	if err != nil {
		return nil, cgroupDriver.unsupported(err.Error())
	}
	handler := conf.fallback
	if c.Way == "handler" {
		handler = c.Handler
	}
	systemd, ok := conf.systemd[handler]
	if !ok {
		return nil, cgroupDriver.unsupported(fmt.Sprintf("%s sets no SystemdCgroup for handler %s", containerdFile, handler))
	}
	var edited []byte
	if c.Way == "empty-options" {
		edited, err = otherDefault(text, handler)
	} else {
		edited, err = setSystemdCgroup(text, handler, !systemd)
	}
	if err != nil {
		return nil, cgroupDriver.unsupported(err.Error())
	}
	switch c.Way {
	case "stale":
		if haveTool(ctx, n, "curl") != nil {
			return nil, cgroupDriver.unsupported("the node has no curl to ask for the kubelet's health")
		}
		return &Plan{Ops: []op.Op{&op.SpareCgroups{Names: kubeletCgroups}, &op.StaleAnswer{File: op.File{Path: containerdFile, Data: edited}, Runtime: op.Containerd.Unit, Kubelet: kubeletUnit}}}, nil
	case "wrapper":
		if systemd && namesNoDriver(ctx, n) {
			m, err := kubeletMerge(map[string]json.RawMessage{"cgroupDriver": json.RawMessage(`"cgroupfs"`)})
			if err != nil {
				return nil, err
			}
			return &Plan{Ops: append([]op.Op{&op.SpareCgroups{Names: kubeletCgroups}}, restarting(kubeletUnit, m)...)}, nil
		}
		if edited, err = setBinary(edited, handler, runcWrapper); err != nil {
			return nil, cgroupDriver.unsupported(err.Error())
		}
		script := "#!/bin/sh\nexec runc --systemd-cgroup \"$@\"\n"
		if !systemd {
			script = "#!/bin/sh\n[ \"$1\" = --systemd-cgroup ] && shift\nexec runc \"$@\"\n"
		}
		// The kubelet asks again when it starts, and believes the configuration.
		return &Plan{Ops: []op.Op{
			&op.SpareCgroups{Names: kubeletCgroups},
			op.PauseUnit(kubeletUnit), op.PauseUnit(op.Containerd.Unit),
			&op.File{Path: runcWrapper, Data: []byte(script), Mode: 0o755},
			&op.File{Path: containerdFile, Data: edited},
			&op.Resume{Unit: op.Containerd.Unit}, &op.Resume{Unit: kubeletUnit},
		}}, nil
	case "empty-options":
		// The kubelet too: that its restart does not help is the point.
		return &Plan{Ops: []op.Op{
			op.PauseUnit(kubeletUnit), op.PauseUnit(op.Containerd.Unit),
			&op.File{Path: containerdFile, Data: edited},
			&op.Resume{Unit: op.Containerd.Unit}, &op.Resume{Unit: kubeletUnit},
		}}, nil
	default:
		return &Plan{Ops: restarting(op.Containerd.Unit, &op.File{Path: containerdFile, Data: edited})}, nil
	}
}

// namesNoDriver tells a containerd of before CRI's RuntimeConfig.
func namesNoDriver(ctx context.Context, n Node) bool {
	out, err := n.Sys.Run(ctx, "containerd", "--version")
	return err == nil && regexp.MustCompile(` v?1\.\d`).Match(out)
}

func (c *CgroupDriver) refuseV1(n Node) (*Plan, error) {
	if _, err := n.Sys.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return nil, cgroupDriver.unsupported("this host has cgroup v2: no kubelet refuses it")
	}
	m, err := kubeletMerge(map[string]json.RawMessage{"failCgroupV1": json.RawMessage("true")})
	if err != nil {
		return nil, err
	}
	return &Plan{Ops: restarting(kubeletUnit, m)}, nil
}

// runtimes is what containerd's configuration says of handlers.
type runtimes struct {
	fallback string
	systemd  map[string]bool
}

// readRuntimes reads a configuration of version 2 or 3: the plugin is called differently, the rest is the same.
func readRuntimes(text []byte) (runtimes, error) {
	type cri struct {
		Containerd struct {
			Default  string `toml:"default_runtime_name"`
			Runtimes map[string]struct {
				Options struct {
					SystemdCgroup *bool `toml:"SystemdCgroup"`
				} `toml:"options"`
			} `toml:"runtimes"`
		} `toml:"containerd"`
	}
	var doc struct {
		Plugins struct {
			V2 cri `toml:"io.containerd.grpc.v1.cri"`
			V3 cri `toml:"io.containerd.cri.v1.runtime"`
		} `toml:"plugins"`
	}
	if err := toml.Unmarshal(text, &doc); err != nil {
		return runtimes{}, fmt.Errorf("%s: %w", containerdFile, err)
	}
	out := runtimes{fallback: "runc", systemd: map[string]bool{}}
	for _, c := range []cri{doc.Plugins.V2, doc.Plugins.V3} {
		if c.Containerd.Default != "" {
			out.fallback = c.Containerd.Default
		}
		for name, r := range c.Containerd.Runtimes {
			if r.Options.SystemdCgroup != nil {
				out.systemd[name] = *r.Options.SystemdCgroup
			}
		}
	}
	return out, nil
}

// The file is edited as text: what a person sees in it afterwards is what another person would have written.

func optionsHeader(handler string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)^[ \t]*\[plugins\.[^\n]*\.runtimes\.['"]?` + regexp.QuoteMeta(handler) + `['"]?\.options\][ \t]*$`)
}

var (
	anyHeader   = regexp.MustCompile(`(?m)^[ \t]*\[`)
	systemdLine = regexp.MustCompile(`(?m)^([ \t]*SystemdCgroup[ \t]*=[ \t]*)(true|false)[ \t]*$`)
	binaryLine  = regexp.MustCompile(`(?m)^[ \t]*BinaryName[ \t]*=.*\n`)
)

// section finds where the body of the handler's options table begins and ends.
func section(text []byte, handler string) (from, to int, err error) {
	at := optionsHeader(handler).FindIndex(text)
	if at == nil {
		return 0, 0, fmt.Errorf("%s has no options table for handler %s", containerdFile, handler)
	}
	to = len(text)
	if next := anyHeader.FindIndex(text[at[1]:]); next != nil {
		to = at[1] + next[0]
	}
	return at[1], to, nil
}

func setSystemdCgroup(text []byte, handler string, on bool) ([]byte, error) {
	from, to, err := section(text, handler)
	if err != nil {
		return nil, err
	}
	body := systemdLine.ReplaceAll(text[from:to], fmt.Appendf(nil, "${1}%t", on))
	return slices.Concat(text[:from], body, text[to:]), nil
}

// vendorHandler is the name of the handler that way empty-options adds.
const vendorHandler = "hardened"

var defaultLine = regexp.MustCompile(`(?m)^([ \t]*default_runtime_name[ \t]*=[ \t]*).*$`)

// otherDefault adds a copy of a handler without its options and makes it the default.
func otherDefault(text []byte, handler string) ([]byte, error) {
	header := regexp.MustCompile(`(?m)^[ \t]*\[(plugins\.[^\n]*\.runtimes\.)['"]?` + regexp.QuoteMeta(handler) + `['"]?\][ \t]*\n`)
	at := header.FindSubmatchIndex(text)
	if at == nil || !defaultLine.Match(text) {
		return nil, fmt.Errorf("%s has no table for handler %s, or no default_runtime_name", containerdFile, handler)
	}
	body := text[at[1]:]
	if next := anyHeader.FindIndex(body); next != nil {
		body = body[:next[0]]
	}
	added := fmt.Appendf(nil, "\n[%s%s]\n%s", text[at[2]:at[3]], vendorHandler, body)
	return slices.Concat(defaultLine.ReplaceAll(text, fmt.Appendf(nil, "${1}%q", vendorHandler)), added), nil
}

func setBinary(text []byte, handler, program string) ([]byte, error) {
	from, to, err := section(text, handler)
	if err != nil {
		return nil, err
	}
	body := binaryLine.ReplaceAll(text[from:to], nil)
	return slices.Concat(text[:from], fmt.Appendf(nil, "\n    BinaryName = %q", program), body, text[to:]), nil
}
