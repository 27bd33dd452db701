package lab

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	authnv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var begun = time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)

// audited is a line of the audit log, of a change that many seconds after the begin.
func audited(after int, verb, resource, namespace, name string, more ...func(*auditv1.Event)) string {
	resource, sub, _ := strings.Cut(resource, "/")
	e := auditv1.Event{
		TypeMeta: metav1.TypeMeta{APIVersion: "audit.k8s.io/v1", Kind: "Event"}, Level: auditv1.LevelMetadata, Stage: auditv1.StageResponseComplete, Verb: verb,
		User:                     authnv1.UserInfo{Username: "oncall"},
		ObjectRef:                &auditv1.ObjectReference{Resource: resource, Subresource: sub, Namespace: namespace, Name: name},
		RequestReceivedTimestamp: metav1.NewMicroTime(begun.Add(time.Duration(after) * time.Second)),
	}
	for _, f := range more {
		f(&e)
	}
	return asJSON(e) + "\n"
}

func changes(log string) []Entry {
	return Changes([]byte(log), "oncall", begun, begun.Add(time.Hour))
}

func says(list []Entry) string {
	var b strings.Builder
	for _, e := range list {
		fmt.Fprintf(&b, "%d %s: %s\n", int(e.At.Sub(begun).Seconds()), e.Kind, e.Text)
	}
	return b.String()
}

func TestChanges(t *testing.T) {
	code := func(n int32) func(*auditv1.Event) {
		return func(e *auditv1.Event) { e.ResponseStatus = &metav1.Status{Code: n} }
	}
	id := func(s string) func(*auditv1.Event) { return func(e *auditv1.Event) { e.AuditID = types.UID(s) } }
	got := says(changes(strings.Join([]string{
		audited(-1, "delete", "pods", "default", "before"),
		audited(3601, "delete", "pods", "default", "afterwards"),
		audited(5, "delete", "pods", "default", "web-1", code(200)),
		audited(4, "patch", "nodes", "", "w1", code(200)), // it is in the log behind what came later
		audited(6, "delete", "pods", "default", "web-2", code(404)),
		audited(7, "deletecollection", "pods", "default", ""),
		audited(8, "get", "pods/exec", "default", "web-1", code(101), id("a")),
		audited(8, "get", "pods/exec", "default", "web-1", code(101), id("a")),
		audited(9, "patch", "deployments", "shop", "web", func(e *auditv1.Event) { e.RequestURI = "/apis/apps/v1/namespaces/shop/deployments/web?dryRun=All" }),
		audited(10, "create", "pods", "default", "other", func(e *auditv1.Event) { e.User.Username = "kubernetes-admin" }),
	}, "")))
	want := `4 api: patch nodes w1
5 api: delete pods default/web-1
6 api: delete pods default/web-2 (failed: 404)
7 api: deletecollection pods in default
8 api: create pods/exec default/web-1
9 api: patch deployments shop/web (dry run)
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestChangesFold: a storm is one line, also where two take turns; the same an hour later is another.
func TestChangesFold(t *testing.T) {
	var log strings.Builder
	for i := range 300 {
		log.WriteString(audited(i, "patch", "nodes", "", "w1") + audited(i, "update", "leases", "kube-node-lease", "w1"))
	}
	log.WriteString(audited(2000, "patch", "nodes", "", "w1"))
	want := "0 api: patch nodes w1, 300 times\n0 api: update leases kube-node-lease/w1, 300 times\n2000 api: patch nodes w1\n"
	if got := says(changes(log.String())); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestChangesAreBounded(t *testing.T) {
	var log strings.Builder
	for i := range 1000 {
		log.WriteString(audited(i, "delete", "pods", "default", fmt.Sprint("web-", i)))
	}
	got := changes(log.String())
	if len(got) != mostChanges+1 || got[mostChanges].Text != "and 800 more" {
		t.Errorf("%d entries, the last one %q", len(got), got[len(got)-1].Text)
	}
	if long := changes(audited(1, "delete", "pods", "default", strings.Repeat("x", 5000))); len(long) != 1 || len([]rune(long[0].Text)) > 160 {
		t.Errorf("%d entries: %s", len(long), says(long))
	}
}

// TestChangesOfAnybodysLog: whoever has a shell on the control plane may write what they like into the log.
func TestChangesOfAnybodysLog(t *testing.T) {
	good := audited(5, "delete", "pods", "default", "web-1")
	for name, bad := range map[string]string{
		"cut":           good[20:],
		"empty":         "\n\n{}\nnull\n[]\n",
		"binary":        "\x00\x01\xff\xfe\n",
		"other types":   `{"user":"oncall","verb":7,"objectRef":[]}` + "\n",
		"no object":     `{"user":{"username":"oncall"},"verb":"delete","requestReceivedTimestamp":"2026-11-29T10:00:01.000000Z"}` + "\n",
		"no time":       `{"user":{"username":"oncall"},"verb":"delete","objectRef":{"resource":"pods"}}` + "\n",
		"a bad time":    `{"user":{"username":"oncall"},"verb":"delete","objectRef":{"resource":"pods"},"requestReceivedTimestamp":"yesterday"}` + "\n",
		"huge":          audited(1, "delete", "pods", "default", strings.Repeat("x", longestRecord)),
		"deep":          strings.Repeat("[", 100000) + "\n",
		"somebody else": audited(1, "create", "namespaces", "", "x", func(e *auditv1.Event) { e.User.Username = "oncall2" }),
	} {
		if got := says(changes(bad + good)); got != "5 api: delete pods default/web-1\n" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestChangesTellNoSecrets: neither of a name nor of what a URL carries; and a terminal obeys nothing of it.
func TestChangesTellNoSecrets(t *testing.T) {
	got := says(changes(audited(1, "create", "pods/exec", "default", "web", func(e *auditv1.Event) {
		e.RequestURI = "/api/v1/namespaces/default/pods/web/exec?command=mysql&command=-phunter22"
		e.UserAgent = "kubectl hunter22"
		e.Annotations = map[string]string{"x": "hunter22"}
	}) + audited(2, "delete", "secrets", "default", "eyJhbGciOiJSUzI1NiIsImtpZCI6Ing.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJl") +
		audited(3, "delete", "pods", "default", "a\x1b]0;owned\a\nb\u202e|c")))
	for _, bad := range []string{"hunter22", "eyJ", "\x1b", "\a", "\u202e"} {
		if strings.Contains(got, bad) {
			t.Errorf("%q is in %q", bad, got)
		}
	}
	if strings.Count(got, "\n") != 3 {
		t.Errorf("%q", got)
	}
}

func FuzzChanges(f *testing.F) {
	f.Add([]byte(audited(5, "delete", "pods", "default", "web-1")))
	f.Add([]byte(`{"user":{"username":"oncall"},"verb":"get","objectRef":{},"requestReceivedTimestamp":null}`))
	f.Fuzz(func(t *testing.T, log []byte) {
		list := Changes(log, "oncall", begun, begun.Add(time.Hour))
		if _, err := json.Marshal(list); err != nil || len(list) > mostChanges+1 {
			t.Errorf("%d entries, %v", len(list), err)
		}
		for _, e := range list {
			if strings.ContainsAny(e.Text, "\x1b\n\r\x00") {
				t.Errorf("%q", e.Text)
			}
		}
	})
}
