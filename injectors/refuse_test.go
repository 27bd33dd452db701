package injectors_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sickbay-dev/sickbay/injectors"
)

// TestNoMark: a node that sickbay did not make stays as it is, whoever starts the agent there; taking back is always possible.
func TestNoMark(t *testing.T) {
	n := newNode()
	start := n.Dump(true)
	marked := n.mounts
	n.mounts = n.mounts[:1]
	in := injectors.New(parts(n), "/agent")
	inj := injectors.Injection{ID: "a", Run: "r", Mechanism: "swap"}
	var wrong *injectors.RequestError
	for verb, do := range map[string]func() error{
		"check":  func() error { _, err := in.Check(t.Context(), inj); return err },
		"inject": func() error { _, err := in.Inject(t.Context(), inj); return err },
		"sign":   func() error { _, err := injectors.SignRequest{NotAfter: time.Now()}.Sign(n); return err },
	} {
		if err := do(); !errors.As(err, &wrong) || err == nil {
			t.Errorf("%s: %v", verb, err)
		}
	}
	n.mounts = marked
	if diff := cmp.Diff(start, n.Dump(true)); diff != "" {
		t.Error(diff)
	}
	if _, err := in.Inject(t.Context(), inj); err != nil {
		t.Fatal(err)
	}
	n.mounts = n.mounts[:1]
	if _, err := in.Recover(t.Context(), injectors.Selector{All: true}); err != nil {
		t.Errorf("recover: %v", err)
	}
}

// TestHostileParams: parameters of a stranger's scenario that would do more than the mechanism's own change.
func TestHostileParams(t *testing.T) {
	for params, ok := range map[string]bool{
		`{"name":"a","rules":"  file,\n  deny /etc/{passwd,group} w,\n  deny /a/{b,{c,d}}/** w,"}`: true,
		`{"name":"a","rules":"}\nprofile dockerd /usr/bin/dockerd {\n deny network,"}`:             false,
		`{"name":"a","rules":"} # {\nprofile x /usr/bin/x { # }\n"}`:                               false,
		`{"name":"a","rules":"deny \"/{\" }\nprofile x /usr/bin/x { \"}\" w,"}`:                    false,
		`{"name":"a","rules":"deny /\\{} w,"}`:                                                     false,
		`{"name":"a","rules":"profile child /usr/bin/x {\n}"}`:                                     false,
	} {
		m, _ := injectors.Lookup("apparmor-profile")
		if _, err := m.Decode(json.RawMessage(params)); (err == nil) != ok {
			t.Errorf("%s: %v", params, err)
		}
	}
	for path, ok := range map[string]bool{
		"/etc/containerd/certs.d/x/hosts.toml": true, "/var/lib/kubelet/seccomp/a.json": true, "/etc/hosts": true,
		"/etc/systemd/system/x.service": false, "/etc/systemd/system/kubelet.service.d/1.conf": false, "/usr/lib/systemd/system/x.service": false,
		"/etc/cron.d/x": false, "/etc/crontab": false, "/usr/bin/kubelet": false, "/usr/local/sbin/runc": false, "/etc/profile.d/x.sh": false, "/opt/cni/bin/ptp": false,
		"/etc/ld.so.preload": false, "/root/.ssh/authorized_keys": false, "/etc/sudoers.d/x": false, "/etc/kubernetes/manifests/x.yaml": false,
	} {
		m, _ := injectors.Lookup("file")
		if _, err := m.Decode(json.RawMessage(`{"path":"` + path + `","content":"x"}`)); (err == nil) != ok {
			t.Errorf("%s: %v", path, err)
		}
	}
}
