package kindconfigs

import (
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	kubelet "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	syaml "sigs.k8s.io/yaml"
)

func TestEveryTopologyDecodesStrictlyAsKindDoes(t *testing.T) {
	all := Topologies()
	if len(all) < 3 {
		t.Fatalf("topologies: %v", all)
	}
	for _, name := range all {
		t.Run(name, func(t *testing.T) {
			raw, err := files.ReadFile(name + ".yaml")
			if err != nil {
				t.Fatal(err)
			}
			d := yaml.NewDecoder(strings.NewReader(string(raw)))
			d.KnownFields(true)
			var c v1alpha4.Cluster
			if err := d.Decode(&c); err != nil {
				t.Fatal(err)
			}
			if c.APIVersion != "kind.x-k8s.io/v1alpha4" || c.Kind != "Cluster" {
				t.Errorf("kind would not know %s %s", c.APIVersion, c.Kind)
			}
			if c.Networking.APIServerAddress != "127.0.0.1" || c.Networking.IPFamily != v1alpha4.IPv4Family {
				t.Errorf("networking %+v: the API server must listen on loopback only", c.Networking)
			}
			victims, planes := 0, 0
			for _, n := range c.Nodes {
				switch {
				case n.Role == v1alpha4.ControlPlaneRole:
					planes++
					if n.Labels[VictimLabel] != "" {
						t.Error("the control plane is a victim")
					}
				case n.Labels[VictimLabel] == "true":
					victims++
				}
			}
			if planes != 1 || victims != len(c.Nodes)-1 || victims == 0 {
				t.Errorf("%d control planes and %d victims of %d nodes", planes, victims, len(c.Nodes))
			}
		})
	}
}

// A misspelt kubelet field is refused by the kubelet only after a minute of starting; here at once.
func TestPatchesAreReal(t *testing.T) {
	for _, profile := range Profiles() {
		for _, version := range []string{"", "v1.34.1", "v1.36.0", "v1.37.2"} {
			c, err := Cluster(Options{Name: "x", Profile: profile, Kubernetes: version, CgroupV1: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range c.KubeadmConfigPatches {
				for _, doc := range strings.Split(p, "\n---\n") {
					var m struct{ APIVersion, Kind string }
					if err := syaml.Unmarshal([]byte(doc), &m); err != nil {
						t.Fatal(err)
					}
					switch m.Kind {
					case "KubeletConfiguration":
						var k kubelet.KubeletConfiguration
						if err := syaml.UnmarshalStrict([]byte(doc), &k); err != nil {
							t.Errorf("%s %s: %v", profile, version, err)
						}
						if k.EvictionHard != nil || k.ImageGCHighThresholdPercent != nil {
							t.Errorf("%s: the host's disk would be judged", profile)
						}
						if k.CrashLoopBackOff.MaxContainerRestartPeriod != nil && version == "v1.34.1" {
							t.Errorf("%s: a 1.34 kubelet refuses crashLoopBackOff", profile)
						}
					case "ClusterConfiguration":
						if m.APIVersion != "kubeadm.k8s.io/v1beta3" && m.APIVersion != "kubeadm.k8s.io/v1beta4" {
							t.Errorf("kind ignores a patch for %q", m.APIVersion)
						}
					default:
						t.Errorf("a patch of kind %q", m.Kind)
					}
				}
			}
		}
	}
}

func TestStockChangesNoTiming(t *testing.T) {
	c, err := Cluster(Options{Name: "x", Profile: "stock"})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.KubeadmConfigPatches {
		if strings.Contains(p, "kind: KubeletConfiguration") || strings.Contains(p, "node-monitor") {
			t.Errorf("stock patches timings:\n%s", p)
		}
	}
}

func TestUnknownNamesAreRefusedWithTheKnownOnes(t *testing.T) {
	for _, o := range []Options{{Topology: "huge"}, {Topology: "profiles/quick"}, {Profile: "fast"}} {
		if _, err := Cluster(o); err == nil || !strings.Contains(err.Error(), "there are") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestSumIgnoresNameAndPort(t *testing.T) {
	sum := func(o Options) string {
		c, err := Cluster(o)
		if err != nil {
			t.Fatal(err)
		}
		return Sum(c)
	}
	a := sum(Options{Name: "a"})
	if sum(Options{Name: "b", APIPort: 6443}) != a {
		t.Error("name or port changed the sum")
	}
	for _, o := range []Options{{Profile: "stock"}, {Topology: "small"}, {CgroupV1: true}} {
		if sum(o) == a {
			t.Errorf("%+v has the sum of the default", o)
		}
	}
}

func TestAppArmorMountsOnlyWhereAsked(t *testing.T) {
	plain, err := Cluster(Options{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	armed, err := Cluster(Options{Name: "x", AppArmor: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range plain.Nodes {
		if len(plain.Nodes[i].ExtraMounts) != 0 {
			t.Errorf("node %d has mounts unasked: %v", i, plain.Nodes[i].ExtraMounts)
		}
		if len(armed.Nodes[i].ExtraMounts) != len(AppArmorMounts()) {
			t.Errorf("node %d: %v", i, armed.Nodes[i].ExtraMounts)
		}
	}
	if Sum(plain) == Sum(armed) {
		t.Error("two clusters that differ have one name")
	}
}

func TestStretch(t *testing.T) {
	c, err := Cluster(Options{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	before, patches := Sum(c), len(c.KubeadmConfigPatches)
	if Stretch(c, 1); len(c.KubeadmConfigPatches) != patches || Sum(c) != before {
		t.Error("a machine that is no slower gets other bounds")
	}
	Stretch(c, 10.5)
	kinds := map[string]string{}
	for _, doc := range strings.Split(c.KubeadmConfigPatches[patches], "\n---\n") {
		var m struct {
			APIVersion, Kind string
			Timeouts         map[string]string
			APIServer        map[string]string
			Patches          struct{ Directory string }
		}
		if err := syaml.UnmarshalStrict([]byte(doc), &m); err != nil {
			t.Fatalf("%v:\n%s", err, doc)
		}
		kinds[m.APIVersion+" "+m.Kind] += m.Timeouts["controlPlaneComponentHealthCheck"] + m.APIServer["timeoutForControlPlane"] + m.Patches.Directory
	}
	for k, want := range map[string]string{
		"v1beta4 InitConfiguration": "42m0s" + PatchesDir, "v1beta4 JoinConfiguration": "42m0s",
		"v1beta3 InitConfiguration": PatchesDir, "v1beta3 ClusterConfiguration": "42m0s",
	} {
		if got := kinds["kubeadm.k8s.io/"+k]; got != want {
			t.Errorf("%s has %q, want %q", k, got, want)
		}
	}
}

// A readiness probe that kubeadm does not have itself would have no handler, and the kubelet refuses the pod.
func TestPatches(t *testing.T) {
	if p := Patches(1, "v1.37.2"); p != nil {
		t.Errorf("a machine that is no slower gets %v", p)
	}
	for version, want := range map[string]string{
		"v1.37.2": "etcd kube-apiserver kube-scheduler", "": "kube-apiserver", "v1.30.0": "kube-apiserver",
	} {
		var got []string
		for name, patch := range Patches(10, version) {
			if strings.Contains(patch, "readinessProbe") {
				got = append(got, strings.TrimSuffix(name, "+strategic.json"))
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%q: readiness of %v, want %s", version, got, want)
		}
	}
}
