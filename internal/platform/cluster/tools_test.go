package cluster

import (
	"reflect"
	"testing"
)

func TestToolsByTheNodesOwnRuntime(t *testing.T) {
	var a, b container
	a.Name, b.Name = "/x-worker", "/x-worker2"
	b.Config.Labels = map[string]string{RuntimeLabel: "crio"}
	c := &Cluster{containers: []container{a, b}}
	if !reflect.DeepEqual(c.tools("x-worker"), containerdTools) || !reflect.DeepEqual(c.tools("x-worker2"), crioTools) {
		t.Error("images of a node are read by the tools of another runtime")
	}
}
