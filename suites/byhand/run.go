package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Diagnosis is what `sickbay diagnose -o json` prints, as far as it is asked for here.
type Diagnosis struct {
	Healthy  bool      `json:"healthy"`
	Findings []Finding `json:"findings"`
	Unknown  []Unknown `json:"unknown"`
	// Fix is what --fix did, as it tells it.
	Fix json.RawMessage `json:"fix"`
}

// Unknown is something that could not be read.
type Unknown struct {
	Node string `json:"node"`
	What string `json:"what"`
	Why  string `json:"why"`
}

// blind tells that some node did not answer in its time.
func (d Diagnosis) blind() bool {
	for _, u := range d.Unknown {
		if u.What == "node" {
			return true
		}
	}
	return false
}

// Finding is one of its findings.
type Finding struct {
	Failure      string `json:"failure"`
	Cause        string `json:"cause"`
	Node         string `json:"node"`
	Summary      string `json:"summary"`
	ManualAction string `json:"manualAction"`
	Remedy       *struct {
		Name string `json:"name"`
	} `json:"remedy"`
}

func (f Finding) String() string { return fmt.Sprintf("%s/%s on %s", f.Failure, f.Cause, f.Node) }

// Result is what became of an entry.
type Result struct {
	Name     string    `json:"name"`
	Title    string    `json:"title"`
	Listed   bool      `json:"listed"`
	At       time.Time `json:"at"`
	Source   string    `json:"source,omitempty"`
	Expected []string  `json:"expected"`
	// Or is the other answer that is right as well.
	Or    []string `json:"or,omitempty"`
	Found []string `json:"found"`
	// Seconds from the signal being readable to the end of the call of `sickbay diagnose` that named it.
	Seconds float64 `json:"seconds"`
	// Fix is what `--fix --yes` came to, in words; FixSeconds is how long it took, its own look whether it is cleared included.
	Fix        string  `json:"fix,omitempty"`
	FixSeconds float64 `json:"fixSeconds,omitempty"`
	// Problem is why the entry failed, "" when all was as expected.
	Problem string `json:"problem,omitempty"`
}

// bed is what entries are carried out on.
type bed interface {
	// node is the name of the node at a place.
	node(place string) string
	run(ctx context.Context, p Part) (string, error)
	all(ctx context.Context, s Script) error
	// diagnose calls `sickbay diagnose` as a user does. The error tells that it gave no diagnosis.
	diagnose(ctx context.Context, flags ...string) (Diagnosis, error)
}

// Bounds of a run.
type bounds struct {
	First    time.Duration // from the signal to the first finding: what is promised
	Patience time.Duration // how long is looked for a finding that comes late, to tell late from never
	Silence  time.Duration // how long an oddity is looked at
	Healthy  time.Duration // how long a mended cluster may take to be well: a lease and a status period, a pod's back-off
	Poll     time.Duration // between two questions
}

var usual = bounds{First: 3 * time.Second, Patience: 45 * time.Second, Silence: 10 * time.Second, Healthy: 5 * time.Minute, Poll: 250 * time.Millisecond}

type runner struct {
	bed
	bounds
}

// errIll tells that the cluster could not be brought back: what came after would be about that.
var errIll = errors.New("the cluster did not become healthy again")

// entry carries one entry out. The error, which is errIll or the context's, ends the whole run.
func (r runner) entry(ctx context.Context, e Entry) (Result, error) {
	res := Result{Name: e.Name, Title: e.Title, Listed: e.Listed, Source: e.Source, At: time.Now().UTC(), Expected: r.expected(e.Expect), Or: r.expected(e.Or), Found: []string{}}
	if err := r.healthy(ctx); err != nil {
		return res, err
	}
	err := r.broken(ctx, e, &res)
	mended := r.all(context.WithoutCancel(ctx), e.Mend)
	if mended != nil {
		mended = fmt.Errorf("mend: %w", mended)
	}
	if err = errors.Join(err, mended); err != nil {
		res.Problem = err.Error()
	}
	if ctx.Err() != nil {
		return res, ctx.Err()
	}
	return res, r.healthy(ctx)
}

func (r runner) expected(xs []Expected) []string {
	out := []string{}
	for _, x := range xs {
		out = append(out, Finding{Failure: x.Failure, Cause: x.Cause, Node: r.node(x.At)}.String())
	}
	slices.Sort(out)
	return out
}

// broken is everything between a healthy cluster and mending it.
func (r runner) broken(ctx context.Context, e Entry, res *Result) error {
	began := time.Now()
	if err := r.all(ctx, e.Break); err != nil {
		return fmt.Errorf("break: %w", err)
	}
	if err := r.signal(ctx, e.since(began)); err != nil {
		return err
	}
	readable := time.Now()
	if len(e.Expect) == 0 {
		return r.silent(ctx, max(r.Silence, time.Duration(e.Watch)), res)
	}
	if err := r.named(ctx, readable, res); err != nil {
		return err
	}
	if err := r.nothingElse(ctx, time.Duration(e.Watch), res); err != nil {
		return err
	}
	if late := time.Duration(res.Seconds * float64(time.Second)); late > r.First {
		return errors.Join(fmt.Errorf("named after %.1f s", res.Seconds), r.fixed(ctx, e, res))
	}
	return r.fixed(ctx, e, res)
}

// signal waits until the trouble is readable.
func (r runner) signal(ctx context.Context, e Entry) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(e.Within))
	defer cancel()
	for {
		err := r.all(ctx, e.Wait)
		if err == nil {
			return nil
		}
		if r.pause(ctx) != nil {
			return fmt.Errorf("the signal did not come within %s: %w", time.Duration(e.Within), err)
		}
	}
}

// see asks until there is an answer: one that found nothing because it did not see a node is none, and tells the user so. Silence
// of somebody who never looked is not silence.
func (r runner) see(ctx context.Context, flags ...string) (Diagnosis, error) {
	for end := time.Now().Add(r.Patience); ; {
		d, err := r.diagnose(ctx, flags...)
		if err != nil || len(d.Findings) > 0 || !d.blind() {
			return d, err
		}
		if time.Now().After(end) {
			return d, fmt.Errorf("no answer within %s that saw every node", r.Patience)
		}
		if err := r.pause(ctx); err != nil {
			return d, err
		}
	}
}

// look is one diagnosis; what is found and not expected is an error.
func (r runner) look(ctx context.Context, res *Result) (complete bool, err error) {
	d, err := r.see(ctx)
	if err != nil {
		return false, err
	}
	return r.judge(d, res)
}

func (r runner) judge(d Diagnosis, res *Result) (complete bool, err error) {
	found := names(d.Findings)
	for _, f := range found {
		if !slices.Contains(res.Found, f) {
			res.Found = append(res.Found, f)
		}
		if !slices.Contains(res.Expected, f) && !slices.Contains(res.Or, f) {
			err = errors.Join(err, fmt.Errorf("found %s: %s", f, summary(d, f)))
		}
	}
	return res.right(found), err
}

// right tells whether what was found is all of one of the two answers.
func (res *Result) right(found []string) bool {
	return slices.Equal(found, res.Expected) || len(res.Or) > 0 && slices.Equal(found, res.Or)
}

func names(fs []Finding) []string {
	var out []string
	for _, f := range fs {
		out = append(out, f.String())
	}
	slices.Sort(out)
	return slices.Compact(out) // one cause may be told of several objects
}

func summary(d Diagnosis, name string) string {
	for _, f := range d.Findings {
		if f.String() == name {
			return f.Summary
		}
	}
	return ""
}

// named looks until everything expected is named.
func (r runner) named(ctx context.Context, readable time.Time, res *Result) error {
	for {
		complete, err := r.look(ctx, res)
		if err != nil {
			return err
		}
		if complete {
			res.Seconds = time.Since(readable).Seconds()
			return nil
		}
		if time.Since(readable) > r.Patience {
			return fmt.Errorf("not named within %s", r.Patience)
		}
		if err := r.pause(ctx); err != nil {
			return err
		}
	}
}

// pause is between two questions; the error is the context's.
func (r runner) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(r.Poll):
		return nil
	}
}

// nothingElse looks once more at least: what comes later is a consequence, and no cause.
func (r runner) nothingElse(ctx context.Context, during time.Duration, res *Result) error {
	for end := time.Now().Add(during); ; {
		complete, err := r.look(ctx, res)
		if err != nil {
			return err
		}
		if !complete {
			return errors.New("not named any more at a later look")
		}
		if !time.Now().Before(end) {
			return nil
		}
		if err := r.pause(ctx); err != nil {
			return err
		}
	}
}

// silent looks for a while and wants nothing to be found, by looks of which one at least could read everything.
func (r runner) silent(ctx context.Context, during time.Duration, res *Result) error {
	var unread []Unknown
	whole := false
	for end := time.Now().Add(during); time.Now().Before(end); {
		d, err := r.see(ctx)
		if err == nil {
			_, err = r.judge(d, res)
		}
		if err != nil {
			return err
		}
		if unread = d.Unknown; len(unread) == 0 {
			whole = true
		}
		if err := r.pause(ctx); err != nil {
			return err
		}
	}
	if !whole {
		return fmt.Errorf("silent, and no look could read everything: %v", unread)
	}
	return nil
}

// fixed has the tool mend what it found, and does not take its word for it.
func (r runner) fixed(ctx context.Context, e Entry, res *Result) error {
	began := time.Now()
	d, err := r.see(ctx, "--fix", "--yes")
	if err == nil && e.Fix == Allowed {
		// What needs no such step may be cleared.
		left := names(d.Findings)
		if len(left) == 0 || slices.ContainsFunc(left, func(f string) bool { return !slices.Contains(append(slices.Clone(res.Expected), res.Or...), f) }) {
			res.Fix = "not withheld"
			return fmt.Errorf("--fix --yes was to withhold a destructive step, and now there is %v", names(d.Findings))
		}
		began = time.Now()
		d, err = r.see(ctx, "--fix", "--yes", "--allow", "destructive")
	}
	res.FixSeconds = time.Since(began).Seconds()
	if err != nil {
		res.Fix = "failed"
		return fmt.Errorf("--fix --yes: %w", err)
	}
	if e.Fix == Refused {
		return refused(e, d, res)
	}
	if len(d.Findings) > 0 || !d.Healthy {
		res.Fix = "not cleared"
		return fmt.Errorf("--fix --yes left %s: %s", strings.Join(names(d.Findings), ", "), tail(string(d.Fix), 600))
	}
	res.Fix = e.Fix
	if d, err = r.see(ctx); err != nil || len(d.Findings) > 0 || !d.Healthy {
		res.Fix = "not cleared"
		return errors.Join(err, fmt.Errorf("it came back after the fix: %s", strings.Join(names(d.Findings), ", ")))
	}
	for _, x := range e.Expect {
		if _, err := r.run(ctx, Part{At: API, Run: proof(r.node(x.At))}); err != nil {
			res.Fix = "not cleared"
			return fmt.Errorf("cleared, but no new pod runs on %s: %w", r.node(x.At), err)
		}
	}
	return nil
}

// refused wants every finding to be there still, without a remedy and with the reason.
func refused(e Entry, d Diagnosis, res *Result) error {
	for _, f := range d.Findings {
		if f.Remedy != nil || !strings.Contains(f.ManualAction, e.Because) {
			res.Fix = "not refused"
			return fmt.Errorf("%s: a refusal because of %q was expected, and it says %q", f, e.Because, f.ManualAction)
		}
		res.Fix = Refused + ": " + f.ManualAction
	}
	if !res.right(names(d.Findings)) {
		res.Fix = "not refused"
		return fmt.Errorf("--fix --yes was to leave it alone, and now there is %v", names(d.Findings))
	}
	return nil
}

// proof has a pod started on a node and waits until it runs: what the tool says of itself is not enough.
func proof(node string) string {
	return fmt.Sprintf("gone proof\npod proof %s\nkubectl wait --for=condition=Ready pod/proof --timeout=90s\ngone proof", node)
}

const allReady = `kubectl wait --for=condition=Ready nodes --all --timeout=5s
test "$(kubectl get nodes -o name | wc -l)" -eq 3`

// healthy waits until every node is Ready and nothing is found.
func (r runner) healthy(ctx context.Context) error {
	end := time.Now().Add(r.Healthy)
	for {
		_, err := r.run(ctx, Part{At: API, Run: allReady})
		if err == nil {
			var d Diagnosis
			if d, err = r.diagnose(ctx); err == nil && d.Healthy {
				return nil
			}
			if err == nil {
				err = fmt.Errorf("found %v", names(d.Findings))
			}
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w within %s: %w", errIll, r.Healthy, err)
		}
		if err := r.pause(ctx); err != nil {
			return err
		}
	}
}

// tool is the binary on a stranger's cluster.
type tool struct {
	*stranger
	binary string
}

// fixMost bounds one call: --fix looks for six minutes whether what it did has helped.
const fixMost = 10 * time.Minute

func (t tool) diagnose(ctx context.Context, flags ...string) (Diagnosis, error) {
	ctx, cancel := context.WithTimeout(ctx, fixMost)
	defer cancel()
	c := exec.CommandContext(ctx, t.binary, append([]string{"diagnose", "--cluster", t.name, "-o", "json"}, flags...)...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	var d Diagnosis
	// Exit code 1 is a finding; whatever printed a diagnosis gave one.
	if jerr := json.Unmarshal(out, &d); jerr != nil {
		return d, fmt.Errorf("%s gave no diagnosis: %w: %s", strings.Join(c.Args, " "), errors.Join(err, jerr), tail(stderr.String(), 600))
	}
	return d, nil
}

func tail(s string, n int) string {
	s = strings.TrimSpace(s)
	return s[max(0, len(s)-n):]
}
