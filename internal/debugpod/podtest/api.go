// Package podtest is for tests of what reads nodes through the API: an API server with nodes, pods and exec, whose containers are
// processes of this machine.
package podtest

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// API is a running API server.
type API struct {
	URL string
	// Kubeconfig is a file with one context, "away", of namespace "tools".
	Kubeconfig string

	mu    sync.Mutex
	nodes map[string]*corev1.Node
	pods  map[string]*corev1.Pod
	// made are all pods that were ever made.
	made   []corev1.Pod
	denied map[string]bool
	status func(*corev1.Pod) corev1.PodStatus
	tmp    string
	conns  []net.Conn
}

// Serve starts one with these nodes. Its pods run at once.
func Serve(t testing.TB, nodes ...*corev1.Node) *API {
	t.Helper()
	a := &API{nodes: map[string]*corev1.Node{}, pods: map[string]*corev1.Pod{}, denied: map[string]bool{}, tmp: t.TempDir()}
	for _, n := range nodes {
		a.nodes[n.Name] = n
	}
	// Nothing enters another namespace here.
	if err := os.WriteFile(filepath.Join(a.tmp, "nsenter"), []byte("#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(a.handle))
	t.Cleanup(s.Close)
	a.URL, a.Kubeconfig = s.URL, filepath.Join(a.tmp, "kubeconfig")
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: s.URL}
	c.Contexts["away"] = &clientcmdapi.Context{Cluster: "c", Namespace: "tools"}
	if err := clientcmd.WriteToFile(*c, a.Kubeconfig); err != nil {
		t.Fatal(err)
	}
	return a
}

// Node is a Ready node that has these images.
func Node(name string, images ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	for _, i := range images {
		n.Status.Images = append(n.Status.Images, corev1.ContainerImage{Names: []string{i}})
	}
	return n
}

// Deny takes permissions away, such as "create pods/exec".
func (a *API) Deny(what ...string) {
	for _, w := range what {
		a.denied[w] = true
	}
}

// Status has new pods get another status than that of a running one.
func (a *API) Status(f func(*corev1.Pod) corev1.PodStatus) { a.status = f }

// Put puts a pod there.
func (a *API) Put(p corev1.Pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pods[p.Name] = &p
}

// Pods are the names of those that are there.
func (a *API) Pods() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.pods))
}

// Made are all pods that were made.
func (a *API) Made() []corev1.Pod {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.made)
}

// Drop breaks the connections of what is executed, which goes on.
func (a *API) Drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		_ = c.Close()
	}
	a.conns = nil
}

func (a *API) handle(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	last := parts[len(parts)-1]
	switch {
	case last == "version":
		reply(w, 200, map[string]string{"gitVersion": "v1.37.2"})
	case last == "selfsubjectaccessreviews":
		var s authorizationv1.SelfSubjectAccessReview
		decode(r, &s)
		what := s.Spec.ResourceAttributes.Verb + " " + s.Spec.ResourceAttributes.Resource
		if sub := s.Spec.ResourceAttributes.Subresource; sub != "" {
			what += "/" + sub
		}
		s.Status.Allowed = !a.denied[what]
		reply(w, 201, s)
	case last == "exec":
		a.exec(w, r, parts[len(parts)-2])
	case last == "nodes":
		var l corev1.NodeList
		for _, name := range slices.Sorted(maps.Keys(a.nodes)) {
			l.Items = append(l.Items, *a.nodes[name])
		}
		reply(w, 200, l)
	case len(parts) == 4 && parts[2] == "nodes" && a.nodes[last] != nil:
		reply(w, 200, a.nodes[last])
	case slices.Contains(parts, "pods"):
		a.pod(w, r, last)
	default:
		reply(w, 200, map[string]any{"kind": "List", "items": []any{}})
	}
}

func (a *API) pod(w http.ResponseWriter, r *http.Request, last string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case r.Method == http.MethodPost:
		var p corev1.Pod
		decode(r, &p)
		p.UID = "u-" + p.UID
		p.Status = corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}
		if a.status != nil {
			p.Status = a.status(&p)
		}
		a.made = append(a.made, p)
		a.pods[p.Name] = &p
		reply(w, 201, p)
	case last == "pods":
		var l corev1.PodList
		for _, name := range slices.Sorted(maps.Keys(a.pods)) {
			if sel := r.URL.Query().Get("labelSelector"); sel == "" || a.pods[name].Labels[sel] != "" {
				l.Items = append(l.Items, *a.pods[name])
			}
		}
		reply(w, 200, l)
	case a.pods[last] == nil:
		reply(w, 404, metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: 404, Message: "pods " + last + " not found"})
	case r.Method == http.MethodDelete:
		delete(a.pods, last)
		reply(w, 200, metav1.Status{Status: metav1.StatusSuccess})
	default:
		reply(w, 200, a.pods[last])
	}
}

// decode reads an object in whatever form the client writes it.
func decode(r *http.Request, into runtime.Object) {
	if b, err := io.ReadAll(r.Body); err == nil {
		_, _, _ = scheme.Codecs.UniversalDeserializer().Decode(b, nil, into)
	}
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

// exec runs a command as a container runtime does: in a session of its own, which goes on when the connection is gone.
func (a *API) exec(w http.ResponseWriter, r *http.Request, pod string) {
	q := r.URL.Query()
	a.mu.Lock()
	there := a.pods[pod] != nil
	a.mu.Unlock()
	if !there {
		reply(w, 404, metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: 404, Message: "pods " + pod + " not found"})
		return
	}
	in, out, stderr := wsstream.IgnoreChannel, wsstream.IgnoreChannel, wsstream.IgnoreChannel
	if q.Get("stdin") == "true" {
		in = wsstream.ReadChannel
	}
	if q.Get("stdout") == "true" {
		out = wsstream.WriteChannel
	}
	if q.Get("stderr") == "true" {
		stderr = wsstream.WriteChannel
	}
	ws := wsstream.NewConn(map[string]wsstream.ChannelProtocolConfig{
		remotecommand.StreamProtocolV5Name: {Binary: true, Channels: []wsstream.ChannelType{in, out, stderr, wsstream.WriteChannel, wsstream.ReadChannel}},
	})
	_, streams, err := ws.Open(&hijacker{w, a}, r)
	if err != nil {
		return
	}
	defer ws.Close()
	argv := slices.Clone(q["command"])
	for i := range argv {
		argv[i] = strings.NewReplacer("/sickbay-$", a.tmp+"/sickbay-$").Replace(argv[i])
	}
	c := exec.Command("setsid", append([]string{"-w"}, argv...)...)
	c.Env = append(os.Environ(), "PATH="+a.tmp+":"+os.Getenv("PATH"))
	// The command does not hear of a connection that breaks.
	c.Stdout, c.Stderr = swallow{streams[remotecommand.StreamStdOut]}, swallow{streams[remotecommand.StreamStdErr]}
	if in == wsstream.ReadChannel {
		c.Stdin = streams[remotecommand.StreamStdIn]
	}
	end := metav1.Status{Status: metav1.StatusSuccess}
	if exit := new(exec.ExitError); errors.As(c.Run(), &exit) {
		code := exit.ExitCode()
		if code < 0 { // by a signal
			code = 128 + int(exit.Sys().(syscall.WaitStatus).Signal())
		}
		end = metav1.Status{Status: metav1.StatusFailure, Reason: "NonZeroExitCode", Message: exit.Error(), Details: &metav1.StatusDetails{
			Causes: []metav1.StatusCause{{Type: "ExitCode", Message: strconv.Itoa(code)}},
		}}
	}
	b, _ := json.Marshal(end)
	_, _ = streams[remotecommand.StreamErr].Write(b)
}

// swallow is a stream of a connection that may be gone.
type swallow struct{ w io.Writer }

func (s swallow) Write(p []byte) (int, error) { _, _ = s.w.Write(p); return len(p), nil }

// hijacker keeps the connection, to be dropped.
type hijacker struct {
	http.ResponseWriter
	a *API
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err == nil {
		h.a.mu.Lock()
		defer h.a.mu.Unlock()
		h.a.conns = append(h.a.conns, c)
	}
	return c, rw, err
}
