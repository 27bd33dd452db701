// Package strangers builds healthy nodes that are not kind's, as the agent records them: a distribution, a pod network, a firewall, a
// size and habits of their owners. No detector may say anything about any of them.
package strangers

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

// Layer is one property of a node.
type Layer struct {
	Name  string
	apply func(o *v1alpha1.Observation)
}

// Layers are all there are: a node has one distribution, then one network, then any of the others in their order.
func Layers() (bases, nets, others []Layer) {
	for _, d := range distributions {
		bases = append(bases, Layer{d.name, d.healthy})
	}
	return bases, networks, slices.Concat(sizes, habits, families, firewalls)
}

// Usual is the network that a distribution comes with, else Calico.
func Usual(distribution string) Layer {
	name := "Calico"
	for _, d := range distributions {
		if d.name == distribution && len(d.usualNetworks) > 0 {
			name = d.usualNetworks[0]
		}
	}
	return networks[slices.IndexFunc(networks, func(l Layer) bool { return l.Name == name })]
}

// inOrder is how layers have to be applied, whichever way they were drawn: a family gives all pods their addresses, so the pods come first.
func inOrder(layers []Layer) []Layer {
	_, _, others := Layers()
	rank := func(l Layer) int { return slices.IndexFunc(others, func(o Layer) bool { return o.Name == l.Name }) }
	return slices.SortedStableFunc(slices.Values(layers), func(a, b Layer) int { return rank(a) - rank(b) })
}

// Node is a healthy node of these layers.
func Node(layers ...Layer) *v1alpha1.Observation {
	o := detectorstest.Healthy()
	for _, l := range inOrder(layers) {
		l.apply(o)
	}
	for i := range o.API.Pods {
		for j := range o.API.Pods[i].Status.ContainerStatuses {
			s := &o.API.Pods[i].Status.ContainerStatuses[j]
			s.ContainerID = strings.Replace(s.ContainerID, "containerd://", o.Runtime.Name+"://", 1)
		}
	}
	scope := map[string]string{"cri-o": "crio-", "docker": "docker-", "containerd": "cri-containerd-"}[o.Runtime.Name]
	for i := range o.Containers {
		c := &o.Containers[i]
		c.CgroupPath = "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + strings.ReplaceAll("uid-"+c.Pod, "-", "_") + ".slice/" + scope + c.ID + ".scope"
	}
	return o
}

// History are so many equal looks at a node, half a minute apart; each sees the clocks and heartbeats of its time.
func History(looks int, layers ...Layer) v1alpha1.History {
	var h v1alpha1.History
	for i := range looks {
		o, ago := Node(layers...), time.Duration(looks-1-i)*30*time.Second
		o.At = o.At.Add(-ago)
		o.Clocks.NodeUnix -= ago.Seconds()
		o.API.ServerDate, o.API.AskedAt = o.API.ServerDate.Add(-ago), o.API.AskedAt.Add(-ago)
		o.API.Lease.Spec.RenewTime = &metav1.MicroTime{Time: o.API.Lease.Spec.RenewTime.Add(-ago)}
		for j := range o.API.Node.Status.Conditions {
			if c := &o.API.Node.Status.Conditions[j]; !c.LastHeartbeatTime.IsZero() {
				c.LastHeartbeatTime = metav1.NewTime(c.LastHeartbeatTime.Add(-ago))
			}
		}
		h = append(h, *o)
	}
	return h
}
