// Package debugpod reaches nodes through the Kubernetes API alone: a privileged pod on each, as `kubectl debug node/NAME
// --profile=sysadmin` makes one, in which commands of the node are run.
//
// It knows the API and package node, nothing of agents or findings. What it makes has Label, ends by itself after Lifetime, and is
// deleted by Close or by the next Open.
package debugpod

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sickbay-dev/sickbay/internal/apiserver"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/process"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

const (
	// Lifetime is how long a pod lives at most, should nobody delete it: longer than --fix waits. A watch makes new ones.
	Lifetime = time.Hour
	// startBound is how long a pod may take to run: an image of 4 MB is pulled within it.
	startBound = 30 * time.Second
	// deadBound is the same where the kubelet does not answer: it may be the lease alone that fails.
	deadBound = 8 * time.Second
	// resumeBound is how long a command's end is waited for where the connection to it broke: restarting the kubelet or the runtime
	// breaks it, and both take 10 s to 30 s.
	resumeBound = time.Minute
	// askBound bounds one question to the API.
	askBound = 5 * time.Second
	poll     = 250 * time.Millisecond
)

// ownerAnnotation tells which process made a pod, for the next one to know whether it is still there.
const ownerAnnotation = "sickbay.dev/owner"

// Options of a session.
type Options struct {
	REST *rest.Config
	Kube kubernetes.Interface
	// Context names the cluster in the commands of messages.
	Context string
	// Namespace is where the pods are made.
	Namespace string
	// Image of the pods, which needs a shell; empty for one that each node has.
	Image string
}

// Session is the pods of one process in one cluster.
type Session struct {
	o     Options
	owner string
	ctx   context.Context // ends with the session
	end   context.CancelFunc

	mu    sync.Mutex
	made  map[string]bool        // names of pods that are to be deleted
	pods  map[string]*pod        // those that run, by node
	locks map[string]*sync.Mutex // one pod is started at a time on a node
	// critical nodes take no other pods: they are under pressure.
	critical map[string]bool
	patience float64 // factor of the bounds of a start; tests have little
}

// pod is one that runs.
type pod struct {
	*corev1.Pod
	began time.Time
}

// owner is the process of a pod.
type owner struct {
	Host string `json:"host"`
	process.ID
}

// Open asks what may be done, and deletes the pods that processes left behind which are no more. It starts nothing.
func Open(ctx context.Context, o Options) (*Session, error) {
	if err := allowed(ctx, o); err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	self, err := json.Marshal(owner{host, process.Self()})
	if err != nil {
		return nil, err
	}
	s := &Session{o: o, owner: string(self), made: map[string]bool{}, pods: map[string]*pod{}, locks: map[string]*sync.Mutex{}, critical: map[string]bool{}, patience: 1}
	s.ctx, s.end = context.WithCancel(context.WithoutCancel(ctx))
	left, err := Left(ctx, o.Kube, o.Namespace)
	if err != nil {
		return nil, err
	}
	for _, p := range left {
		if err := s.remove(ctx, p.Name); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Left are the pods that nobody will delete: their process, on this machine, has ended, or they have. All namespaces are looked at where
// none is given.
func Left(ctx context.Context, kube kubernetes.Interface, namespace string) ([]corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(askBound))
	defer cancel()
	list, err := kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: apiserver.LabelDebug})
	if err != nil {
		return nil, fmt.Errorf("list the pods of earlier looks: %w", err)
	}
	host, _ := os.Hostname()
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		if p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
			return false
		}
		var of owner
		if json.Unmarshal([]byte(p.Annotations[ownerAnnotation]), &of) != nil || of.Host != host {
			return true // another machine's: it ends by itself
		}
		return of.Alive()
	}), nil
}

// Node is a node that is reached through a pod of its own, made with the first command.
func (s *Session) Node(name string) node.Node { return node.Remote(name, &client{s: s, node: name}) }

// Close deletes the session's pods.
func (s *Session) Close(ctx context.Context) error {
	s.end()
	s.mu.Lock()
	locks := slices.Collect(maps.Values(s.locks))
	s.mu.Unlock()
	for _, l := range locks { // one that is being made would come after its deletion
		l.Lock()
		defer l.Unlock()
	}
	s.mu.Lock()
	made := slices.Sorted(maps.Keys(s.made))
	s.mu.Unlock()
	errs := make([]error, len(made))
	var wg sync.WaitGroup
	for i, name := range made {
		wg.Go(func() { errs[i] = s.remove(ctx, name) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// remove deletes a pod at once: nothing in it needs time to end, and a kubelet that is gone would never confirm.
func (s *Session) remove(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(askBound))
	defer cancel()
	var now int64
	err := s.o.Kube.CoreV1().Pods(s.o.Namespace).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete pod %s: %w; it ends by itself within %s, or: `kubectl --context %s -n %s delete pod %s`", name, err, Lifetime, s.o.Context, s.o.Namespace, name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.made, name)
	return nil
}

// lock has one pod started at a time on a node.
func (s *Session) lock(on string) (unlock func()) {
	s.mu.Lock()
	l := s.locks[on]
	if l == nil {
		l = &sync.Mutex{}
		s.locks[on] = l
	}
	s.mu.Unlock()
	l.Lock()
	return l.Unlock
}

// ready has a pod run on a node; one that has little time left is replaced.
func (s *Session) ready(ctx context.Context, on string) error {
	defer s.lock(on)()
	if p := s.has(on); p != nil {
		if time.Since(p.began) < Lifetime/2 {
			return nil
		}
		s.forget(ctx, on)
	}
	s.mu.Lock()
	critical := s.critical[on]
	s.mu.Unlock()
	p, err := s.start(ctx, on, critical)
	if pressed := new(pressureError); errors.As(err, &pressed) {
		// Under pressure a kubelet takes, and keeps, nothing but what is critical.
		s.mu.Lock()
		s.critical[on] = true
		s.mu.Unlock()
		p, err = s.start(ctx, on, true)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods[on] = &pod{p, time.Now()}
	return nil
}

// has is the pod of a node, nil where none runs.
func (s *Session) has(on string) *pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pods[on]
}

// forget deletes the pod of a node, so that the next command is run in another. Where it cannot be deleted, Close tries again.
func (s *Session) forget(ctx context.Context, on string) {
	s.mu.Lock()
	p := s.pods[on]
	delete(s.pods, on)
	s.mu.Unlock()
	if p != nil {
		_ = s.remove(context.WithoutCancel(ctx), p.Name)
	}
}

// podName is of a node, and of no pod before it.
func podName(on string) string {
	const random = 8
	on = strings.ReplaceAll(on, ".", "-")
	on = strings.TrimRight(on[:min(len(on), 63-len(apiserver.DebugPrefix)-random-1)], "-")
	return apiserver.DebugPrefix + on + "-" + strings.ToLower(rand.Text()[:random])
}
