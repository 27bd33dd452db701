package injectors_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/sickbay-dev/sickbay/injectors"
)

// What was pulled from the registry goes with it, under every name the runtime gave it; what was there before stays.
func TestRegistryTrustTakesItsImagesAway(t *testing.T) {
	ctx := t.Context()
	n := newNode()
	n.Pull("registry.k8s.io/pause:3.10", "sha256:aa")
	in := injectors.New(parts(n), "/var/lib/sickbay/agent-test")
	_, err := in.Inject(ctx, injectors.Injection{
		ID: "r-p1", Run: "r", Mechanism: "registry-trust", Prepared: true,
		Params: json.RawMessage(`{"host":"registry.r.test","ca":"PEM"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Pull("registry.r.test/shop/app:1.0", "sha256:bb")
	n.Pull("registry.r.test/shop/app@sha256:bb", "sha256:bb")
	n.Pull("sha256:cc", "sha256:bb")
	st, err := in.Recover(ctx, injectors.Selector{All: true})
	if err != nil || len(st) != 1 || st[0].State != injectors.Recovered {
		t.Fatalf("%+v, %v", st, err)
	}
	if got := n.Images(); !slices.Equal(got, []string{"registry.k8s.io/pause:3.10"}) {
		t.Errorf("left: %q", got)
	}
	for _, f := range []string{"/etc/containerd/certs.d", "/etc/containerd/certs.d/registry.r.test/ca.crt"} {
		if _, err := n.Stat(f); err == nil {
			t.Errorf("%s is still there", f)
		}
	}
}

// Who mends a registry's trust changes these files and puts others beside them: all of it goes. A folder that was there before stays.
func TestRegistryTrustTakesItsFolderAway(t *testing.T) {
	const dir = "/etc/containerd/certs.d/registry.r.test"
	for name, there := range map[string]bool{"made": false, "there before": true} {
		t.Run(name, func(t *testing.T) {
			ctx, n := t.Context(), newNode()
			write := func(name, data string) {
				t.Helper()
				if err := errors.Join(n.MkdirAll(dir, 0o755), n.Write(dir+"/"+name, []byte(data), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			if there {
				write("client.key", "theirs")
			}
			in := injectors.New(parts(n), "/var/lib/sickbay/agent-test")
			if _, err := in.Inject(ctx, injectors.Injection{
				ID: "r-p1", Run: "r", Mechanism: "registry-trust", Prepared: true, Params: json.RawMessage(`{"host":"registry.r.test","ca":"PEM"}`),
			}); err != nil {
				t.Fatal(err)
			}
			write("renewed.crt", "PEM2")
			write("hosts.toml", "skip_verify = true\n")
			if st, err := in.Recover(ctx, injectors.Selector{All: true}); err != nil || st[0].State != injectors.Recovered {
				t.Fatalf("%+v, %v", st, err)
			}
			if _, err := n.Stat(dir); (err == nil) != there {
				t.Errorf("the folder: %v", err)
			}
			if _, err := n.Stat(dir + "/client.key"); (err == nil) != there {
				t.Errorf("what was there before: %v", err)
			}
		})
	}
}

func TestRegistryTrustWantsAHost(t *testing.T) {
	for _, p := range []string{`{}`, `{"host":"a/b","ca":"x"}`, `{"host":"a","ca":""}`, `{"host":"https://a","ca":"x"}`} {
		m, _ := injectors.Lookup("registry-trust")
		if _, err := m.Decode(json.RawMessage(p)); err == nil {
			t.Errorf("%s was accepted", p)
		}
	}
}
