package op

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

const (
	removeOne = 20 * time.Second // StopPodSandbox gives containers no grace of their own, CNI DEL takes under a second
)

// Where namespaces of pods are kept: containerd keeps that of the network, CRI-O three by one name.
var namespaceDirs = []string{"/run/netns", "/run/ipcns", "/run/utsns"}

// task is one running container as its bundle describes it.
type task struct {
	id, sandbox string
	kind        string // sandbox, container
	namespace   string
	pod         string
	name        string
	pid         int
	netns       string
}

func readTasks(sys Files) ([]task, error) {
	cri := CRIOf(sys)
	ids, err := sys.List(cri.Tasks)
	if err != nil {
		return nil, unlessGone(err)
	}
	var out []task
	for _, id := range ids {
		t := task{id: id, sandbox: id}
		if b, err := sys.Read(path.Join(cri.Tasks, id, cri.Bundle, cri.PID)); err == nil {
			t.pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		}
		var spec struct {
			Annotations map[string]string `json:"annotations"`
			Linux       struct {
				Namespaces []struct{ Type, Path string } `json:"namespaces"`
			} `json:"linux"`
		}
		if b, err := sys.Read(path.Join(cri.Tasks, id, cri.Bundle, "config.json")); err == nil && json.Unmarshal(b, &spec) == nil {
			a := spec.Annotations
			t.kind, t.namespace, t.pod, t.name = a[cri.kind], a[cri.namespace], a[cri.pod], a[cri.name]
			if a[cri.sandbox] != "" {
				t.sandbox = a[cri.sandbox]
			}
			for _, ns := range spec.Linux.Namespaces {
				if ns.Type == "network" {
					t.netns = ns.Path
				}
			}
		}
		out = append(out, t)
	}
	return out, nil
}

// Tasks changes nothing when done. Undone, it retires the pods whose containers were started since: their root filesystems
// lie on the loop filesystem, which could not be freed under them, and the runtime's restored database does not know them.
// It stands between Resume of the runtime and Resume of the kubelet, so that the kubelet does not start them again meanwhile.
type Tasks struct {
	asks[interface {
		FileTree
		ProcessTable
		Filesystems
		Runtime
	}]
	Before []string `json:"before,omitempty"`
	Saved  bool     `json:"saved,omitempty"`
	// Since is the start of the newest process there was: only later ones can have been started on the loop filesystem.
	Since uint64 `json:"since,omitempty"`
	// Over is where the loop filesystem is mounted; when it is no longer there, nothing needs to be retired.
	Over string `json:"over"`
}

func (*Tasks) Closing() bool { return true }

func (*Tasks) Describe() string { return "note the running containers" }

func (t *Tasks) Save(_ context.Context, env Env) error {
	tasks, err := readTasks(t.sys)
	if err != nil {
		return err
	}
	t.Before = nil
	for _, x := range tasks {
		t.Before = append(t.Before, x.id)
	}
	procs, err := t.sys.Processes()
	if err != nil {
		return err
	}
	for _, p := range procs {
		t.Since = max(t.Since, p.Start)
	}
	t.Saved = true
	return nil
}

func (*Tasks) Do(context.Context, Env) error { return nil }

func (*Tasks) Pending(context.Context, Env) (Rest, error) { return Rest{}, nil }

func (t *Tasks) Undo(ctx context.Context, env Env) error {
	if !t.Saved {
		return nil
	}
	if used, err := t.used(env); err != nil || !used {
		return err
	}
	tasks, err := readTasks(t.sys)
	if err != nil {
		return err
	}
	var sandboxes []string
	for _, x := range tasks {
		if !slices.Contains(t.Before, x.id) && !slices.Contains(sandboxes, x.sandbox) {
			sandboxes = append(sandboxes, x.sandbox)
		}
	}
	// One that does not answer must not take the time of all.
	clean := true
	for _, id := range sandboxes {
		if clean {
			rctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(removeOne))
			err := t.sys.RemoveSandbox(rctx, id)
			cancel()
			if err == nil {
				continue
			}
			clean = rctx.Err() == nil
		}
		if err := retire(t.sys, id, tasks); err != nil {
			return err
		}
	}
	return t.strays()
}

// strays ends what the runtime has lost: a containerd that was restarted on a full disk forgets containers, which run on with
// their shims (seen live).
func (t *Tasks) strays() error {
	if t.Since == 0 {
		return nil // noted by an older version
	}
	tasks, err := readTasks(t.sys)
	if err != nil {
		return err
	}
	procs, err := t.sys.Processes()
	if err != nil {
		return err
	}
	for _, p := range procs {
		if p.Start <= t.Since || !t.rootedOver(p) && !lostShim(p, tasks) {
			continue
		}
		if err := unlessGone(t.sys.Signal(p.PID, p.Start, KILL)); err != nil {
			return err
		}
	}
	return nil
}

// rootedOver tells whether the process runs in a container whose root filesystem is a snapshot below Over. What the runtime knew
// is retired by now, so this one it does not know.
func (t *Tasks) rootedOver(p Process) bool {
	mounts, err := t.sys.Mounts(p.PID)
	if err != nil {
		return false // ended meanwhile, or a zombie
	}
	root := MountAt(mounts, "/")
	return root != nil && root.FSType == "overlay" && strings.Contains(root.VFSOptions, "upperdir="+t.Over+"/")
}

// lostShim tells whether the process is the shim of a sandbox that has no bundle any more.
func lostShim(p Process, tasks []task) bool {
	id, ok := shimOf(p)
	return ok && !slices.ContainsFunc(tasks, func(x task) bool { return x.id == id })
}

// shimOf answers which sandbox a process is the shim of.
func shimOf(p Process) (string, bool) {
	if len(p.Command) == 0 {
		return "", false
	}
	id := []string{"-id", "--id"}
	switch path.Base(p.Command[0]) {
	case CRIO.Shim:
		id = []string{"-c"} // of one container, its sandbox's included
	default:
		if !strings.Contains(p.Command[0], "containerd-shim") {
			return "", false
		}
	}
	for i, w := range p.Command[:len(p.Command)-1] {
		if slices.Contains(id, w) {
			return p.Command[i+1], true
		}
	}
	return "", false
}

// used tells whether the loop filesystem still exists, mounted or only held by containers, and thaws it.
func (t *Tasks) used(env Env) (bool, error) {
	made, err := env.Made()
	if err != nil {
		return false, err
	}
	for _, l := range made {
		if l.Target != t.Over || l.Image == "" {
			continue
		}
		_, own, err := l.mounts()
		if err != nil {
			return false, err
		}
		for _, m := range own {
			if err := t.sys.Thaw(m.Mountpoint); err != nil {
				return false, err
			}
		}
		if _, ok, err := l.attached(); err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

// retire removes a sandbox without the runtime's help: containers, shim, mounts, network namespace, address. It goes on past what
// fails, but for processes that it cannot see.
func retire(sys interface {
	FileTree
	Filesystems
	ProcessTable
}, sandbox string, tasks []task) error {
	procs, err := sys.Processes()
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range procs {
		if belongs(p, sandbox, tasks) {
			errs = append(errs, unlessGone(sys.Signal(p.PID, p.Start, KILL)))
		}
	}
	ids, kept := []string{sandbox}, []string(nil)
	for _, x := range tasks {
		if x.sandbox == sandbox {
			ids = append(ids, x.id)
		}
		if x.id == sandbox && x.netns != "" {
			for _, dir := range namespaceDirs {
				kept = append(kept, path.Join(dir, path.Base(x.netns)))
			}
		}
	}
	cri := CRIOf(sys)
	mounts, err := sys.Mounts(0)
	errs = append(errs, err)
	for _, m := range slices.Backward(mounts) {
		bundle := func(id string) bool {
			return strings.HasPrefix(m.Mountpoint, "/run/") && strings.Contains(m.Mountpoint, "/"+id+"/")
		}
		if slices.Contains(kept, m.Mountpoint) || slices.ContainsFunc(ids, bundle) {
			errs = append(errs, sys.Unmount(m.Mountpoint, true))
		}
	}
	for _, id := range ids {
		errs = append(errs, sys.RemoveAll(path.Join(cri.Tasks, id)))
	}
	for _, p := range kept {
		errs = append(errs, unlessGone(sys.Remove(p)))
	}
	return errors.Join(append(errs, releaseAddress(sys, sandbox))...)
}

// belongs tells a process of a sandbox: a container's first one, or a shim of it.
func belongs(p Process, sandbox string, tasks []task) bool {
	id, shim := shimOf(p)
	container := slices.ContainsFunc(tasks, func(x task) bool { return x.sandbox == sandbox && x.pid > 1 && x.pid == p.PID })
	of := slices.ContainsFunc(tasks, func(x task) bool { return x.sandbox == sandbox && x.id == id })
	return container || shim && (id == sandbox || of)
}

// ipamDirs are where host-local keeps its reservations: kind's, and the default.
var ipamDirs = []string{"/run/cni-ipam-state", "/var/lib/cni/networks"}

// releaseAddress does what host-local's DEL would: removes the reservations that name the sandbox.
func releaseAddress(sys FileTree, sandbox string) error {
	for _, root := range ipamDirs {
		nets, err := list(sys, root)
		if err != nil {
			return err
		}
		for _, n := range nets {
			files, err := sys.List(path.Join(root, n))
			if err != nil {
				continue
			}
			for _, f := range files {
				p := path.Join(root, n, f)
				b, err := sys.Read(p)
				if err != nil || !strings.HasPrefix(string(b), sandbox) {
					continue
				}
				if err := sys.Remove(p); err != nil {
					return fmt.Errorf("releasing the address of sandbox %s: %w", sandbox, err)
				}
			}
		}
	}
	return nil
}

// KillTask kills one container, or one pod's sandbox, as a crash would. The kubelet starts it again, so there is nothing to
// undo.
type KillTask struct {
	asks[interface {
		Files
		ProcessTable
		Timer
	}]
	// Namespace and Pod choose; a pod is a name or the beginning of one. Empty: any pod outside kube-system, else any at all.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	// Sandbox kills the pause container instead of an ordinary one.
	Sandbox bool `json:"sandbox,omitempty"`

	ID    string `json:"id,omitempty"`
	PID   int    `json:"pid,omitempty"`
	Start uint64 `json:"start,omitempty"`
}

func (k *KillTask) Describe() string {
	what := "a container"
	if k.Sandbox {
		what = "the sandbox"
	}
	switch {
	case k.Pod != "":
		return fmt.Sprintf("SIGKILL to %s of pod %s/%s", what, k.Namespace, k.Pod)
	default:
		return "SIGKILL to " + what
	}
}

func (k *KillTask) Save(_ context.Context, env Env) error {
	tasks, err := readTasks(k.sys)
	if err != nil {
		return err
	}
	best, rank := task{}, 0
	for _, t := range tasks {
		if t.pid <= 1 || (t.kind == "sandbox") != k.Sandbox || k.Namespace != "" && t.namespace != k.Namespace || !strings.HasPrefix(t.pod, k.Pod) {
			continue
		}
		if _, err := k.sys.Process(t.pid); errors.Is(err, fs.ErrNotExist) {
			continue // it has ended, and the runtime still has its folder
		}
		r := 1
		if t.namespace != "kube-system" {
			r = 2
		}
		if r > rank {
			best, rank = t, r
		}
	}
	if rank == 0 {
		return fmt.Errorf("no running container to kill here (namespace %q, pod %q)", k.Namespace, k.Pod)
	}
	p, err := k.sys.Process(best.pid)
	if err != nil {
		return err
	}
	k.ID, k.PID, k.Start = best.id, p.PID, p.Start
	return nil
}

func (k *KillTask) Do(ctx context.Context, env Env) error { return kill(ctx, k.sys, k.PID, k.Start) }

func (k *KillTask) Effect() (string, error) { return killed(k.sys, k.PID, k.Start) }

func (*KillTask) Pending(context.Context, Env) (Rest, error) { return Rest{}, nil }

func (*KillTask) Undo(context.Context, Env) error { return nil }
