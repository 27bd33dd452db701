// Package kindconfigs holds the shapes of clusters sickbay makes: a kind Cluster document per topology and kubeadm patches per
// profile, embedded.
//
// It knows kind's and kubeadm's configuration, nothing of engines, running clusters or faults.
package kindconfigs

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"
)

//go:embed *.yaml audit/*.yaml profiles/*.yaml profiles/*.toml
var files embed.FS

// VictimLabel marks the nodes faults may be injected into. The control plane never carries it.
const VictimLabel = "sickbay.dev/victim"

// Names taken when none is asked for.
const (
	DefaultTopology = "default"
	WideTopology    = "wide"
	DefaultProfile  = "quick"
)

// Options say which cluster is wanted.
type Options struct {
	Name     string
	Topology string // DefaultTopology when empty
	Profile  string // DefaultProfile when empty
	// Kubernetes is the node image's version, v1.37.2; empty means a current one.
	Kubernetes string
	// CgroupV1 tells that the engine's host has cgroup v1.
	CgroupV1 bool
	// AppArmor tells that the engine's host has AppArmor, and a parser that runs in the nodes: they get what loading profiles takes.
	AppArmor bool
	// Runtime is the node image's where it is not kind's own: crio or containerd@1.7.
	Runtime string
	// APIPort is a fixed port on 127.0.0.1, 0 for any free one.
	APIPort int
}

// Topologies lists the embedded topologies.
func Topologies() []string { return names(".", func(string) bool { return true }) }

// PatientProfile is for machines that are emulated in software.
const PatientProfile = "patient"

// Profiles lists the timing profiles.
func Profiles() []string { return []string{"quick", PatientProfile, "stock"} }

func names(dir string, keep func(string) bool) []string {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		panic(err) // embedded
	}
	var all []string
	for _, e := range entries {
		if n, ok := strings.CutSuffix(e.Name(), ".yaml"); ok && keep(n) {
			all = append(all, n)
		}
	}
	return all
}

// Topology is a topology's document as it stands, without name, profile and port.
func Topology(name string) (*v1alpha4.Cluster, error) {
	raw, err := files.ReadFile(name + ".yaml")
	if err != nil || strings.ContainsAny(name, "/.") {
		return nil, fmt.Errorf("there is no topology %q; there are %s", name, strings.Join(Topologies(), ", "))
	}
	var c v1alpha4.Cluster
	if err := yaml.UnmarshalStrict(raw, &c); err != nil {
		return nil, fmt.Errorf("topology %s: %w", name, err)
	}
	return &c, nil
}

// crio is Options.Runtime for CRI-O.
const crio = "crio"

// Cluster is the kind configuration for these options.
func Cluster(o Options) (*v1alpha4.Cluster, error) {
	if o.Topology == "" {
		o.Topology = DefaultTopology
	}
	if o.Profile == "" {
		o.Profile = DefaultProfile
	}
	c, err := Topology(o.Topology)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(Profiles(), o.Profile) {
		return nil, fmt.Errorf("there is no profile %q; there are %s", o.Profile, strings.Join(Profiles(), ", "))
	}
	patches := []string{"base", o.Profile}
	for _, extra := range names("profiles", func(n string) bool { return strings.HasPrefix(n, o.Profile+"-from-") }) {
		if atLeast(o.Kubernetes, strings.TrimPrefix(extra, o.Profile+"-from-")) {
			patches = append(patches, extra)
		}
	}
	if o.CgroupV1 && atLeast(o.Kubernetes, "1.31") {
		patches = append(patches, "cgroup-v1")
	}
	if o.Runtime == crio {
		patches = append(patches, crio)
	}
	for _, p := range patches {
		raw, err := files.ReadFile("profiles/" + p + ".yaml")
		if err != nil {
			return nil, err
		}
		if documents(string(raw)) > 0 {
			c.KubeadmConfigPatches = append(c.KubeadmConfigPatches, string(raw))
		}
	}
	if o.Runtime != crio {
		// Only some profiles and versions have something to say to containerd.
		for _, p := range []string{o.Profile, strings.ReplaceAll(o.Runtime, "@", "-")} {
			raw, err := files.ReadFile("profiles/" + p + ".toml")
			if err == nil {
				c.ContainerdConfigPatches = append(c.ContainerdConfigPatches, string(raw))
			} else if !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
	}
	if o.AppArmor {
		for i := range c.Nodes {
			c.Nodes[i].ExtraMounts = append(c.Nodes[i].ExtraMounts, AppArmorMounts()...)
		}
	}
	c.Name = o.Name
	c.Networking.APIServerPort = int32(o.APIPort)
	return c, nil
}

// Mount is something of the host's in a node.
type Mount = v1alpha4.Mount

// AppArmorMounts are what a node needs to load AppArmor profiles: the kernel's own files about them, and last the program. The host's
// /etc/apparmor.d is not among them: what a node writes there must not be seen by its neighbours.
func AppArmorMounts() []Mount {
	return []Mount{
		{HostPath: "/sys/kernel/security", ContainerPath: "/sys/kernel/security"},
		{HostPath: "/usr/sbin/apparmor_parser", ContainerPath: "/usr/sbin/apparmor_parser", Readonly: true},
	}
}

// Sum names a configuration by content: two clusters of one sum are the same but for their names and ports.
func Sum(c *v1alpha4.Cluster) string {
	plain := *c
	plain.Name, plain.Networking.APIServerPort = "", 0
	raw, err := yaml.Marshal(plain)
	if err != nil {
		panic(err) // plain data
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:6])
}

// documents counts the documents of a stream that are not only comments: kind fails on an empty patch.
func documents(stream string) int {
	n := 0
	for _, d := range strings.Split(stream, "\n---") {
		for line := range strings.Lines(d) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") && line != "---" {
				n++
				break
			}
		}
	}
	return n
}

// atLeast tells whether a version (v1.37.2, or empty for a current one) is of this minor (1.35) or a later one.
func atLeast(version, minor string) bool {
	if version == "" {
		return true
	}
	have, ok := minorOf(version)
	want, _ := minorOf(minor)
	return !ok || have >= want
}

func minorOf(version string) (int, bool) {
	f := strings.Split(strings.TrimPrefix(version, "v"), ".")
	if len(f) < 2 || f[0] != "1" {
		return 0, false
	}
	n, err := strconv.Atoi(f[1])
	return n, err == nil
}
