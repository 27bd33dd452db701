package testbed

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/internal/fingerprint"
)

// TestLeft: what somebody has left on a node is seen by a process that did not see it before; what the kubelet does is nobody's.
func TestLeft(t *testing.T) {
	was, now := fingerprint.New("w1", time.Now()), fingerprint.New("w1", time.Now())
	was.Set(fingerprint.Images, "shop:1", "")
	raw, err := json.Marshal(was)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := left(raw, now); err != nil || len(got) != 0 {
		t.Errorf("%q, %v", got, err)
	}
	now.Set(fingerprint.Files, "/etc/kubelet.conf.bak", "0644 12")
	if got, err := left(raw, now); err != nil || len(got) != 1 || !strings.Contains(got[0], "/etc/kubelet.conf.bak") {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := left([]byte("{"), now); err == nil {
		t.Error("half a file was read")
	}
}
