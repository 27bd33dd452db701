package testbed

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/fingerprint"
	"github.com/sickbay-dev/sickbay/internal/retry"
)

// A fingerprint that could not be read as a whole is taken again, and one that never can be says what is unknown.
func TestReadable(t *testing.T) {
	bad, calls := 2, 0
	take := func(context.Context) (*fingerprint.Fingerprint, error) {
		f := fingerprint.New("api", time.Time{})
		if calls++; calls <= bad {
			f.Fail(fingerprint.Objects, errors.New("list secrets: forbidden"))
		}
		return f, nil
	}
	f, err := readable(t.Context(), time.Millisecond, time.Minute, take)
	if err != nil || calls != 3 || len(f.Unknown) != 0 {
		t.Errorf("%d calls: %v, %v", calls, f, err)
	}
	bad = 1 << 30
	if _, err := readable(t.Context(), time.Millisecond, 10*time.Millisecond, take); !errors.Is(err, retry.ErrBound) || !strings.Contains(err.Error(), "objects: list secrets: forbidden") {
		t.Errorf("never readable: %v", err)
	}
	broken := errors.New("no agent")
	if _, err := readable(t.Context(), time.Millisecond, time.Minute, func(context.Context) (*fingerprint.Fingerprint, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("an error of its own: %v", err)
	}
}

// A workload and a rollout are written although the API server forbids each call at first, discovery's as well.
func TestWritesWaitForTheAPI(t *testing.T) {
	var refused, asked sync.Map // method and path
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := r.Method + " " + r.URL.Path
		w.Header().Set("Content-Type", "application/json")
		// An API server of today tells all of its groups in the answers of /api and /apis; one of theirs is never asked alone.
		if _, before := refused.LoadOrStore(call, true); !before && call != "GET /api/v1" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,`+
				`"message":"configmaps is forbidden: User \"kubernetes-admin\" cannot create resource \"configmaps\" in API group \"\" in the namespace \"n\""}`)
			return
		}
		asked.Store(call, true)
		answer, ok := map[string]string{
			"GET /api":                             `{"kind":"APIVersions","versions":["v1"]}`,
			"GET /apis":                            `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`,
			"GET /api/v1":                          `{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"configmaps","namespaced":true,"kind":"ConfigMap","verbs":["create","patch"]}]}`,
			"POST /api/v1/namespaces/n/configmaps": `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c"}}`,
			"PATCH /api/v1/namespaces/n/configmaps/c": `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c"}}`,
		}[call]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()

	l := &kindTestbed{config: func() *rest.Config { return &rest.Config{Host: server.URL} }, t: fault.Timings{Poll: time.Millisecond, Call: time.Minute}}
	manifest := []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")
	if made, err := l.Workload(t.Context(), "n", manifest, nil); err != nil || len(made.List()) != 1 {
		t.Errorf("workload: %v", err)
	}
	if made, err := l.Rollout(t.Context(), "n", manifest, nil); err != nil || len(made.List()) != 1 {
		t.Errorf("rollout: %v", err)
	}
	for _, call := range []string{"POST /api/v1/namespaces/n/configmaps", "PATCH /api/v1/namespaces/n/configmaps/c"} {
		if _, ok := asked.Load(call); !ok {
			t.Errorf("%s was never carried out", call)
		}
	}
}
