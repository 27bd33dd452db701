package op

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"time"
)

// crioNode is a node with CRI-O and one pod of one container.
type crioNode struct {
	Sys
	ran   [][]string
	inUse int // refusals of crictl rmi to come
}

func (*crioNode) Wait(context.Context, time.Duration) error { return nil }

var crioNodeFiles = map[string]string{
	"/etc/crio/crio.conf": "[crio]\n",
	"/run/containers/storage/overlay-containers/s1/userdata/pidfile": "10",
	"/run/containers/storage/overlay-containers/s1/userdata/config.json": `{"annotations": {"io.kubernetes.cri-o.ContainerType": "sandbox", "io.kubernetes.cri-o.SandboxID": "s1",
		"io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.name": "app", "io.kubernetes.container.name": "POD"},
		"linux": {"namespaces": [{"type": "network", "path": "/var/run/netns/1"}]}}`,
	"/run/containers/storage/overlay-containers/c1/userdata/pidfile":     "11\n",
	"/run/containers/storage/overlay-containers/c1/userdata/config.json": `{"annotations": {"io.kubernetes.cri-o.ContainerType": "container", "io.kubernetes.cri-o.SandboxID": "s1", "io.kubernetes.container.name": "web"}}`,
}

func (*crioNode) Stat(p string) (Stat, error) {
	if _, ok := crioNodeFiles[p]; ok {
		return Stat{}, nil
	}
	return Stat{}, fs.ErrNotExist
}

func (*crioNode) Read(p string) ([]byte, error) {
	if b, ok := crioNodeFiles[p]; ok {
		return []byte(b), nil
	}
	return nil, fs.ErrNotExist
}

func (*crioNode) List(dir string) ([]string, error) {
	var out []string
	for p := range crioNodeFiles {
		if rest, ok := strings.CutPrefix(p, dir+"/"); ok {
			name, _, _ := strings.Cut(rest, "/")
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func (n *crioNode) Run(_ context.Context, argv ...string) ([]byte, error) {
	n.ran = append(n.ran, argv)
	if argv[1] == "rmi" && n.inUse > 0 {
		n.inUse--
		return nil, errors.New("image used by d7debdf46a56: image is in use by a container")
	}
	return []byte(`{"images": [{"id": "1", "repoTags": ["registry.test/shop/app:1.0"], "repoDigests": ["registry.test/shop/app@sha256:1"]},
		{"id": "2", "repoTags": [], "repoDigests": ["registry.test/shop/app@sha256:2"]}, {"id": "3", "repoTags": ["registry.k8s.io/pause:3.10"]}]}`), nil
}

func TestTasksOfCRIO(t *testing.T) {
	got, err := readTasks(&crioNode{})
	want := []task{
		{id: "c1", sandbox: "s1", kind: "container", name: "web", pid: 11},
		{id: "s1", sandbox: "s1", kind: "sandbox", namespace: "shop", pod: "app", name: "POD", pid: 10, netns: "/var/run/netns/1"},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v %v, want %+v", got, err, want)
	}
	if id, ok := shimOf(Process{Command: []string{"/usr/bin/conmon", "-b", "/x", "-c", "c1"}}); id != "c1" || !ok {
		t.Errorf("a conmon is the shim of %q", id)
	}
	script := CRIO.InShell("for d in @TASKS@; do cat $d/@PID@")
	if dir, _ := path.Split("/run/containers/storage/overlay-containers/c1/userdata/pidfile"); !strings.Contains(script, path.Join(path.Dir(path.Dir(path.Clean(dir))), "*", "userdata")) {
		t.Errorf("%s finds no task", script)
	}
}

// An image goes with its last tag; one that has none is removed by its digest.
func TestImagesOfCRIO(t *testing.T) {
	n := &crioNode{}
	i := &Images{Registry: "registry.test", Had: []string{"registry.test/shop/base:1"}}
	i.sys = n
	if err := i.Undo(t.Context(), Env{}); err != nil {
		t.Fatal(err)
	}
	want := "crictl rmi registry.test/shop/app:1.0 registry.test/shop/app@sha256:2"
	if got := strings.Join(n.ran[len(n.ran)-1], " "); got != want {
		t.Errorf("ran %q, want %q", got, want)
	}
}

// A pod that ends while its image is removed holds it for seconds.
func TestImagesInUse(t *testing.T) {
	n := &crioNode{inUse: 3}
	i := &Images{Registry: "registry.test"}
	i.sys = n
	if err := i.Undo(t.Context(), Env{}); err != nil || n.inUse != 0 {
		t.Errorf("undo: %v, and %d refusals were not met", err, n.inUse)
	}
	n.inUse = 1000
	if err := i.Undo(t.Context(), Env{}); !inUse(err) {
		t.Errorf("an image that stays in use is removed: %v", err)
	}
}
