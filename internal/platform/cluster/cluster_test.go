package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/sickbay-dev/sickbay/internal/lockfile"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
)

var ours = &mark{Topology: "default", Profile: "quick", Sum: "0123456789ab"}

const image = "sickbay.dev/node:v1.37.2-x"

func owned() map[string]network {
	return map[string]network{Network: {ID: "n1", Labels: map[string]string{ownedLabel: "true"}}}
}

func quickly() Timeouts {
	// Generous where a fake client is a process: under the race detector and load one takes seconds.
	return Timeouts{Create: time.Second, Ready: 50 * time.Millisecond, Quiet: 30 * time.Second, Remove: 30 * time.Second}
}

func TestMarkTellsWhatAClusterWasMadeAs(t *testing.T) {
	for _, m := range []mark{{"default", "quick", "ab12", false}, {"small", "stock", "ff", true}} {
		if got, ok := parseMark(m.path()); !ok || got != m {
			t.Errorf("%+v came back as %+v, %v", m, got, ok)
		}
	}
	for _, p := range []string{"/var", "/etc/sickbay/cluster", "/etc/sickbay/cluster/x", "/etc/other/a.b.c"} {
		if m, ok := parseMark(p); ok {
			t.Errorf("%s is read as a mark: %+v", p, m)
		}
	}
}

func TestFindKnowsOursFromForeign(t *testing.T) {
	e, _, _ := engineWith(t, world{Containers: []container{
		kindNode("sickbay", "sickbay-worker10", Worker, "paused", ours), kindNode("sickbay", "sickbay-worker2", Worker, "running", ours),
		kindNode("sickbay", "sickbay-worker", Worker, "running", ours), kindNode("sickbay", "sickbay-control-plane", ControlPlane, "running", ours),
		kindNode("theirs", "theirs-control-plane", ControlPlane, "running", nil), kindNode("theirs", "theirs-worker", Worker, "running", nil),
		kindNode("mixed", "mixed-control-plane", ControlPlane, "running", ours), kindNode("mixed", "mixed-worker", Worker, "running", nil),
	}})
	c, err := Find(t.Context(), e, "")
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, n := range c.Nodes() {
		order = append(order, n.Name)
	}
	if !slices.Equal(order, []string{"sickbay-control-plane", "sickbay-worker", "sickbay-worker2", "sickbay-worker10"}) {
		t.Errorf("order %v", order)
	}
	if !c.Ours || c.Topology != "default" || c.Profile != "quick" || c.Spec != ours.Sum || c.Nodes()[3].State != "paused" {
		t.Errorf("%+v", c)
	}
	if v := c.Victims(); len(v) != 3 || slices.Contains(v, "sickbay-control-plane") {
		t.Errorf("victims %v", v)
	}
	for _, name := range []string{"theirs", "mixed"} {
		c, err := Find(t.Context(), e, name)
		if err != nil || c.Ours || len(c.Victims()) > 0 {
			t.Errorf("%s: ours %v, victims %v, %v", name, c.Ours, c.Victims(), err)
		}
	}
	_, err = Find(t.Context(), e, "none")
	var missing *NotFoundError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "mixed, sickbay, theirs") {
		t.Errorf("err = %v", err)
	}
	if all, err := List(t.Context(), e); err != nil || len(all) != 3 {
		t.Errorf("%d clusters, %v", len(all), err)
	}
}

func TestUpLeavesAForeignClusterAlone(t *testing.T) {
	e, now, log := engineWith(t, world{Containers: []container{kindNode("sickbay", "sickbay-control-plane", ControlPlane, "running", nil)}})
	_, err := Up(t.Context(), e, UpOptions{Image: image, Timeouts: quickly()})
	var taken *TakenError
	if !errors.As(err, &taken) || taken.ExitCode() != 2 || !strings.Contains(err.Error(), "did not make") {
		t.Errorf("err = %v", err)
	}
	if err := Down(t.Context(), e, DownOptions{Timeouts: quickly()}); !errors.As(err, &taken) {
		t.Errorf("down: %v", err)
	}
	if len(now().Containers) != 1 || strings.Contains(log(), "\nrm") || strings.Contains(log(), "\nkill") || strings.Contains(log(), "\nexec") {
		t.Errorf("a foreign cluster was touched:\n%s", log())
	}
}

// TestOthersNodes: a container is a node of another tool's by its label, name and address.
func TestOthersNodes(t *testing.T) {
	other := func(name, label, value, address string) container {
		c := kindNode("", name, "", "running", nil)
		c.Config.Labels = map[string]string{label: value}
		c.NetworkSettings.Networks = map[string]struct{ IPAddress string }{"x": {address}}
		return c
	}
	e, _, _ := engineWith(t, world{Containers: []container{
		other("k3d-a-server-0", "app", "k3d", "10.1.0.2"), other("minikube", "created_by.minikube.sigs.k8s.io", "true", "10.1.0.3"),
		other("k3d-a-agent-0", "app", "k3d", "10.1.0.4"), other("stray", "app", "web", "10.1.0.5"),
	}})
	at := func(name, address string) corev1.Node {
		n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}
		return n
	}
	got, err := OthersNodes(t.Context(), e, []corev1.Node{at("k3d-a-server-0", "10.1.0.2"), at("minikube", "10.1.0.3"), at("k3d-a-agent-0", "10.9.9.9"), at("stray", "10.1.0.5")})
	if names := slices.Sorted(maps.Keys(got)); err != nil || !slices.Equal(names, []string{"k3d-a-server-0", "minikube"}) {
		t.Errorf("%v, %v", names, err)
	}
}

// TestAdopt: a cluster of others is ours after it was adopted, while it has the same containers, and stays when it is given back.
func TestAdopt(t *testing.T) {
	theirs := []container{kindNode("dev", "dev-control-plane", ControlPlane, "running", nil), kindNode("dev", "dev-worker", Worker, "running", nil)}
	alone := kindNode("alone", "alone-control-plane", ControlPlane, "running", nil)
	stopped := kindNode("stopped", "stopped-worker", Worker, "exited", nil)
	e, now, log := engineWith(t, world{Agnhost: true, Containers: append([]container{alone, stopped}, theirs...)})
	find := func(name string) *Cluster {
		t.Helper()
		c, err := Find(t.Context(), e, name)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, want := range map[string]string{"alone": "no worker", "stopped": "exited"} {
		var taken *TakenError
		if _, err := find(name).Adopt(t.Context()); !errors.As(err, &taken) || !strings.Contains(err.Error(), want) || find(name).Ours {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The fake control plane has no credentials, which come last.
	if _, err := find("dev").Adopt(t.Context()); err == nil || !strings.Contains(err.Error(), "API") {
		t.Errorf("%v", err)
	}
	c := find("dev")
	if !c.Ours || !c.Adopted || !slices.Equal(c.Victims(), []string{"dev-worker"}) || !strings.Contains(log(), "mount --bind") {
		t.Fatalf("%+v", c)
	}
	if _, err := Up(t.Context(), e, UpOptions{Name: "dev", Image: image, Timeouts: quickly()}); err == nil || !strings.Contains(err.Error(), "did not make it") {
		t.Errorf("up: %v", err)
	}
	if err := Down(t.Context(), e, DownOptions{Name: "dev", Timeouts: quickly()}); err != nil {
		t.Fatal(err)
	}
	if c := find("dev"); c.Ours || len(now().Containers) != 4 || !strings.Contains(log(), "umount") {
		t.Errorf("given back: %+v", c)
	}
	// Made again under the same name, it is another cluster.
	_, _ = find("dev").Adopt(t.Context())
	if !adopted("dev", theirs) {
		t.Error("not adopted again")
	}
	if again := append([]container{kindNode("dev", "dev-worker2", Worker, "running", nil)}, theirs...); adopted("dev", again) || adopted("../dev", theirs) {
		t.Error("other containers are adopted")
	}
}

func TestUpRefusesAnotherShape(t *testing.T) {
	e, now, _ := engineWith(t, world{Networks: owned(), Containers: []container{kindNode("sickbay", "sickbay-control-plane", ControlPlane, "running", ours)}})
	_, err := Up(t.Context(), e, UpOptions{Image: image, Topology: "small", Timeouts: quickly()})
	var taken *TakenError
	if !errors.As(err, &taken) || !strings.Contains(err.Error(), "default/quick") || !strings.Contains(err.Error(), "small/quick") {
		t.Errorf("err = %v", err)
	}
	if len(now().Containers) != 1 {
		t.Error("the cluster that was there is gone")
	}
}

func TestUpRefusesOnlineBesideClosed(t *testing.T) {
	online := *ours
	online.Online = true
	for _, there := range []*mark{ours, &online} {
		e, now, _ := engineWith(t, world{Networks: owned(), Containers: []container{kindNode("lab", "lab-control-plane", ControlPlane, "running", there)}})
		_, err := Up(t.Context(), e, UpOptions{Image: image, Online: !there.Online, Timeouts: quickly()})
		if !errors.As(err, new(*TakenError)) || !strings.Contains(err.Error(), "cluster lab may") {
			t.Errorf("beside %+v: %v", there, err)
		}
		if len(now().Containers) != 1 {
			t.Error("something was made")
		}
	}
}

func TestUpRefusesBadRequests(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	for name, tt := range map[string]struct {
		o    UpOptions
		w    world
		want string
	}{
		"name":     {o: UpOptions{Name: "Not A Name"}, want: "cannot be a cluster's name"},
		"path":     {o: UpOptions{Name: "../x"}, want: "cannot be a cluster's name"},
		"topology": {o: UpOptions{Topology: "huge"}, want: "there is no topology"},
		"profile":  {o: UpOptions{Profile: "fast"}, want: "there is no profile"},
		"port":     {o: UpOptions{APIPort: port}, want: "cannot be had"},
		"network":  {w: world{Networks: map[string]network{Network: {ID: "theirs"}}}, want: "sickbay did not make it"},
	} {
		t.Run(name, func(t *testing.T) {
			e, now, _ := engineWith(t, tt.w)
			tt.o.Image, tt.o.Timeouts = image, quickly()
			_, err := Up(t.Context(), e, tt.o)
			var class interface{ ExitCode() int }
			if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.As(err, &class) || class.ExitCode() != 2 {
				t.Errorf("err = %v", err)
			}
			if w := now(); len(w.Networks) != len(tt.w.Networks) {
				t.Errorf("networks %v", w.Networks)
			}
		})
	}
}

func TestDownAfterAnything(t *testing.T) {
	registry := container{ID: "id-of-registry", Name: "/registry"}
	registry.Config.Labels = map[string]string{Label: "sickbay"}
	registry.NetworkSettings.Networks = map[string]struct{ IPAddress string }{Network: {}}
	e, now, log := engineWith(t, world{
		Networks: owned(),
		Containers: []container{
			kindNode("sickbay", "sickbay-control-plane", ControlPlane, "exited", ours), kindNode("sickbay", "sickbay-worker", Worker, "paused", ours),
			kindNode("sickbay", "sickbay-worker2", Worker, "running", ours), kindNode("sickbay", "sickbay-worker3", Worker, "dead", ours), registry,
			kindNode("theirs", "theirs-control-plane", ControlPlane, "running", nil),
		},
		Volumes: []string{"vol-sickbay-control-plane", "vol-sickbay-worker", "vol-theirs-control-plane"},
	})
	// The foreign cluster is on its own network.
	w := now()
	w.Containers[5].NetworkSettings.Networks = nil
	rewrite(t, w)
	state, err := stateDir("sickbay")
	if err != nil {
		t.Fatal(err)
	}
	if err := writeSecret(filepath.Join(state, "kubeconfig"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // twice is as good as once
		if err := Down(t.Context(), e, DownOptions{Timeouts: quickly()}); err != nil {
			t.Fatal(err)
		}
		w := now()
		if len(w.Containers) != 1 || w.Containers[0].cluster() != "theirs" || len(w.Networks) != 0 || !slices.Equal(w.Volumes, []string{"vol-theirs-control-plane"}) {
			t.Errorf("left %+v", w)
		}
		if _, err := os.Stat(state); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the state folder is still there: %v", err)
		}
	}
	l := log()
	for _, want := range []string{"unpause sickbay-worker", "exec --privileged sickbay-worker sh", "exec --privileged sickbay-worker2 sh", "rm --force --volumes id-of-sickbay-worker3", "--entrypoint nft " + image + " -f -"} {
		if !strings.Contains(l, want) {
			t.Errorf("never ran %q:\n%s", want, l)
		}
	}
	if strings.Contains(l, "exec --privileged sickbay-control-plane") {
		t.Error("asked something of a stopped node")
	}
}

func TestDownKeepsTheNetworkOfAnotherClusterOfOurs(t *testing.T) {
	e, now, log := engineWith(t, world{Networks: owned(), Containers: []container{
		kindNode("sickbay", "sickbay-control-plane", ControlPlane, "running", ours), kindNode("lab", "lab-control-plane", ControlPlane, "running", ours),
	}})
	if err := Down(t.Context(), e, DownOptions{Timeouts: quickly()}); err != nil {
		t.Fatal(err)
	}
	if w := now(); len(w.Containers) != 1 || len(w.Networks) != 1 || strings.Contains(log(), "nft") {
		t.Errorf("left %+v", w)
	}
}

func TestDownTakesOffEndpointsOfContainersThatAreGone(t *testing.T) {
	networks := owned()
	n := networks[Network]
	n.Containers = map[string]struct{ Name string }{"ep-1": {Name: "sickbay-worker"}}
	networks[Network] = n
	e, now, _ := engineWith(t, world{Networks: networks, Containers: []container{kindNode("sickbay", "sickbay-control-plane", ControlPlane, "running", ours)}})
	if err := Down(t.Context(), e, DownOptions{Timeouts: quickly()}); err != nil {
		t.Fatal(err)
	}
	if w := now(); len(w.Networks) != 0 {
		t.Errorf("left %+v", w.Networks)
	}
}

func TestDownSaysWhatItCouldNotRemove(t *testing.T) {
	c := kindNode("sickbay", "sickbay-worker", Worker, "running", ours)
	e, _, _ := engineWith(t, world{Networks: owned(), Containers: []container{c}, Stuck: map[string]bool{c.ID: true}})
	err := Down(t.Context(), e, DownOptions{Timeouts: quickly()})
	if err == nil || !strings.Contains(err.Error(), "sickbay-worker") || !strings.Contains(err.Error(), "could not kill") {
		t.Errorf("err = %v", err)
	}
	if err := Down(t.Context(), e, DownOptions{Timeouts: quickly()}); err != nil {
		t.Errorf("and then it goes: %v", err)
	}
}

func TestAnEngineThatDoesNotAnswerIsAnError(t *testing.T) {
	e := &engine.Engine{Provider: "docker", CLI: "/bin/false", Host: "tcp://elsewhere:1"}
	t.Setenv("SICKBAY_CACHE", t.TempDir())
	for name, f := range map[string]func() error{
		"find": func() error { _, err := Find(t.Context(), e, ""); return err },
		"up":   func() error { _, err := Up(t.Context(), e, UpOptions{Image: image}); return err },
		"down": func() error { return Down(t.Context(), e, DownOptions{}) },
	} {
		var class interface{ ExitCode() int }
		if err := f(); err == nil || errors.As(err, &class) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKubeSaysWhyTheAPICannotBeReached(t *testing.T) {
	e, _, _ := engineWith(t, world{Containers: []container{kindNode("sickbay", "sickbay-control-plane", ControlPlane, "exited", ours)}})
	c, err := Find(t.Context(), e, "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Kube().Discovery().ServerVersion()
	if err == nil || !strings.Contains(err.Error(), "is exited and publishes no API port") {
		t.Errorf("err = %v", err)
	}
	if v, err := c.ObserveAPI(t.Context(), nil); err == nil || v != nil {
		t.Errorf("%v, %v", v, err)
	}
}

func TestClaimNamesTheHolder(t *testing.T) {
	e, _, _ := engineWith(t, world{Containers: []container{kindNode("sickbay", "sickbay-control-plane", ControlPlane, "running", ours), kindNode("sickbay", "sickbay-worker", Worker, "running", ours)}})
	c, err := Find(t.Context(), e, "")
	if err != nil {
		t.Fatal(err)
	}
	release, err := c.Claim(t.Context(), "sickbay-worker")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Claim(t.Context(), "sickbay-worker")
	var held *ClaimedError
	if !errors.As(err, &held) || held.Holder.PID != os.Getpid() || held.Holder.Command == "" || time.Since(held.Holder.Since) > time.Minute {
		t.Errorf("err = %v", err)
	}
	host, err := c.Claim(t.Context(), HostClaim)
	if err != nil {
		t.Errorf("the host is another claim: %v", err)
	} else {
		host()
	}
	release()
	again, err := c.Claim(t.Context(), "sickbay-worker")
	if err != nil {
		t.Fatal(err)
	}
	again()
	if _, err := c.Claim(t.Context(), "nobody"); err == nil {
		t.Error("claimed a node that is not there")
	}
}

func TestHeldElsewhere(t *testing.T) {
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "host.lock")
	for content, want := range map[string]bool{
		"": false, "{": false, "{}": false,
		fmt.Sprintf(`{"pid":%d,"command":"sickbay run swap-on"}`, os.Getppid()): true,
		fmt.Sprintf(`{"pid":%d}`, os.Getpid()):                                  false, // a run of this process answers for itself
		fmt.Sprintf(`{"pid":%d}`, dead.Process.Pid):                             false, // it was killed and left its name
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if h, got := lockfile.Elsewhere(file); got != want || got && h.Command == "" {
			t.Errorf("%q: %t %+v, want %t", content, got, h, want)
		}
	}
	if _, held := lockfile.Elsewhere(file + ".none"); held {
		t.Error("held although nobody ever claimed it")
	}
}

// TestAnotherRunsVictimIsNotWaitedFor: two runs on one cluster at once. The second finds the first one's victim ill.
func TestAnotherRunsVictimIsNotWaitedFor(t *testing.T) {
	t.Setenv("SICKBAY_CACHE", t.TempDir())
	node := func(name string, ready corev1.ConditionStatus) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready, Message: "PLEG is not healthy"}}}}
	}
	c := &Cluster{Name: "sickbay", nodes: []NodeInfo{{Name: "cp"}, {Name: "w1"}, {Name: "w2"}}}
	c.apiOnce.Do(func() {})
	c.kube = fake.NewClientset(node("cp", corev1.ConditionTrue), node("w1", corev1.ConditionFalse), node("w2", corev1.ConditionTrue))
	missing := func() []string {
		t.Helper()
		out, err := c.notReady(t.Context(), c.heldElsewhere)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := missing(); len(got) != 1 || got[0] != "w1 (PLEG is not healthy)" {
		t.Errorf("nobody holds it: %q", got)
	}
	m, err := claims()
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(m.File(c.claim("w1")))
	if err := os.WriteFile(m.File(c.claim("w1")), fmt.Appendf(nil, `{"pid":%d,"command":"sickbay run pleg-disk"}`, os.Getppid()), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := missing(); len(got) != 0 {
		t.Errorf("a run of another process holds it, and it is waited for: %q", got)
	}
}

// TestAKubeconfigElsewhereIsNobodysBusiness: the user's own is neither read nor written, whatever it says or is.
func TestAKubeconfigElsewhereIsNobodysBusiness(t *testing.T) {
	dir := t.TempDir()
	theirs := filepath.Join(dir, "config")
	if err := os.WriteFile(theirs, []byte("current-context: production\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(theirs)
	if err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{theirs, filepath.Join(dir, "no", "such"), dir} {
		t.Setenv("KUBECONFIG", where)
		e, _, _ := engineWith(t, world{Networks: owned(), Containers: []container{kindNode("sickbay", "sickbay-control-plane", ControlPlane, "running", ours)}})
		c, err := Find(t.Context(), e, "")
		if err != nil {
			t.Fatal(err)
		}
		if host := c.RESTConfig().Host; strings.Contains(host, "production") {
			t.Errorf("%s: the API is asked at %s", where, host)
		}
		if own, err := c.Kubeconfig(); err != nil || own == where {
			t.Errorf("sickbay's own kubeconfig is %s, %v", own, err)
		}
		if err := Down(t.Context(), e, DownOptions{Timeouts: quickly()}); err != nil {
			t.Errorf("%s: down: %v", where, err)
		}
		if got := os.Getenv("KUBECONFIG"); got != where {
			t.Errorf("KUBECONFIG is %s now", got)
		}
	}
	after, err := os.Stat(theirs)
	if err != nil || !after.ModTime().Equal(before.ModTime()) || after.Size() != before.Size() {
		t.Errorf("the user's kubeconfig was changed: %v %v", after, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("something was written beside it: %v", left)
	}
}

func TestLockWaitsAndGivesUpWithItsContext(t *testing.T) {
	t.Setenv("SICKBAY_CACHE", t.TempDir())
	unlock, err := lock(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "held by process") {
		t.Errorf("err = %v", err)
	}
	unlock()
	unlock, err = lock(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestNetworkOfAnOldPodman(t *testing.T) {
	e, _, _ := engineWith(t, world{Networks: map[string]network{}})
	e.Provider = engine.Podman
	if n, err := ensureNetwork(t.Context(), e); err != nil || !n.owned() {
		t.Errorf("%+v %v", n, err)
	}
}

func TestRulesParse(t *testing.T) {
	var docker, podman network
	for said, n := range map[string]*network{
		`{"IPAM": {"Config": [{"Subnet": "172.20.0.0/16"}, {"Subnet": "fd00::/64"}]}}`:                                                                     &docker,
		`{"network_interface": "podman2", "subnets": [{"subnet": "10.89.1.0/24", "gateway": "10.89.1.1"}, {"subnet": "fd01::/64", "gateway": "fd01::1"}]}`: &podman,
	} {
		if err := json.Unmarshal([]byte(said), n); err != nil {
			t.Fatal(err)
		}
	}
	rulesParse(t, rules(docker), `iifname "sickbay0" oifname "sickbay0" accept`, "ip saddr 172.20.0.0/16", "ip6 saddr fd00::/64", "priority -150", "delete table inet sickbay")
	rulesParse(t, rules(podman), `iifname "podman2" oifname "podman2" accept`, `iifname "podman2" ip daddr 10.89.1.1 meta l4proto { tcp, udp } th dport 53 accept`,
		"ip6 daddr fd01::1", `ip saddr 10.89.1.0/24 oifname != { "podman2", "lo" }`)
}

func rulesParse(t *testing.T, r string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(r, want) {
			t.Errorf("no %q in\n%s", want, r)
		}
	}
	nft, err := exec.LookPath("nft")
	if err != nil {
		t.Skip("no nft here to check the grammar; the live test does")
	}
	cmd := exec.Command(nft, "-c", "-f", "-")
	cmd.Stdin = strings.NewReader(r)
	if out, err := cmd.CombinedOutput(); err != nil && os.Geteuid() == 0 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestParseIsolation(t *testing.T) {
	full := `{"nftables":[{"metainfo":{}},{"counter":{"name":"kept","packets":11}},{"counter":{"name":"escaped","packets":2}},
		{"rule":{"chain":"a"}},{"rule":{"chain":"a"}},{"rule":{"chain":"a"}},{"rule":{"chain":"b"}},{"rule":{"chain":"b"}},{"rule":{"chain":"c"}}]}`
	if i, err := parseIsolation([]byte(full)); err != nil || !i.InPlace || i.Kept != 11 || i.Escaped != 2 {
		t.Errorf("%+v, %v", i, err)
	}
	if i, err := parseIsolation([]byte(`{"nftables":[{"counter":{"name":"kept","packets":11}}]}`)); err != nil || i.InPlace {
		t.Errorf("a table without rules counts as in place: %+v, %v", i, err)
	}
}

func rewrite(t *testing.T, w world) {
	t.Helper()
	dir := os.Getenv("SICKBAY_FAKE_DOCKER")
	raw, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "world.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTheKubeletsLastWordsAreItsErrors(t *testing.T) {
	journal := "I1125 15:52:57.909848     828 policy_none.go:51] \"Start\"\n" +
		"E1125 15:52:57.916181     828 run.go:72] \"command failed\" err=\"inotify_init: too many open files\"\n" +
		"kubelet.service: Main process exited, code=exited, status=1/FAILURE\nkubelet.service: Failed with result 'exit-code'.\n"
	want := "E1125 15:52:57.916181     828 run.go:72] \"command failed\" err=\"inotify_init: too many open files\""
	if got := lastWords(journal); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := lastWords("kubelet.service: Failed with result 'exit-code'.\n"); got != "" {
		t.Errorf("systemd's words are not the kubelet's: %q", got)
	}
}

// A cluster's name is part of paths, and what is at them is removed.
func TestANameLeadsNowhereElse(t *testing.T) {
	e, _, _ := engineWith(t, world{})
	cache := os.Getenv("SICKBAY_CACHE")
	precious := filepath.Join(filepath.Dir(cache), "precious")
	record := filepath.Join(cache, "runs", "other", "r-1.json")
	for _, f := range []string{precious, record} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(f), 0o700), os.WriteFile(f, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"..", "../..", "../../..", ".", "/", "a/b", "", "../runs/other", "x/../../runs", "UPPER", "a\x00b"} {
		if name != "" { // that is the default's
			err := Down(t.Context(), e, DownOptions{Name: name})
			if taken := (*TakenError)(nil); !errors.As(err, &taken) || taken.ExitCode() != 2 {
				t.Errorf("down --cluster %q: %v", name, err)
			}
		}
		for what, err := range map[string]error{"forget": forget(name), "stateDir": second(stateDir(name)), "runsDir": second(runsDir(name)), "lock": second(lock(t.Context(), name))} {
			if err == nil {
				t.Errorf("%s takes %q", what, name)
			}
		}
	}
	if _, err := Records("../.."); err == nil {
		t.Error("records of ../..")
	}
	// A link that somebody put into the cache is removed, not followed.
	if err := errors.Join(os.MkdirAll(filepath.Join(cache, "clusters"), 0o700), os.Symlink(filepath.Dir(precious), filepath.Join(cache, "clusters", "link"))); err != nil {
		t.Fatal(err)
	}
	if err := Down(t.Context(), e, DownOptions{Name: "link"}); err != nil {
		t.Error(err)
	}
	for _, f := range []string{precious, record} {
		if _, err := os.Stat(f); err != nil {
			t.Errorf("removed: %v", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// What serves a run is known by its labels, which docker's and podman's ps print in different words.
func TestServices(t *testing.T) {
	var all []container
	for name, labels := range map[string]map[string]string{
		"of-a-run":  {Label: "sickbay", RunLabel: "r1", NodeLabel: "sickbay-worker"},
		"of-no-run": {Label: "sickbay"},
	} {
		c := container{ID: "id-of-" + name, Name: "/" + name}
		c.Config.Labels = labels
		all = append(all, c)
	}
	e, _, _ := engineWith(t, world{Networks: owned(), Containers: all})
	got, err := (&Cluster{Name: "sickbay", eng: e}).Services(t.Context())
	if err != nil || len(got) != 1 || got[0] != (Service{"of-a-run", "r1", "sickbay-worker"}) {
		t.Errorf("%+v, %v", got, err)
	}
}
