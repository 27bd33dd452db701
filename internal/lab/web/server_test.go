package web

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sickbay-dev/sickbay/internal/lab"
)

// room is a class of two at a server on the loopback.
type room struct {
	*testing.T
	*Server
	http  *httptest.Server
	desks []*fakeDesk
}

func newRoom(t *testing.T) *room {
	r := &room{T: t}
	o := Options{Labs: []Listed{{"L99", "network", 1, 10}}, Names: []string{"cni", "cni/conflist-missing"}}
	for _, name := range []string{"ada", "bo"} {
		d := &fakeDesk{dir: t.TempDir()}
		d.fixed = func() bool { _, err := os.Stat(filepath.Join(d.dir, "fixed")); return err == nil }
		r.desks = append(r.desks, d)
		o.Seats = append(o.Seats, Seat{name, d})
	}
	r.http = httptest.NewUnstartedServer(nil)
	o.Hosts = []string{r.http.Listener.Addr().String()}
	r.Server = New(t.Context(), o)
	r.http.Config = r.Serve()
	r.http.Start()
	t.Cleanup(func() { r.Close(); r.http.Close() })
	return r
}

// ask asks as the page of a token does; change may spoil the request.
func (r *room) ask(method, path, tok, body string, change func(*http.Request)) (int, string) {
	r.Helper()
	q, err := http.NewRequestWithContext(r.Context(), method, r.http.URL+path, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	if tok != "" {
		q.Header.Set("Authorization", "Bearer "+tok)
	}
	q.Header.Set("Origin", r.http.URL)
	if change != nil {
		change(q)
	}
	a, err := r.http.Client().Do(q)
	if err != nil {
		r.Fatal(err)
	}
	defer a.Body.Close()
	raw, err := io.ReadAll(a.Body)
	if err != nil {
		r.Fatal(err)
	}
	return a.StatusCode, string(raw)
}

func (r *room) post(path, tok, body string) {
	r.Helper()
	if code, out := r.ask("POST", path, tok, body, nil); code != 200 {
		r.Fatalf("%s: %d %s", path, code, out)
	}
}

func (r *room) state(i int) (st standing) {
	r.Helper()
	_, raw := r.ask("GET", "/api/state", r.learners[i].token, "", nil)
	if err := json.Unmarshal([]byte(raw), &st); err != nil {
		r.Fatalf("%s: %v", raw, err)
	}
	return st
}

// idle waits until no job is under way.
func (r *room) idle(i int) standing {
	r.Helper()
	for {
		if st := r.state(i); !st.Job.Busy {
			return st
		}
		select {
		case <-r.Context().Done():
			r.Fatal("the test's time is over")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestRefusals: neither another page, nor another name of this machine, nor somebody without a token gets anything.
func TestRefusals(t *testing.T) {
	r := newRoom(t)
	mine := r.learners[0].token
	host := func(h string) func(*http.Request) { return func(q *http.Request) { q.Host = h } }
	origin := func(o string) func(*http.Request) { return func(q *http.Request) { q.Header.Set("Origin", o) } }
	for name, c := range map[string]struct {
		method, path, token, body string
		change                    func(*http.Request)
		want                      int
		says                      string
	}{
		"its own page":                  {"GET", "/api/state", mine, "", nil, 200, ""},
		"no Origin, as of a command":    {"GET", "/api/state", mine, "", func(q *http.Request) { q.Header.Del("Origin") }, 200, ""},
		"a foreign Host":                {"GET", "/api/state", mine, "", host("evil.example"), 421, "sickbay lab serve --host NAME"},
		"a foreign Host of a page":      {"GET", "/", "", "", host("evil.example:80"), 421, ""},
		"a foreign Host of an asset":    {"GET", "/page/learner.js", "", "", host("evil.example:80"), 421, ""},
		"a foreign Origin":              {"POST", "/api/hint", mine, "", origin("http://evil.example"), 403, "may not ask"},
		"an Origin of another port":     {"POST", "/api/hint", mine, "", origin("http://127.0.0.1:1"), 403, ""},
		"an Origin of no page":          {"POST", "/api/hint", mine, "", origin("null"), 403, ""},
		"no token":                      {"GET", "/api/state", "", "", nil, 401, "open the link"},
		"a token of nobody":             {"POST", "/api/stop", "x", "", nil, 401, ""},
		"a token in the address":        {"GET", "/api/state?token=" + mine, "", "", nil, 401, ""},
		"the teacher at a desk":         {"GET", "/api/state", r.teacher, "", nil, 401, ""},
		"a learner as teacher":          {"GET", "/api/class", mine, "", nil, 401, ""},
		"a learner who starts for all":  {"POST", "/api/class/start", mine, "{}", nil, 401, ""},
		"a body without end":            {"POST", "/api/answer", mine, `{"name": "` + strings.Repeat("x", mostBody) + `"}`, nil, 413, ""},
		"a body that is none":           {"POST", "/api/answer", mine, "name=cni", nil, 400, ""},
		"a GET that would change":       {"GET", "/api/hint", mine, "", nil, 405, ""},
		"a file beside the pages":       {"GET", "/page/../server.go", "", "", nil, 404, ""},
		"a learner whom there is not":   {"POST", "/api/class/stop", r.teacher, `{"who": ["cy"]}`, nil, 422, "cy"},
		"a terminal without a page":     {"GET", "/api/terminal?node=cp", mine, "", func(q *http.Request) { q.Header.Del("Origin") }, 403, "no Origin"},
		"a terminal on another machine": {"GET", "/api/terminal?node=x", mine, "", nil, 422, "no node"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out := r.ask(c.method, c.path, c.token, c.body, c.change)
			if code != c.want || !strings.Contains(out, c.says) {
				t.Errorf("%d, want %d: %s", code, c.want, out)
			}
		})
	}
	for _, d := range r.desks {
		if d.stopped > 0 || len(d.chosen) > 0 {
			t.Error("a refused request did something")
		}
	}
}

// TestPolicy: a page loads nothing but its own files, and no script stands in it.
func TestPolicy(t *testing.T) {
	r := newRoom(t)
	for _, page := range []string{"/", "/class"} {
		a, err := r.http.Client().Get(r.http.URL + page)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := io.ReadAll(a.Body)
		a.Body.Close()
		p := a.Header.Get("Content-Security-Policy")
		if !strings.Contains(p, "default-src 'none'; script-src 'self';") || !strings.Contains(p, "frame-ancestors 'none'") {
			t.Errorf("%s: %s", page, p)
		}
		for _, bad := range []string{"NONCE", "<style", " onclick=", "http://", "https://", r.teacher, r.learners[0].token} {
			if strings.Contains(string(raw), bad) {
				t.Errorf("%s has %s", page, bad)
			}
		}
	}
}

// dial opens a terminal as a page does.
func (r *room) dial(query, tok string, change func(http.Header)) (c *websocket.Conn, status int, err error) {
	h := http.Header{"Origin": {r.http.URL}}
	if change != nil {
		change(h)
	}
	c, a, err := websocket.Dial(r.Context(), r.http.URL+"/api/terminal?"+query, &websocket.DialOptions{HTTPHeader: h, Subprotocols: []string{protocol, tokenPrefix + tok}})
	if a != nil {
		status = a.StatusCode
	}
	if err != nil && a != nil {
		_ = a.Body.Close() // a WebSocket has none
	}
	if err == nil {
		r.Cleanup(func() { _ = c.CloseNow() })
	}
	return c, status, err
}

// read reads until a text has been shown, and returns what was told first and where the page is then.
func read(t *testing.T, c *websocket.Conn, until string) (first hello, shown string, at int64) {
	t.Helper()
	for told := false; !strings.Contains(shown, until); {
		kind, p, err := c.Read(t.Context())
		if err != nil {
			t.Fatalf("after %q: %v", shown, err)
		}
		if kind == websocket.MessageText {
			var h hello
			if err := json.Unmarshal(p, &h); err != nil {
				t.Fatal(err)
			}
			if !told {
				first, told = h, true
			}
			at = h.From
			continue
		}
		shown += string(p)
		at += int64(len(p))
	}
	return first, shown, at
}

// TestTerminal: a shell goes on while nobody looks; who comes back sees what was missed, and no more.
func TestTerminal(t *testing.T) {
	r := newRoom(t)
	tok := r.learners[0].token
	for name, spoil := range map[string]func(http.Header){
		"foreign Origin": func(h http.Header) { h.Set("Origin", "http://evil.example") },
		"no Origin":      func(h http.Header) { h.Del("Origin") },
	} {
		if _, a, err := r.dial("node=cp", tok, spoil); err == nil || a != http.StatusForbidden {
			t.Errorf("%s: %d", name, a)
		}
	}
	if _, a, err := r.dial("node=cp", "x", nil); err == nil || a != http.StatusUnauthorized {
		t.Errorf("without a token: %d", a)
	}
	c, _, err := r.dial("node=cp", tok, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write(t.Context(), websocket.MessageText, []byte(`{"cols": 99, "rows": 33}`)); err != nil {
		t.Fatal(err)
	}
	typed(t, c, "stty size; echo se''en\r")
	first, shown, at := read(t, c, "seen")
	if !strings.Contains(shown, "33 99") || first.Session == "" {
		t.Errorf("%+v: %q", first, shown)
	}
	_ = c.CloseNow()
	if got := r.state(0).Shells; !slices.Equal(got, []string{"cp"}) {
		t.Errorf("shells: %v", got)
	}
	// Back again, with the same shell, from where it was.
	c, _, err = r.dial("node=cp&session="+first.Session+"&from="+strconv.FormatInt(at, 10), tok, nil)
	if err != nil {
		t.Fatal(err)
	}
	typed(t, c, "echo ag''ain\r")
	if h, shown, _ := read(t, c, "again"); h.From != at || h.Session != first.Session || strings.Contains(shown, "seen") {
		t.Errorf("%+v: %q", h, shown)
	}
	// A page that was loaded anew has nothing, and gets all that is kept.
	other, _, err := r.dial("node=cp", tok, nil)
	if err != nil {
		t.Fatal(err)
	}
	if h, shown, _ := read(t, other, "again"); h.From != 0 || !strings.Contains(shown, "seen") {
		t.Errorf("%+v: %q", h, shown)
	}
	// The end of the shell is told; the next is another one.
	typed(t, c, "exit\r")
	for {
		if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) == websocket.StatusNormalClosure {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	c, _, err = r.dial("node=cp&from=5&session="+first.Session, tok, nil)
	if err != nil {
		t.Fatal(err)
	}
	if h, _, _ := read(t, c, "cp:"); h.Session == first.Session || h.From != 0 {
		t.Errorf("%+v", h)
	}
}

func typed(t *testing.T, c *websocket.Conn, s string) {
	t.Helper()
	if err := c.Write(t.Context(), websocket.MessageBinary, []byte(s)); err != nil {
		t.Fatal(err)
	}
}

// TestOversizedFrame: a message larger than any page sends ends the connection and not the shell.
func TestOversizedFrame(t *testing.T) {
	r := newRoom(t)
	c, _, err := r.dial("node=w1", r.learners[0].token, nil)
	if err != nil {
		t.Fatal(err)
	}
	read(t, c, "w1:")
	_ = c.Write(t.Context(), websocket.MessageBinary, append([]byte("echo ta''ken #"), append(make([]byte, mostFrame), "\x15echo ta''ken\r"...)...))
	shown := ""
	for err = nil; err == nil && !strings.Contains(shown, "taken"); {
		var p []byte
		_, p, err = c.Read(t.Context())
		shown += string(p)
	}
	if websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Error(err)
	}
	if got := r.state(0).Shells; !slices.Equal(got, []string{"w1"}) {
		t.Errorf("shells: %v", got)
	}
}

// TestFlow is a lab from the start to the debrief, with the teacher beside.
func TestFlow(t *testing.T) {
	r := newRoom(t)
	ada, d := r.learners[0].token, r.desks[0]
	r.post("/api/class/start", r.teacher, `{"who": ["ada"], "level": 1}`)
	st := r.idle(0)
	if st.Lab == nil || st.Lab.Code != "L99" || len(d.chosen) != 1 || d.chosen[0].Level != 1 || len(r.desks[1].chosen) > 0 {
		t.Fatalf("%+v", st)
	}
	r.post("/api/class/nudge", r.teacher, `{"text": " look at the node "}`)
	r.post("/api/hint", ada, "")
	if code, out := r.ask("POST", "/api/answer", ada, `{"name": "cni/conflist-mising"}`, nil); code != 422 || !strings.Contains(out, "did you mean") {
		t.Errorf("%d %s", code, out)
	}
	r.post("/api/answer", ada, `{"name": "cni/conflist-missing"}`)
	d.hold = make(chan struct{})
	r.post("/api/check", ada, "")
	if code, _ := r.ask("POST", "/api/check", ada, "", nil); code != 409 {
		t.Errorf("a second check at the same time: %d", code)
	}
	close(d.hold)
	st = r.idle(0)
	if st.Verdict == nil || st.Verdict.Solved || len(st.Lab.Hints) != 1 || st.Lab.Left != 0 || len(st.Nudges) != 1 || st.Nudges[0].Text != "look at the node" {
		t.Fatalf("%+v", st)
	}
	if err := os.WriteFile(filepath.Join(d.dir, "fixed"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.dial("node=w1&record=1", ada, nil); err != nil {
		t.Fatal(err)
	}
	r.post("/api/check", ada, "")
	if st = r.idle(0); !st.Verdict.Solved {
		t.Fatalf("%+v", st.Verdict)
	}
	if _, out := r.ask("GET", "/api/state?language=ko", ada, "", nil); !strings.Contains(out, "L99") {
		t.Error(out)
	}
	r.post("/api/class/stop", r.teacher, `{}`)
	st = r.idle(0)
	if st.Debrief == nil || !strings.Contains(st.Debrief.Story, "정리 작업") {
		t.Errorf("the debrief is not in the page's language: %s", asJSON(st.Debrief))
	}
	if st.Lab != nil || st.Debrief == nil || st.Debrief.Knew != "12s" || !strings.Contains(asJSON(st.Debrief.Lines), "what was typed") || len(st.Shells) > 0 {
		t.Errorf("%s", asJSON(st))
	}
	if r.idle(1); r.desks[1].stopped != 1 {
		t.Error("not everything was stopped")
	}
}

// TestRing: what is kept is the end, and one that was away too long is told where it begins.
// TestPausesAndSteps: the clock stands while a lab is paused, steps of the remedy stay on the page, and a reset begins anew.
func TestPausesAndSteps(t *testing.T) {
	r := newRoom(t)
	tok := r.learners[0].token
	if code, out := r.ask("POST", "/api/pause", tok, "", nil); code != 422 || !strings.Contains(out, errNoLab.Error()) {
		t.Errorf("without a lab: %d %s", code, out)
	}
	r.post("/api/start", tok, "{}")
	r.idle(0)
	r.post("/api/hint", tok, "")
	r.post("/api/pause", tok, "")
	if st := r.state(0); st.Lab.Phase != lab.Paused {
		t.Errorf("%+v", st.Lab)
	}
	r.post("/api/resume", tok, "")
	for range 2 {
		r.post("/api/step", tok, "")
		r.idle(0)
	}
	if st := r.state(0); st.Lab.Phase != lab.Running || len(st.Steps) != 2 || st.Steps[1].N != 2 || st.Steps[0].Run == "" {
		t.Errorf("%+v", st)
	}
	r.post("/api/reset", tok, "")
	if st := r.idle(0); len(st.Steps) != 0 || len(st.Lab.Hints) != 0 || st.Labs != 0 {
		t.Errorf("%+v", st)
	}
	r.post("/api/stop", tok, "")
	if st := r.idle(0); st.Labs != 1 || st.Points != 90 {
		t.Errorf("%d labs, %d points", st.Labs, st.Points)
	}
}

func TestRing(t *testing.T) {
	r := newRing()
	for i := range 5 * ringSize / 100 {
		_, _ = r.Write([]byte(strings.Repeat(string(rune('a'+i%26)), 100)))
	}
	if len(r.buf) > 2*ringSize+100 {
		t.Errorf("it holds %d bytes", len(r.buf))
	}
	p, start, _, _ := r.from(0)
	if start < r.end-2*ringSize-100 || start == 0 || len(p) != mostChunk {
		t.Errorf("from %d, %d bytes", start, len(p))
	}
	if p, start, _, ended := r.from(r.end); len(p) > 0 || start != r.end || ended {
		t.Errorf("%d bytes from %d", len(p), start)
	}
	_, _, more, _ := r.from(r.end)
	r.close()
	<-more
	if _, _, _, ended := r.from(r.end); !ended {
		t.Error("it has not ended")
	}
	if _, start, _, _ := r.from(r.end + 7); start > r.end {
		t.Error("it begins after its end")
	}
}

// TestCloseEndsShells: no shell outlives the server, and no lab ends with it.
func TestCloseEndsShells(t *testing.T) {
	r := newRoom(t)
	r.post("/api/start", r.learners[0].token, `{}`)
	r.idle(0)
	c, _, err := r.dial("node=w1", r.learners[0].token, nil)
	if err != nil {
		t.Fatal(err)
	}
	read(t, c, "w1:")
	r.Close()
	if r.desks[0].st == nil || r.desks[0].stopped > 0 {
		t.Error("the lab has ended")
	}
	if _, _, err := c.Read(t.Context()); err == nil {
		t.Error("the terminal goes on")
	}
}

func asJSON(v any) string {
	raw, _ := json.Marshal(v)
	return string(raw)
}

// TestServeForLookingAt serves a class for a browser until its standard input ends; the links go to the file $SICKBAY_SERVE.
func TestServeForLookingAt(t *testing.T) {
	into := os.Getenv("SICKBAY_SERVE")
	if into == "" {
		t.Skip("SICKBAY_SERVE is not set")
	}
	r := newRoom(t)
	links := map[string]string{}
	for _, l := range r.Links() {
		links[l.Who] = r.http.URL + l.Path
	}
	if err := os.WriteFile(into+".new", []byte(asJSON(links)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(into+".new", into); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}
