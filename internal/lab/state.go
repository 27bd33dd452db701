package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/atomicfile"
	"github.com/sickbay-dev/sickbay/internal/lockfile"
)

// Phase is where a lab stands.
type Phase string

// The phases of a lab.
const (
	Starting Phase = "starting" // the node is being made ill, or its process died in the middle of that
	Running  Phase = "running"
	Paused   Phase = "paused"
	Solved   Phase = "solved"
	Over     Phase = "over" // undone
)

// State is a lab as it is on disk: it belongs to no terminal and no process. It names the lab by its code alone.
type State struct {
	Version int    `json:"version"`
	Code    string `json:"code"`
	// Path is the scenario's file, of a lab that does not come with sickbay.
	Path      string              `json:"path,omitempty"`
	Cluster   string              `json:"cluster"`
	Beside    bool                `json:"beside,omitempty"` // the second of two on the cluster
	Decoys    []string            `json:"decoys,omitempty"` // runs of what is odd and no illness
	Node      string              `json:"node,omitempty"`
	Run       string              `json:"run,omitempty"`
	Namespace string              `json:"namespace,omitempty"`
	Placed    map[string][]string `json:"placed,omitempty"`
	Vouched   string              `json:"vouched,omitempty"` // a CA, for the remedy
	Before    Snapshot            `json:"before"`
	Phase     Phase               `json:"phase"`
	Lease     time.Duration       `json:"lease"`
	Language  string              `json:"language,omitempty"`
	Recorded  bool                `json:"recorded,omitempty"` // the learner agreed to it for the whole lab
	Consent   time.Time           `json:"consent,omitzero"`   // since when the API's audit may be read: for the lab, or for a shell
	Drill     *Drill              `json:"drill,omitempty"`
	Record
}

// Record is what a learner did, and when; it outlives the lab in the history.
type Record struct {
	Started  time.Time     `json:"started"`
	PausedAt time.Time     `json:"pausedAt,omitzero"`
	Paused   time.Duration `json:"paused,omitempty"` // in all
	Hints    int           `json:"hints"`
	Answers  []Answer      `json:"answers,omitempty"`
	Named    time.Time     `json:"named,omitzero"`    // first right answer
	Knew     time.Time     `json:"knew,omitzero"`     // the detectors named every cause
	SolvedAt time.Time     `json:"solvedAt,omitzero"` // the referee said so
	Shown    int           `json:"shown,omitempty"`   // steps of the remedy that were shown or taken
	Refused  []string      `json:"refused,omitempty"` // reasons, each once
	Timeline []Entry       `json:"timeline,omitempty"`
}

// Answer is one answer.
type Answer struct {
	At    time.Time `json:"at"`
	Name  string    `json:"name"`
	Grade Grade     `json:"grade"`
}

// Entry is one line of a timeline.
type Entry struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"` // lab, hint, answer, check, shell, command, api, signal
	Text string    `json:"text"`
}

// Tell adds a line to the timeline.
func (s *State) Tell(now time.Time, kind, format string, args ...any) {
	s.Timeline = append(s.Timeline, Entry{now.UTC(), kind, fmt.Sprintf(format, args...)})
}

// Clock is how long the learner has been at it until then; pauses do not count.
func (r Record) Clock(until time.Time) time.Duration {
	if r.Started.IsZero() {
		return 0 // its start was cut short
	}
	if !r.PausedAt.IsZero() && until.After(r.PausedAt) {
		until = r.PausedAt
	}
	return max(0, until.Sub(r.Started)-r.Paused)
}

// Pause stops the clock.
func (s *State) Pause(now time.Time) {
	s.Phase, s.PausedAt = Paused, now
	s.Tell(now, "lab", "paused")
}

// Resume starts it again.
func (s *State) Resume(now time.Time) {
	s.Paused += now.Sub(s.PausedAt)
	s.Phase, s.PausedAt = Running, time.Time{}
	s.Tell(now, "lab", "resumed")
}

// Key is where a store keeps the lab of a cluster, or the second one. No cluster has a + in its name.
func Key(cluster string, beside bool) string {
	if beside {
		return cluster + "+2"
	}
	return cluster
}

// Key is where a store keeps the lab.
func (s *State) Key() string { return Key(s.Cluster, s.Beside) }

// Store keeps states and the history in a folder, one file a lab.
type Store struct{ Dir string }

// ErrNone says that there is no lab on a cluster.
var ErrNone = errors.New("no lab is running")

func (s Store) file(key string) string { return filepath.Join(s.Dir, key+".json") }

// Load reads a lab.
func (s Store) Load(key string) (*State, error) {
	raw, err := os.ReadFile(s.file(key))
	if errors.Is(err, fs.ErrNotExist) {
		cluster, _, _ := strings.Cut(key, "+")
		return nil, fmt.Errorf("%w on cluster %s", ErrNone, cluster)
	}
	if err != nil {
		return nil, err
	}
	var st State
	if err := json.Unmarshal(raw, &st); err != nil {
		return nil, fmt.Errorf("read the lab's state, %s: %w", s.file(key), err)
	}
	return &st, nil
}

// Save writes it so that it is there, whole, whatever happens next.
func (s Store) Save(st *State) error {
	st.Version = 1
	raw, err := json.MarshalIndent(st, "", " ")
	if err != nil {
		return err
	}
	if err := write(s.file(st.Key()), raw); err != nil {
		return fmt.Errorf("write the lab's state: %w", err)
	}
	return nil
}

// Update changes the lab on disk. Another terminal may have changed it since st was read, so it is read anew; st becomes what was written.
func (s Store) Update(ctx context.Context, st *State, change func(*State)) error {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return err
	}
	unlock, err := lockfile.Wait(ctx, filepath.Join(s.Dir, st.Key()+".lock"), "another command on this lab")
	if err != nil {
		return err
	}
	defer unlock()
	now, err := s.Load(st.Key())
	if err != nil {
		return err
	}
	if now.Run != st.Run {
		return fmt.Errorf("lab %s was stopped or begun anew meanwhile", st.Code)
	}
	change(now)
	*st = *now
	return s.Save(st)
}

func write(file string, raw []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(file, raw, 0o600)
}

// Remove forgets a lab.
func (s Store) Remove(st *State) error {
	_ = os.Remove(s.traces(st)) // of one that was not solved
	err := os.Remove(s.file(st.Key()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Done is a lab that is over, as the history keeps it.
type Done struct {
	// Learner is the cluster that the lab was on: in a class each has their own. Of a tool it is its name, with "detector " before it.
	Learner  string    `json:"learner,omitempty"`
	Code     string    `json:"code"`
	Scenario string    `json:"scenario"`
	Topic    string    `json:"topic"`
	Level    int       `json:"level"`
	Ended    time.Time `json:"ended"`
	Score    Score     `json:"score"`
	// Drill is the seed of the drill that it was of.
	Drill uint64 `json:"drill,omitempty"`
	Record
}

func (s Store) history() string { return filepath.Join(s.Dir, "history.jsonl") }

// Append adds a lab to the history.
func (s Store) Append(d Done) error {
	raw, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(s.history(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	return errors.Join(err, f.Close())
}

// History reads all labs so far, oldest first. A line that cannot be read, such as one that was cut short, is left out.
func (s Store) History() ([]Done, error) {
	raw, err := os.ReadFile(s.history())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Done
	for line := range strings.Lines(string(raw)) {
		var d Done
		if json.Unmarshal([]byte(line), &d) == nil {
			out = append(out, d)
		}
	}
	return out, nil
}
