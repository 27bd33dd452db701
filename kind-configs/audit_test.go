package kindconfigs

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"
)

func policy(t *testing.T) auditv1.Policy {
	t.Helper()
	var p auditv1.Policy
	if err := yaml.UnmarshalStrict([]byte(Files(1, "")[AuditPolicy]), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestAuditTellsNothing: the log has the learner's requests and nobody's else, sickbay's own least of all, and no bodies.
func TestAuditTellsNothing(t *testing.T) {
	p := policy(t)
	if p.APIVersion != "audit.k8s.io/v1" || p.Kind != "Policy" {
		t.Errorf("the API server would not know %s %s", p.APIVersion, p.Kind)
	}
	kept := 0
	for i, r := range p.Rules {
		if r.Level == auditv1.LevelNone {
			continue
		}
		kept++
		if r.Level != auditv1.LevelMetadata || !slices.Equal(r.Users, []string{OnCall}) {
			t.Errorf("rule %d keeps %s of %v", i, r.Level, r.Users)
		}
		for _, v := range r.Verbs {
			if slices.Contains([]string{"get", "list", "watch"}, v) {
				t.Errorf("rule %d keeps %s: that only reads", i, v)
			}
		}
		if len(r.Verbs) == 0 && len(r.Resources) == 0 {
			t.Errorf("rule %d keeps everything", i)
		}
	}
	if last := p.Rules[len(p.Rules)-1]; kept == 0 || last.Level != auditv1.LevelNone || len(last.Users)+len(last.Verbs)+len(last.Resources) > 0 {
		t.Errorf("%d rules keep something, and the last one is %+v", kept, last)
	}
	if !slices.Contains(p.OmitStages, auditv1.StageRequestReceived) {
		t.Error("each request is there twice")
	}
}

// TestAuditFlags: in kubeadm's both versions the policy is where Files puts it, the log where it is read, and bounded.
func TestAuditFlags(t *testing.T) {
	c, err := Cluster(Options{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	patches := len(c.KubeadmConfigPatches)
	Audit(c)
	versions := map[string]bool{}
	for _, doc := range strings.Split(c.KubeadmConfigPatches[patches], "\n---\n") {
		flags, mounts, version := apiServer(t, doc)
		versions[version] = true
		if flags["audit-policy-file"] != AuditPolicy || flags["audit-log-path"] != AuditLogDir+"/audit.log" {
			t.Errorf("%s: %v", version, flags)
		}
		for _, bound := range []string{"audit-log-maxsize", "audit-log-maxbackup"} {
			if n := flags[bound]; n != "1" && n != "2" {
				t.Errorf("%s: %s is %q", version, bound, n)
			}
		}
		if mounts["/kind/audit"] != "/kind/audit readOnly" || mounts[AuditLogDir] != AuditLogDir {
			t.Errorf("%s: %v", version, mounts)
		}
	}
	if len(versions) != 2 {
		t.Errorf("%v", versions)
	}
}

// apiServer reads the flags of the API server of either version of kubeadm's configuration, and its mounts.
func apiServer(t *testing.T, doc string) (flags, mounts map[string]string, version string) {
	t.Helper()
	var v3 struct {
		APIVersion, Kind string
		APIServer        struct {
			ExtraArgs    map[string]string
			ExtraVolumes []volume
		}
	}
	var v4 struct {
		APIVersion, Kind string
		APIServer        struct {
			ExtraArgs    []struct{ Name, Value string }
			ExtraVolumes []volume
		}
	}
	flags, mounts = map[string]string{}, map[string]string{}
	err := yaml.UnmarshalStrict([]byte(doc), &v3)
	volumes := v3.APIServer.ExtraVolumes
	if err != nil {
		err = yaml.UnmarshalStrict([]byte(doc), &v4)
		volumes = v4.APIServer.ExtraVolumes
	}
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range v3.APIServer.ExtraArgs {
		flags[k] = v
	}
	for _, a := range v4.APIServer.ExtraArgs {
		flags[a.Name] = a.Value
	}
	for _, m := range volumes {
		mounts[m.MountPath] = m.HostPath
		if m.ReadOnly {
			mounts[m.MountPath] += " readOnly"
		}
	}
	return flags, mounts, cmp.Or(v4.APIVersion, v3.APIVersion)
}

type volume struct {
	Name, HostPath, MountPath, PathType string
	ReadOnly                            bool
}

// TestAuditIsNoOtherCluster: one that was made without a log is not made anew for it, so Sum is taken before; and kind needs no file of
// this machine's.
func TestAuditIsNoOtherCluster(t *testing.T) {
	c, err := Cluster(Options{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(strings.Join(c.KubeadmConfigPatches, ""), "audit") {
		t.Error("it is in the sum")
	}
	Audit(c)
	if i := slices.IndexFunc(c.Nodes, func(n v1alpha4.Node) bool { return len(n.ExtraMounts) > 0 }); i >= 0 {
		t.Errorf("node %d: %v", i, c.Nodes[i].ExtraMounts)
	}
}
