package main

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestRequest(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--root=/run/crun", "--systemd-cgroup", "create", "--bundle", "/b", "--pid-file", "/b/pidfile", "x"}, "/b/config.json"},
		{[]string{"--root=/run/crun", "exec", "--process=/tmp/p", "x"}, "/tmp/p"},
		{[]string{"kill", "x", "9"}, ""},
		{nil, ""},
	} {
		if got := request(c.args); got != c.want {
			t.Errorf("%v: %q, want %q", c.args, got, c.want)
		}
	}
}

func TestRestrict(t *testing.T) {
	process := map[string]any{"oomScoreAdj": json.Number("-998"), "capabilities": map[string]any{"bounding": []any{"CAP_CHOWN", "CAP_SYS_RESOURCE", "CAP_OF_TOMORROW"}}}
	restrict(process, 1, 0)
	if want := []any{"CAP_CHOWN", "CAP_OF_TOMORROW"}; !reflect.DeepEqual(process["capabilities"].(map[string]any)["bounding"], want) {
		t.Errorf("capabilities %v, want %v", process["capabilities"], want)
	}
	if process["oomScoreAdj"] != int64(0) {
		t.Errorf("score %v, want one that may be set", process["oomScoreAdj"])
	}
}
