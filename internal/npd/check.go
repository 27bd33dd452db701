package npd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/atomicfile"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/lockfile"
)

// Status is the exit status of a check, as NPD reads it.
type Status int

// The three answers.
const (
	OK      Status = 0
	NonOK   Status = 1
	Unknown Status = 2
)

// Answer is what a check says.
type Answer struct {
	Status  Status `json:"status"`
	Message string `json:"message"`
	// Key is what makes two problems the same although their numbers moved on: the message then stays, or the condition would
	// change, with an event, at every check.
	Key string `json:"key,omitempty"`
	// Cause and Certainty are those of the first problem.
	Cause     string             `json:"cause,omitempty"`
	Certainty v1alpha1.Certainty `json:"certainty,omitempty"`
	// Known is when the status was last seen to be so, by the node's wall clock.
	Known time.Time `json:"known,omitzero"`
}

// CheckOptions say how to check. Zero values take the defaults beside them.
type CheckOptions struct {
	Failure string
	Look    diagnose.Options
	// State is the directory in which the checks of a round share a look, and rounds their history; default /run/sickbay-npd.
	State string
	// Every is NPD's interval; default 30s. A look not older than half of it is of the same round.
	Every time.Duration
}

// DefaultState is on a tmpfs: the history ends with the boot, and a full disk does not blind the check.
const DefaultState = "/run/sickbay-npd"

const (
	// bound is the whole check's, two seconds below NPD's own, which kills without an answer.
	bound = Timeout - 2*time.Second
	// lookBound leaves time to judge: what the node did not say by then is unknown.
	lookBound = bound - 2*time.Second
	// keepKnown is how long the last known status outlasts looks that know nothing. NPD's consumers take Unknown for healthy:
	// NVSentinel then cancels a repair that is under way. medik8s' node health check gives a node the same five minutes.
	keepKnown = 5 * time.Minute
	// keepLooks is the baseline and as many looks as a detector compares.
	keepLooks = 5
)

// round is one look, judged for all failures.
type round struct {
	At      time.Time         `json:"at"` // node wall clock
	Answers map[string]Answer `json:"answers"`
}

// Check answers for one failure. The first check of a round looks at the node and judges what was seen with the looks before
// it; the others give its answer. The error is about the state directory alone: the answer then rests on a single look.
func Check(ctx context.Context, on diagnose.Target, o CheckOptions) (Answer, error) {
	r, err := checkAll(ctx, on, o)
	return r.Answers[o.Failure], err
}

// checkAll answers for all failures.
func checkAll(ctx context.Context, on diagnose.Target, o CheckOptions) (round, error) {
	if o.State == "" {
		o.State = DefaultState
	}
	if o.Every <= 0 {
		o.Every = DefaultEvery
	}
	o.Look.Keep = keepLooks
	if o.Look.NodeTimeout <= 0 {
		o.Look.NodeTimeout, o.Look.APITimeout = lookBound, lookBound
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	unlock, err := lock(ctx, o.State)
	if err != nil {
		r, _ := look(ctx, on, o, nil, nil)
		return r, fmt.Errorf("no history, and each check looks for itself: %w", err)
	}
	defer unlock()

	var last round
	if read(o.State, roundFile, &last) == nil {
		if age := time.Since(last.At); age >= 0 && age < o.Every/2 && len(last.Answers) == len(failures.All()) {
			return last, nil
		}
	}
	var before v1alpha1.History
	_ = read(o.State, historyFile, &before) // none, or one cut short, is a first look
	r, history := look(ctx, on, o, before, last.Answers)
	return r, errors.Join(write(o.State, historyFile, history), write(o.State, roundFile, r))
}

// look makes a round. Looks older than the logs that are read are let go: a condition is gone at the latest when what it was
// told by is as old.
func look(ctx context.Context, on diagnose.Target, o CheckOptions, before v1alpha1.History, told map[string]Answer) (round, v1alpha1.History) {
	// The name that the kubelet had in an earlier round, where the one that is asked for is a guess.
	node := on.Nodes[0].Name
	if len(before) > 0 {
		on.Nodes = slices.Clone(on.Nodes)
		node = before.Last().Node
		on.Nodes[0].Name = node
	}
	w := diagnose.NewWatcher(on, o.Look)
	oldest := time.Now().Add(-o.Look.Since)
	for len(before) > 0 && before[0].At.Before(oldest) {
		before = before[1:]
	}
	w.Resume(map[string]v1alpha1.History{node: before})
	r := round{At: time.Now(), Answers: map[string]Answer{}}
	got, err := w.Look(ctx)
	if err != nil {
		for _, f := range failures.All() {
			r.Answers[f.Name] = keep(Answer{Status: Unknown, Message: cut("the node could not be looked at: " + err.Error())}, told[f.Name], r.At)
		}
		return r, before
	}
	for name := range got {
		node = name
	}
	history := w.Histories()[node]
	d := w.Diagnose(nil)
	for _, f := range failures.All() {
		r.Answers[f.Name] = keep(answer(f, d, history.Last(), told[f.Name]), told[f.Name], r.At)
	}
	return r, history
}

// keep is the last known answer where the new one knows nothing, for keepKnown.
func keep(now, told Answer, at time.Time) Answer {
	if now.Status != Unknown {
		now.Known = at
		return now
	}
	if age := at.Sub(told.Known); told.Status != Unknown && !told.Known.IsZero() && age >= 0 && age < keepKnown {
		return told
	}
	return now
}

// answer takes one failure out of a diagnosis.
func answer(f failures.Failure, d v1alpha1.Diagnosis, last *v1alpha1.Observation, told Answer) Answer {
	var found []v1alpha1.Finding
	for _, x := range d.Findings {
		if x.Failure == f.Name {
			found = append(found, x)
		}
	}
	if len(found) > 0 {
		a := Answer{Status: NonOK, Key: key(found), Message: cut(problem(found)), Cause: found[0].Cause, Certainty: found[0].Certainty}
		if told.Status == NonOK && told.Key == a.Key {
			a.Message = told.Message
		}
		return a
	}
	for _, u := range d.Unknown {
		if u.What == "node" {
			return Answer{Status: Unknown, Message: cut(u.Why)}
		}
	}
	for _, u := range last.Unknown {
		if slices.Contains(needs(f.Name), u.What) {
			return Answer{Status: Unknown, Message: cut(u.What + " could not be read: " + u.Why)}
		}
	}
	return Answer{Status: OK, Message: cut(healthy(f))}
}

func key(found []v1alpha1.Finding) string {
	var b strings.Builder
	for _, x := range found {
		fmt.Fprint(&b, x.Cause, x.Certainty)
		if x.Object != nil {
			fmt.Fprint(&b, *x.Object)
		}
	}
	return b.String()
}

func problem(found []v1alpha1.Finding) string {
	x := found[0]
	s := x.Cause
	if x.Certainty == v1alpha1.Likely {
		s = "likely " + s
	}
	s += ": " + x.Summary
	if more := len(found) - 1; more > 0 {
		s = fmt.Sprintf("%d problems, the first: %s", more+1, s)
	}
	return s
}

// cut keeps a message within NPD's bound, which counts bytes and knows nothing of runes, and on one line.
func cut(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= MaxOutput {
		return s
	}
	const mark = "…"
	s = s[:MaxOutput-len(mark)]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + mark
}

const (
	roundFile   = "round.json"
	historyFile = "history.json"
)

// lock makes the state directory and takes it. It holds what is seen of a node: nobody else reads it.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return lockfile.Wait(ctx, filepath.Join(dir, "lock"), "the check that looks")
}

func read(dir, name string, into any) error {
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// write replaces a file as a whole.
func write(dir, name string, what any) error {
	raw, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, name), raw, 0o600)
}

// needs are the sources without which the silence of a failure's detector means nothing.
func needs(failure string) []string {
	for _, d := range all.Detectors() {
		if d.Failure == failure {
			return d.Needs
		}
	}
	return nil
}
