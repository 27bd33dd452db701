package injectors_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/op"
)

// A folder that an injection made goes with what a learner put beside its files, or changed in them; its parent stays if others use it.
func TestOwnFolderGoesAsAWhole(t *testing.T) {
	for _, c := range []struct{ mechanism, params, dir, made string }{
		{"file", `{"path":"/var/lib/kubelet/seccomp/profiles/hardened.json","content":"{}"}`, "/var/lib/kubelet/seccomp/profiles", "hardened.json"},
		{"csi-driver", `{"action":"volumes","volumes":["data"],"size":"16Mi"}`, "/var/lib/sickbay/volumes/own", "data.img"},
		{"bridge-network", `{}`, "/usr/local/share/cni-bridge", "00-bridge.conflist"},
	} {
		t.Run(c.mechanism, func(t *testing.T) {
			ctx, n := t.Context(), newNode()
			in := injectors.New(parts(n), "/var/lib/sickbay/agent-test")
			if _, err := in.Inject(ctx, injectors.Injection{ID: "own-p1", Run: "own", Mechanism: c.mechanism, Prepared: true, Params: json.RawMessage(c.params)}); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{c.made, "copy-of-before"} {
				if err := n.Write(c.dir+"/"+name, []byte("a learner's"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if st, err := in.Recover(ctx, injectors.Selector{All: true}); err != nil || st[0].State != injectors.Recovered {
				t.Fatalf("%+v, %v", st, err)
			}
			if names, err := n.List(c.dir); err == nil {
				t.Errorf("%s stays with %v", c.dir, names)
			}
		})
	}
}

// What somebody mounted into such a folder is not theirs to lose: it stays, and the undo says what is to be unmounted.
func TestOwnFolderKeepsWhatIsMounted(t *testing.T) {
	ctx, n := t.Context(), newNode()
	in := injectors.New(parts(n), "/var/lib/sickbay/agent-test")
	params := json.RawMessage(`{"path":"/var/lib/kubelet/seccomp/profiles/hardened.json","content":"{}"}`)
	if _, err := in.Inject(ctx, injectors.Injection{ID: "own-p1", Run: "own", Mechanism: "file", Prepared: true, Params: params}); err != nil {
		t.Fatal(err)
	}
	const mounted = "/var/lib/kubelet/seccomp/profiles/mine"
	if err := n.MkdirAll("/srv/mine", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := n.Mount("/srv/mine", mounted, "", op.Bind, ""); err != nil {
		t.Fatal(err)
	}
	if st, err := in.Recover(ctx, injectors.Selector{All: true}); err == nil || !strings.Contains(err.Error(), "umount "+mounted) {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := n.Stat("/srv/mine"); err != nil {
		t.Error(err)
	}
}
