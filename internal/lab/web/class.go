package web

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/text"
)

// class is what the teacher's page shows.
type class struct {
	Labs     []Listed   `json:"labs"`
	Learners []standing `json:"learners"`
}

func seed() uint64 { return rand.Uint64() } //nolint:gosec // it draws a lab

// each does something for the learners that are named, or for all where none is.
func (s *Server) each(w http.ResponseWriter, who []string, do func(*learner) error) {
	for _, name := range who {
		if !slices.ContainsFunc(s.learners, func(l *learner) bool { return l.Name == name }) {
			refuse(w, http.StatusUnprocessableEntity, fmt.Errorf("nobody here is called %q", name))
			return
		}
	}
	var failed []string
	for _, l := range s.learners {
		if len(who) > 0 && !slices.Contains(who, l.Name) {
			continue
		}
		if err := do(l); err != nil {
			failed = append(failed, l.Name+": "+err.Error())
		}
	}
	if len(failed) > 0 {
		refuse(w, http.StatusConflict, fmt.Errorf("%s", strings.Join(failed, "; ")))
		return
	}
	done(w, nil)
}

func (s *Server) classAPI(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/class", s.teaches(func(w http.ResponseWriter, r *http.Request) {
		c := class{Labs: s.o.Labs}
		for _, l := range s.learners {
			c.Learners = append(c.Learners, l.standing(r.Context()))
		}
		answer(w, http.StatusOK, c)
	}))
	mux.HandleFunc("POST /api/class/start", s.teaches(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Who []string `json:"who"`
			Choice
		}
		if says(w, r, &q) {
			q.Seed = seed() // the same lab for all
			s.each(w, q.Who, func(l *learner) error { return l.start(q.Choice) })
		}
	}))
	mux.HandleFunc("POST /api/class/nudge", s.teaches(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Who  []string `json:"who"`
			Text string   `json:"text"`
		}
		if !says(w, r, &q) {
			return
		}
		said := text.Cut(strings.TrimSpace(q.Text), mostNudge)
		if said == "" {
			refuse(w, http.StatusUnprocessableEntity, fmt.Errorf("there is nothing to say"))
			return
		}
		s.each(w, q.Who, func(l *learner) error { l.nudge(said); return nil })
	}))
	mux.HandleFunc("POST /api/class/stop", s.teaches(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Who []string `json:"who"`
		}
		if says(w, r, &q) {
			s.each(w, q.Who, (*learner).stop)
		}
	}))
}
