package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"
)

//go:embed page
var files embed.FS

const (
	// mostBody bounds what a request says: a nudge is the longest.
	mostBody = 4 << 10
	// mostNudge bounds one nudge, mostNudges how many of them are kept.
	mostNudge, mostNudges = 500, 20
)

// Seat is a learner: a name and a desk.
type Seat struct {
	Name string
	Desk Desk
}

// Listed is a lab that the teacher may choose.
type Listed struct {
	Code    string `json:"code"`
	Topic   string `json:"topic"`
	Level   int    `json:"level"`
	Minutes int    `json:"minutes"`
}

// Options are a class.
type Options struct {
	Seats []Seat
	// Hosts are the names and ports that the pages are asked for by; others are refused, so that no name of somebody else's leads here.
	Hosts []string
	Labs  []Listed
	Names []string // that an answer may be
}

// Server serves a class.
type Server struct {
	o        Options
	learners []*learner
	teacher  string                         // the token
	by       map[[sha256.Size]byte]*learner // by the hash of the token, so that a comparison tells nothing of one; nil for the teacher
	ctx      context.Context
	cancel   context.CancelFunc
}

// New makes a server; what it does in the background ends with ctx.
func New(ctx context.Context, o Options) *Server {
	s := &Server{o: o, teacher: rand.Text(), by: map[[sha256.Size]byte]*learner{}}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.by[sha256.Sum256([]byte(s.teacher))] = nil
	for _, seat := range o.Seats {
		l := &learner{Seat: seat, token: rand.Text(), ctx: s.ctx, terminals: map[string]*terminal{}}
		s.learners = append(s.learners, l)
		s.by[sha256.Sum256([]byte(l.token))] = l
	}
	return s
}

// Close ends the terminals and waits for what was begun. Labs stay as they are: they belong to no process.
func (s *Server) Close() {
	s.cancel()
	for _, l := range s.learners {
		l.closeTerminals()
		l.wg.Wait()
	}
}

// Link is a page's address. Its token is behind the #, which no browser sends and no proxy writes down.
type Link struct{ Who, Path string }

// Links are the pages: the teacher's first.
func (s *Server) Links() []Link {
	out := []Link{{"", "/class#" + s.teacher}}
	for _, l := range s.learners {
		out = append(out, Link{l.Name, "/#" + l.token})
	}
	return out
}

// Handler answers requests.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.html("index.html"))
	mux.HandleFunc("GET /class", s.html("class.html"))
	assets, _ := fs.Sub(files, "page") // it is embedded
	mux.Handle("GET /page/", http.StripPrefix("/page/", http.FileServerFS(assets)))
	s.learnerAPI(mux)
	s.classAPI(mux)
	return s.guard(mux)
}

// html serves a page. The terminal writes style sheets, for which the policy has a word that is another one each time.
func (s *Server) html(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		raw, err := files.ReadFile("page/" + name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		nonce := rand.Text()
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-"+nonce+"'; style-src-attr 'unsafe-inline'; connect-src 'self'; "+
			"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Cache-Control", "no-store")
		_, _ = io.WriteString(w, strings.Replace(string(raw), "NONCE", nonce, 1))
	}
}

// guard refuses what does not come from our own pages.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if !slices.Contains(s.o.Hosts, strings.ToLower(r.Host)) {
			refuse(w, http.StatusMisdirectedRequest, fmt.Errorf("this server is not called %q: it answers to %s; `sickbay lab serve --host NAME` adds one", r.Host, strings.Join(s.o.Hosts, ", ")))
			return
		}
		// What is called by TLS comes through a proxy, by the same name.
		if o := r.Header.Get("Origin"); o != "" && o != "http://"+r.Host && o != "https://"+r.Host {
			refuse(w, http.StatusForbidden, fmt.Errorf("a page of %s may not ask here", o))
			return
		}
		if strings.HasPrefix(r.URL.Path, "/api/") {
			h.Set("Cache-Control", "no-store")
		}
		r.Body = http.MaxBytesReader(w, r.Body, mostBody)
		next.ServeHTTP(w, r)
	})
}

// tokenPrefix is how a token comes with a WebSocket, for which a page cannot set headers.
const tokenPrefix = "token."

func token(r *http.Request) string {
	if t, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return t
	}
	for p := range strings.SplitSeq(r.Header.Get("Sec-WebSocket-Protocol"), ",") {
		if t, ok := strings.CutPrefix(strings.TrimSpace(p), tokenPrefix); ok {
			return t
		}
	}
	return ""
}

var errToken = errors.New("the token is missing or not of this server: open the link that `sickbay lab serve` printed")

// learns asks for a learner's token.
func (s *Server) learns(do func(http.ResponseWriter, *http.Request, *learner)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		l, ok := s.by[sha256.Sum256([]byte(token(r)))]
		if !ok || l == nil {
			refuse(w, http.StatusUnauthorized, errToken)
			return
		}
		do(w, r, l)
	}
}

// teaches asks for the teacher's.
func (s *Server) teaches(do http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if l, ok := s.by[sha256.Sum256([]byte(token(r)))]; !ok || l != nil {
			refuse(w, http.StatusUnauthorized, errToken)
			return
		}
		do(w, r)
	}
}

func refuse(w http.ResponseWriter, status int, err error) {
	answer(w, status, map[string]string{"error": err.Error()})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who has gone does not read it
}

// done answers what a verb came to.
func done(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errBusy):
		refuse(w, http.StatusConflict, err)
	case err != nil:
		refuse(w, http.StatusUnprocessableEntity, err)
	default:
		answer(w, http.StatusOK, struct{}{})
	}
}

// says reads what a request says; it answers itself where that is not understood.
func says(w http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		status := http.StatusBadRequest
		if errors.As(err, new(*http.MaxBytesError)) {
			status = http.StatusRequestEntityTooLarge
		}
		refuse(w, status, err)
		return false
	}
	return true
}

// Serve makes the HTTP server: one that is slow to ask is not waited for.
func (s *Server) Serve() *http.Server {
	return &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
}
