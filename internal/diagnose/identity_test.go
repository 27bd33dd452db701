package diagnose

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

// A node asked for by its address is found as the Node that its kubelet says it is, and stays it.
func TestNodeGoesByItsKubeletsName(t *testing.T) {
	for name, c := range map[string]struct {
		node func(*v1alpha1.Observation)
		want string
		api  bool
	}{
		"by its certificate": {func(*v1alpha1.Observation) {}, "lab-worker", true},
		"by its flag": {func(o *v1alpha1.Observation) {
			o.Certs = nil
			o.Kubelet.Flags = []string{"--hostname-override=lab-worker"}
		}, "lab-worker", true},
		"nobody says what it is": {func(o *v1alpha1.Observation) { o.Certs, o.Kubelet.Flags = nil, nil }, "10.0.0.7", false},
	} {
		t.Run(name, func(t *testing.T) {
			var asked, heard []string
			target := Target{
				API: APIFunc(func(_ context.Context, nodes []string) (map[string]*v1alpha1.API, error) {
					asked = append(asked, nodes...)
					out := map[string]*v1alpha1.API{}
					for _, n := range nodes {
						out[n] = &v1alpha1.API{}
						if n == "lab-worker" {
							out[n].Node = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n}}
						}
					}
					return out, nil
				}),
				Nodes: []Node{{Name: "10.0.0.7", Renamed: func(n string) { heard = append(heard, n) },
					Agent: AgentFunc(func(_ context.Context, ask Ask) (*v1alpha1.Observation, error) {
						o := detectorstest.Healthy()
						o.API = nil
						c.node(o)
						o.Journal.Cursor = ask.Cursor + "+"
						return o, nil
					})}},
			}
			w := NewWatcher(target, Options{})
			for range 2 {
				got, err := w.Look(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				o, ok := got[c.want]
				if !ok || (o.API != nil) != c.api || c.api && (o.API.Node == nil || o.API.Node.Name != "lab-worker") {
					t.Fatalf("looked at %v: %+v", got, o.API)
				}
				if why, unread := o.Unreadable(v1alpha1.SourceAPI); unread == c.api || !c.api && !strings.Contains(why, "pass NODE=10.0.0.7") {
					t.Errorf("unreadable: %t %s", unread, why)
				}
			}
			if c.api && (!slices.Equal(heard, []string{"lab-worker"}) || !slices.Equal(asked, []string{"10.0.0.7", "lab-worker", "lab-worker"})) {
				t.Errorf("heard %q, asked %q", heard, asked)
			}
			if h := w.Histories()[c.want]; len(h) != 2 || h[1].Journal.Cursor != "++" {
				t.Errorf("the second look did not go on where the first ended: %d looks", len(h))
			}
		})
	}
}
