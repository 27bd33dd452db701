package web

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/sickbay-dev/sickbay/internal/lab"
)

var errBusy = errors.New("something is under way here already: wait until it has ended")

const (
	// fresh is how old symptoms may be: many pages may look at one cluster.
	fresh = 2 * time.Second
	// lookBound bounds a look at an API server that may be ill.
	lookBound = 5 * time.Second
)

// job is what takes longer than a request: it goes on when the page is closed.
type job struct {
	What   string `json:"what"`   // start, check, reset, step or stop
	Detail string `json:"detail"` // what is waited for
	Busy   bool   `json:"busy"`
	Error  string `json:"error,omitempty"`
}

// learner is a seat with what happened at it. The lab itself is on disk.
type learner struct {
	Seat
	token string
	ctx   context.Context
	wg    sync.WaitGroup

	mu        sync.Mutex
	job       job
	verdict   *lab.Verdict
	debrief   *Debrief
	steps     []Step
	nudges    []Nudge
	seen      time.Time // by the page
	language  string    // of the page
	terminals map[string]*terminal

	looks    sync.Mutex
	symptoms lab.Symptoms
	looked   time.Time
	lookErr  error
}

// begin runs a job, one at a time.
func (l *learner) begin(what string, do func(ctx context.Context, detail func(string)) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.job.Busy {
		return errBusy
	}
	l.job = job{What: what, Busy: true}
	l.wg.Go(func() {
		err := do(l.ctx, func(s string) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.job.Detail = s
		})
		l.mu.Lock()
		defer l.mu.Unlock()
		l.job = job{What: what}
		if err != nil {
			l.job.Error = err.Error()
		}
	})
	return nil
}

func (l *learner) start(c Choice) error {
	return l.begin("start", func(ctx context.Context, _ func(string)) error {
		l.mu.Lock()
		l.verdict, l.debrief, l.steps = nil, nil, nil
		l.mu.Unlock()
		l.closeTerminals() // those of another lab that was stopped elsewhere
		return l.Desk.Start(ctx, c)
	})
}

func (l *learner) reset() error {
	return l.begin("reset", func(ctx context.Context, _ func(string)) error {
		l.mu.Lock()
		l.verdict, l.steps = nil, nil
		l.mu.Unlock()
		return l.Desk.Reset(ctx)
	})
}

func (l *learner) step() error {
	return l.begin("step", func(ctx context.Context, _ func(string)) error {
		s, err := l.Desk.Step(ctx)
		l.mu.Lock()
		defer l.mu.Unlock()
		if err == nil {
			l.steps = append(l.steps, s)
		}
		return err
	})
}

func (l *learner) check() error {
	return l.begin("check", func(ctx context.Context, detail func(string)) error {
		v, err := l.Desk.Check(ctx, detail)
		l.mu.Lock()
		defer l.mu.Unlock()
		if err == nil {
			l.verdict = &v
		}
		return err
	})
}

func (l *learner) stop() error {
	return l.begin("stop", func(ctx context.Context, _ func(string)) error {
		l.closeTerminals() // what was typed goes into the debrief
		l.mu.Lock()
		language := l.language
		l.mu.Unlock()
		d, err := l.Desk.Stop(ctx, language)
		l.mu.Lock()
		defer l.mu.Unlock()
		if err == nil {
			l.verdict, l.steps, l.debrief = nil, nil, debrief(d)
		}
		return err
	})
}

func (l *learner) nudge(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nudges = append(l.nudges, Nudge{At: time.Now().UTC(), Text: text})
	l.nudges = l.nudges[max(0, len(l.nudges)-mostNudges):]
}

// standing is all that a page shows but the symptoms.
type standing struct {
	Name    string       `json:"name"`
	Lab     *Lab         `json:"lab"`
	Error   string       `json:"error,omitempty"`
	Job     job          `json:"job"`
	Verdict *lab.Verdict `json:"verdict"`
	Debrief *Debrief     `json:"debrief"`
	Nudges  []Nudge      `json:"nudges"`
	Steps   []Step       `json:"steps"` // of the remedy that were shown
	// Labs are those that were stopped so far, Points all of theirs.
	Labs   int `json:"labs"`
	Points int `json:"points"`
	// Seen is when the learner's page asked last; Shells are the nodes with a terminal.
	Seen   time.Time `json:"seen,omitzero"`
	Shells []string  `json:"shells"`
}

func (l *learner) standing(ctx context.Context) standing {
	st := standing{Name: l.Name}
	var err error
	if st.Lab, err = l.Desk.Lab(ctx); err != nil {
		st.Error = err.Error()
	}
	st.Labs, st.Points = l.Desk.Progress()
	l.mu.Lock()
	defer l.mu.Unlock()
	st.Steps = slices.Clone(l.steps)
	st.Job, st.Verdict, st.Debrief, st.Nudges, st.Seen = l.job, l.verdict, l.debrief, slices.Clone(l.nudges), l.seen
	for on, t := range l.terminals {
		if !t.out.over() {
			st.Shells = append(st.Shells, on)
		}
	}
	slices.Sort(st.Shells)
	return st
}

// look reads the symptoms, or has them from a moment ago.
func (l *learner) look(ctx context.Context) (lab.Symptoms, error) {
	l.looks.Lock()
	defer l.looks.Unlock()
	if time.Since(l.looked) > fresh {
		ctx, cancel := context.WithTimeout(ctx, lookBound)
		defer cancel()
		l.symptoms, l.lookErr = l.Desk.Symptoms(ctx)
		l.looked = time.Now()
	}
	return l.symptoms, l.lookErr
}

func (s *Server) learnerAPI(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/state", s.learns(func(w http.ResponseWriter, r *http.Request, l *learner) {
		l.mu.Lock()
		l.seen = time.Now().UTC()
		if in := r.URL.Query().Get("language"); in != "" {
			l.language = in
		}
		l.mu.Unlock()
		answer(w, http.StatusOK, l.standing(r.Context()))
	}))
	mux.HandleFunc("GET /api/names", s.learns(func(w http.ResponseWriter, _ *http.Request, _ *learner) { answer(w, http.StatusOK, s.o.Names) }))
	mux.HandleFunc("GET /api/symptoms", s.learns(func(w http.ResponseWriter, _ *http.Request, l *learner) {
		// With the server's context: what one page asked for serves all.
		if now, err := l.look(l.ctx); err != nil {
			refuse(w, http.StatusBadGateway, err)
		} else {
			answer(w, http.StatusOK, now)
		}
	}))
	mux.HandleFunc("POST /api/start", s.learns(func(w http.ResponseWriter, r *http.Request, l *learner) {
		var c Choice
		if says(w, r, &c) {
			c.Seed = seed()
			done(w, l.start(c))
		}
	}))
	mux.HandleFunc("POST /api/hint", s.learns(func(w http.ResponseWriter, r *http.Request, l *learner) { done(w, l.Desk.Hint(r.Context())) }))
	mux.HandleFunc("POST /api/answer", s.learns(func(w http.ResponseWriter, r *http.Request, l *learner) {
		var a struct {
			Name string `json:"name"`
		}
		if says(w, r, &a) {
			done(w, l.Desk.Answer(r.Context(), a.Name))
		}
	}))
	mux.HandleFunc("POST /api/check", s.learns(func(w http.ResponseWriter, _ *http.Request, l *learner) { done(w, l.check()) }))
	mux.HandleFunc("POST /api/pause", s.learns(func(w http.ResponseWriter, r *http.Request, l *learner) { done(w, l.Desk.Pause(r.Context())) }))
	mux.HandleFunc("POST /api/resume", s.learns(func(w http.ResponseWriter, r *http.Request, l *learner) { done(w, l.Desk.Resume(r.Context())) }))
	mux.HandleFunc("POST /api/reset", s.learns(func(w http.ResponseWriter, _ *http.Request, l *learner) { done(w, l.reset()) }))
	mux.HandleFunc("POST /api/step", s.learns(func(w http.ResponseWriter, _ *http.Request, l *learner) { done(w, l.step()) }))
	mux.HandleFunc("POST /api/stop", s.learns(func(w http.ResponseWriter, _ *http.Request, l *learner) { done(w, l.stop()) }))
	mux.HandleFunc("GET /api/terminal", s.learns(s.terminal))
}
