package injectors_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/op"
)

var (
	walkSteps = flag.Int("walk.steps", 14000, "steps of the random walk")
	walkSeed  = flag.Uint64("walk.seed", 1, "seed of the random walk")
)

// faults are what the walk injects; each must be plannable on a fresh node.
var faults = []struct{ mechanism, params string }{
	{"dedicated-filesystem", `{"size":"300Mi","kubeletConfig":{"evictionHard":{"imagefs.available":"15%"}}}`},
	{"dedicated-filesystem", `{"path":"/var/lib/kubelet","size":"100Mi","kubeletConfig":{"evictionHard":{"nodefs.available":"15%"}}}`},
	{"fill-disk", `{"path":"/var/lib/containerd"}`},
	{"fill-disk", `{"path":"/var/lib/containerd","inodes":true,"leaveInodes":9950}`},
	{"fill-disk", `{"path":"/var/lib/kubelet","leavePercent":3}`},
	{"freeze-filesystem", `{}`},
	{"freeze-filesystem", `{"disturb":{}}`},
	{"kubelet-config", `{"set":{"failSwapOn":true,"maxPods":3}}`},
	{"kubelet-flags", `{"add":["--hostname-override=template-01"]}`},
	{"cni-config", `{}`},
	{"cni-config", `{"action":"corrupt"}`},
	{"cni-config", `{"action":"shadow"}`},
	{"swap", `{}`},
	{"swap", `{"mode":"contained"}`},
	{"process", `{"action":"hang"}`},
	{"process", `{"action":"freeze"}`},
	{"process", `{"action":"throttle","unit":"kubelet","cpuMilli":5}`},
	{"process", `{"action":"kill"}`},
	{"process", `{"action":"stop","unit":"kubelet"}`},
	{"cni-binary", `{}`},
	{"runtime-binary", `{"program":"runc"}`},
	{"runtime-binary", `{"restartRuntime":true}`},
	{"immutable-path", `{"path":"/var/lib/containerd/snapshots"}`},
	{"immutable-path", `{"path":"/opt/cni/bin","by":"mount"}`},
	{"kubeconfig", `{}`},
	{"kubeconfig", `{"action":"remove"}`},
	{"kubeconfig", `{"action":"server","server":"https://127.0.0.1:1"}`},
	{"kubeconfig", `{"action":"ca","restart":false}`},
	{"cgroup-driver", `{}`},
	{"cgroup-driver", `{"way":"flip"}`},
	{"cgroup-driver", `{"way":"empty-options"}`},
	{"cgroup-driver", `{"way":"handler"}`},
	{"cgroup-driver", `{"way":"wrapper"}`},
	{"cgroup-driver", `{"way":"refuse-v1"}`},
	{"sandbox-kill", `{}`},
	{"sandbox-kill", `{"once":true}`},
	{"sandbox-kill", `{"network":true}`},
	{"api-path", `{}`},
	{"ipam-fill", `{"leave":2}`},
	{"runtime-unit", `{}`},
	{"apparmor-profile", `{"name":"shop","rules":"  file,\n  deny /tmp/** w,"}`},
	{"selinux-label", `{"path":"/usr/bin/curl","context":"system_u:object_r:admin_home_t:s0"}`},
	{"sysctl", `{}`},
	{"clock-skew", `{"by":"1h"}`},
	{"clock-skew", `{"by":"1h","units":["kubelet.service","containerd.service"]}`},
	{"certificate", `{}`},
	{"csi-driver", `{"action":"volumes","volumes":["data","logs"]}`},
	{"csi-driver", `{"action":"corrupt","volume":"spare"}`},
	{"csi-driver", `{"action":"deregister"}`},
	{"csi-driver", `{"action":"hang"}`},
	{"device-plugin", `{"action":"devices"}`},
	{"device-plugin", `{"action":"unhealthy","devices":["lamp-0"]}`},
	{"device-plugin", `{"action":"refuse"}`},
	{"bridge-network", `{}`},
	{"pods-cgroup", `{}`},
	{"file", `{"path":"/etc/containerd/certs.d/r:5000/hosts.toml","content":"server = \"https://r:5000\"\n"}`},
	{"registry-trust", `{"host":"r:5000","ca":"-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n"}`},
	{"file", `{"path":"/etc/kubernetes/kubelet.conf","remove":true,"restart":"kubelet.service"}`},
}

// guestFaults take what belongs to the whole machine, which has to be a guest of sickbay's.
var guestFaults = []struct{ mechanism, params string }{
	{"machine-clock", `{"by":"15m"}`},
	{"machine-clock", `{"by":"-1h"}`},
	{"fill-own-disk", `{"path":"/opt","leavePercent":99}`},
	{"fill-own-disk", `{"path":"/opt","inodes":true,"leaveInodes":1048440}`},
}

// signed is what a control-plane node would answer.
const signed = "-----BEGIN CERTIFICATE-----\nQ0ND\n-----END CERTIFICATE-----\n"

type walker struct {
	t     *testing.T
	rng   *rand.Rand
	node  *Node
	start string
	n     int
	log   []string
	seen  map[string]int
}

func (w *walker) injector() *injectors.Injector {
	in := injectors.New(parts(w.node), "/var/lib/sickbay/agent-test")
	in.KeepFailed = w.rng.IntN(2) == 0
	return in
}

func (w *walker) say(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf(format, args...))
	if len(w.log) > 40 {
		w.log = w.log[1:]
	}
}

func (w *walker) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("step %d (seed %d): %s\nlast steps:\n  %s", w.n, *walkSeed, fmt.Sprintf(format, args...), strings.Join(w.log, "\n  "))
}

// trouble makes some later call go wrong, sometimes.
func (w *walker) trouble() string {
	if w.rng.IntN(3) > 0 {
		w.node.Budget = -1
		return "no trouble"
	}
	w.node.Budget = w.rng.IntN(60)
	w.node.Trouble = Trouble(w.rng.IntN(4))
	return fmt.Sprintf("trouble %d after %d calls", w.node.Trouble, w.node.Budget)
}

func (w *walker) injection() injectors.Injection {
	f := faults[w.rng.IntN(len(faults))]
	if n := w.rng.IntN(len(faults) + len(guestFaults)); n < len(guestFaults) {
		f = guestFaults[n]
	}
	if w.rng.IntN(6) == 0 {
		f = faults[0]
	}
	// Most faults on a filesystem need one that is prepared: choose them more often while there is one.
	if strings.Contains(w.node.Dump(false), "mount /var/lib/containerd") && w.rng.IntN(3) > 0 {
		f = faults[2+w.rng.IntN(5)]
	}
	return injectors.Injection{
		ID: fmt.Sprintf("%d-%s", w.n, f.mechanism), Run: fmt.Sprintf("r%d", min(1, w.rng.IntN(10))), Mechanism: f.mechanism,
		Params: json.RawMessage(f.params), Lease: time.Minute, Signed: signed,
	}
}

func (w *walker) step(ctx context.Context) {
	in := w.injector()
	var what string
	var err error
	switch k := w.rng.IntN(20); {
	case k < 1:
		what = "check"
		before := w.node.Dump(true)
		inj := w.injection()
		_, err = in.Check(ctx, inj)
		if diff := cmp.Diff(before, w.node.Dump(true)); diff != "" {
			w.fail("check of %s changed the node:\n%s", inj.Mechanism, diff)
		}
	case k < 9:
		inj := w.injection()
		how := w.trouble()
		var st injectors.Status
		st, err = in.Inject(ctx, inj)
		what = fmt.Sprintf("inject %s %s (%s) → %s", inj.Mechanism, inj.Params, how, st.State)
		if err == nil && (st.State != injectors.Injected || st.Active == nil) {
			w.fail("%s without an error, effect %v", what, st.Active)
		}
		w.seen["inject "+inj.Mechanism+" "+fmt.Sprint(err == nil)]++
	case k < 13:
		sel := injectors.Selector{Run: fmt.Sprintf("r%d", w.rng.IntN(2))}
		if list, err := in.List(ctx, false); err == nil && len(list) > 0 && w.rng.IntN(2) == 0 {
			sel = injectors.Selector{ID: list[w.rng.IntN(len(list))].ID}
		}
		how := w.trouble()
		_, err = in.Recover(ctx, sel)
		what = fmt.Sprintf("recover %+v (%s)", sel, how)
	case k < 14:
		how := w.trouble()
		w.node.Pass(2 * time.Minute)
		if w.node.Active("sickbay-sweep.timer") {
			_, err = in.Sweep(ctx)
			what = "lease runs out, sweep (" + how + ")"
		} else {
			what = "two minutes pass"
		}
	case k < 15:
		_, err = in.Renew(ctx, "r1", time.Minute)
		what = "renew"
	case k < 16:
		w.node.StartPod("lab", fmt.Sprintf("web-%d", w.n))
		what = "a pod starts"
		if w.rng.IntN(8) == 0 {
			w.node.Forget()
			what = "a pod starts, and the runtime forgets all of them"
		}
	case k < 17 && w.rng.IntN(4) == 0:
		w.node.Restart()
		what = "the node's container restarts"
	default:
		what = w.remedy(ctx)
	}
	w.say("%d %s: %v", w.n, what, err)
	if errors.Is(err, ErrDied) {
		w.seen["died"]++
	}
	w.node.Revive()
}

// remedy is what an operator may do about a fault, knowing nothing of the journal.
func (w *walker) remedy(ctx context.Context) string {
	n := w.node
	remedies := []struct {
		name string
		do   func() error
	}{
		{"thaw", func() error { return n.Thaw("/var/lib/containerd") }},
		{"remove the large file", func() error {
			if err := n.Thaw("/var/lib/containerd"); err != nil {
				return err
			}
			return n.Remove("/var/lib/containerd/core-dump.old")
		}},
		{"swapoff", func() error {
			return errors.Join(n.SwapOff("/var/swapfile"), n.Write("/etc/fstab", []byte("# nothing\n"), 0o644))
		}},
		{"remove swap file", func() error { return n.Remove("/var/swapfile") }},
		{"write the conflist", func() error {
			return n.Write("/etc/cni/net.d/10-kindnet.conflist", []byte(Conflist), 0o644)
		}},
		{"remove the shadow", func() error { return n.Remove("/etc/cni/net.d/00-calico.conflist") }},
		{"restart the kubelet", func() error {
			_, err1 := n.Run(ctx, "systemctl", "stop", "kubelet.service")
			_, err2 := n.Run(ctx, "systemctl", "start", "kubelet.service")
			return errors.Join(err1, err2)
		}},
		{"restart containerd", func() error {
			if err := n.Thaw("/var/lib/containerd"); err != nil {
				return err
			}
			_, err1 := n.Run(ctx, "systemctl", "stop", "containerd.service")
			_, err2 := n.Run(ctx, "systemctl", "start", "containerd.service")
			return errors.Join(err1, err2)
		}},
		{"edit the kubelet's configuration", func() error {
			return n.Write("/var/lib/kubelet/config.yaml", []byte("kind: KubeletConfiguration\nfailSwapOn: false\n"), 0o644)
		}},
	}
	r := remedies[w.rng.IntN(len(remedies))]
	if r.name == "edit the kubelet's configuration" && !strings.Contains(w.node.Dump(false), "15%") {
		return "nothing" // the walk compares with the start: an edit counts only while an injection covers the file
	}
	return fmt.Sprintf("remedy: %s: %v", r.name, r.do())
}

// hold checks what must hold after every step.
func (w *walker) hold(ctx context.Context) {
	if len(w.node.Violations) > 0 {
		w.fail("this must never happen:\n  %s", strings.Join(w.node.Violations, "\n  "))
	}
	list, err := w.injector().List(ctx, w.rng.IntN(10) == 0)
	if err != nil {
		w.fail("list: %v", err)
	}
	now := w.node.Dump(false)
	if now == w.start {
		return
	}
	if len(list) == 0 {
		w.fail("the node is changed and the journal empty:\n%s", cmp.Diff(w.start, now))
	}
	if !w.node.Active("sickbay-sweep.timer") {
		w.fail("the node is changed and nothing would heal it:\n%s", cmp.Diff(w.start, now))
	}
}

// clean recovers everything, without trouble, twice.
func (w *walker) clean(ctx context.Context) {
	st, err := w.injector().Recover(ctx, injectors.Selector{All: true})
	w.say("%d recover everything: %v", w.n, err)
	if err != nil {
		w.fail("recover: %v", err)
	}
	for _, s := range st {
		if s.State != injectors.Recovered || s.Error != "" {
			w.fail("recover left %s %s: %s", s.ID, s.State, s.Error)
		}
	}
	if diff := cmp.Diff(w.start, w.node.Dump(true)); diff != "" {
		w.fail("recovered, and yet different:\n%s", diff)
	}
	if again, err := w.injector().Recover(ctx, injectors.Selector{All: true}); err != nil || len(again) != 0 {
		w.fail("the second recover found %v, %v", again, err)
	}
}

// TestWalk walks at random over the life of injections: check, inject, die or fail at any call, recover, recover again from
// another process, remedies in between, leases that run out, restarts of the node.
func TestWalk(t *testing.T) {
	ctx := t.Context()
	w := &walker{t: t, rng: rand.New(rand.NewPCG(*walkSeed, 0)), seen: map[string]int{}}
	on := func(n *Node) {
		w.node = n
		w.start = n.Dump(true)
	}
	on(newNode())
	for w.n = range *walkSteps {
		if w.n == *walkSteps/2 {
			// The second half is in a guest, where the machine itself may be taken.
			w.clean(ctx)
			on(newGuest())
		}
		w.step(ctx)
		w.hold(ctx)
		if w.rng.IntN(12) == 0 {
			w.clean(ctx)
		}
	}
	w.clean(ctx)
	// A walk that never got anywhere would prove nothing.
	for _, m := range injectors.All() {
		if w.seen["inject "+m.Name+" true"] < 20 && *walkSteps >= 10000 {
			t.Errorf("the walk injected %s only %d times", m.Name, w.seen["inject "+m.Name+" true"])
		}
	}
	if w.seen["died"] < *walkSteps/50 {
		t.Errorf("the agent died only %d times in %d steps", w.seen["died"], *walkSteps)
	}
	t.Logf("%d steps, %d changing calls, %v", *walkSteps, w.node.Calls, w.seen)
}

// TestDieEverywhere kills the agent at every single call of an injection, and then at every single call of its recovery.
func TestDieEverywhere(t *testing.T) {
	ctx := t.Context()
	prepare := map[string]string{
		"fill-disk": `{"size":"300Mi"}`, "freeze-filesystem": `{"size":"300Mi"}`,
	}
	for _, f := range append(slices.Clone(faults), guestFaults...) {
		t.Run(f.mechanism+f.params, func(t *testing.T) {
			fresh := newNode
			if slices.Contains(guestFaults, f) {
				fresh = newGuest
			}
			if f.mechanism == "fill-disk" && strings.Contains(f.params, "kubelet") {
				t.Skip("the same as for containerd")
			}
			for calls := 0; ; calls++ {
				more := false
				for how := DieBefore; how <= Fail; how++ {
					for _, late := range []bool{false, true} {
						if dieOnce(t, ctx, fresh, f.mechanism, f.params, prepare[f.mechanism], calls, how, late) {
							more = true
						}
					}
				}
				if !more {
					t.Logf("survived at each of %d calls", calls)
					return
				}
			}
		})
	}
}

// dieOnce strikes at one call of Inject, or of Recover when late. It answers whether there was such a call.
func dieOnce(t *testing.T, ctx context.Context, fresh func() *Node, mechanism, params, prepare string, calls int, how Trouble, late bool) bool {
	t.Helper()
	n := fresh()
	start := n.Dump(true)
	in := injectors.New(parts(n), "/agent")
	in.KeepFailed = true
	inj := injectors.Injection{ID: "a", Run: "r", Mechanism: mechanism, Params: json.RawMessage(params), Signed: signed}
	if prepare != "" {
		if _, err := in.Inject(ctx, injectors.Injection{ID: "p", Run: "r", Mechanism: "dedicated-filesystem", Params: json.RawMessage(prepare)}); err != nil {
			t.Fatal(err)
		}
	}
	if late {
		if _, err := in.Inject(ctx, inj); err != nil {
			t.Fatal(err)
		}
	}
	n.Budget, n.Trouble = calls, how
	var err error
	if late {
		_, err = in.Recover(ctx, injectors.Selector{All: true})
	} else {
		_, err = in.Inject(ctx, inj)
	}
	struck := n.Budget == -1
	if struck != (err != nil) && how != Fail {
		t.Fatalf("call %d, trouble %d, late %t: err = %v", calls, how, late, err)
	}
	n.Revive()
	if _, err := in.Recover(ctx, injectors.Selector{All: true}); err != nil {
		t.Fatalf("call %d, trouble %d, late %t: recover: %v", calls, how, late, err)
	}
	if diff := cmp.Diff(start, n.Dump(true)); diff != "" {
		t.Fatalf("call %d, trouble %d, late %t: recovered, and yet different:\n%s", calls, how, late, diff)
	}
	if len(n.Violations) > 0 {
		t.Fatalf("call %d, trouble %d, late %t: %v", calls, how, late, n.Violations)
	}
	return struck
}

// parts are the node's.
func parts(n *Node) op.Sys {
	return op.Sys{
		Files:        n,
		Edits:        n,
		Inside:       n,
		Attributes:   n,
		Locks:        n,
		Filesystems:  n,
		LoopDevices:  n,
		SwapAreas:    n,
		ProcessTable: n,
		Commands:     n,
		Timer:        n,
		WallClocks:   n,
		Runtime:      n,
		Resolver:     n,
	}
}
