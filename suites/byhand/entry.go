package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/api/failures"
)

// Entry is one thing that somebody does to a cluster by hand, and what has to be said of it. Its name is that of its file.
type Entry struct {
	Name  string `json:"-"`
	Title string `json:"title"`
	// Listed tells that this way of breaking a node is one of those that the description of the fifteen failures gives. The others
	// were made up by somebody who did not look there.
	Listed bool `json:"listed,omitempty"`
	// Source names the public report that the trouble was made after, such as kubernetes#60987. Own wording, no names of people or hosts.
	Source string `json:"source,omitempty"`
	// Break are the commands, as they would be typed. They need not be idempotent.
	Break Script `json:"break"`
	// Wait is a condition for the trouble to be readable on the node or in the API; it knows nothing of detectors. Without one it is
	// readable as soon as Break has ended. It is asked again and again until every part of it exits 0. $BROKEN is when Break began, in
	// seconds of the epoch: what the entry before left in a log is not the signal.
	Wait   Script   `json:"wait,omitempty"`
	Within Duration `json:"within,omitempty"` // of Wait; default 1m
	// Expect are the findings, no more and no fewer; an entry without any is an oddity, of which nothing may be said.
	Expect []Expected `json:"expect,omitempty"`
	// Or is another answer that is as defensible as Expect.
	Or []Expected `json:"or,omitempty"`
	// Watch goes on looking for this long after the first answer: consequences that come late must not be named as causes.
	Watch Duration `json:"watch,omitempty"`
	// Fix is what `--fix --yes` has to come to: Cleared, Allowed or Refused.
	Fix string `json:"fix,omitempty"`
	// Because is a part of the reason that a refusal has to give.
	Because string `json:"because,omitempty"`
	// Mend takes back what is left. It always runs, also when the fix has done everything, and must be content with that.
	Mend Script `json:"mend,omitempty"`
}

// since is the entry with $BROKEN set in Wait.
func (e Entry) since(began time.Time) Entry {
	wait := slices.Clone(e.Wait)
	for i := range wait {
		wait[i].Run = fmt.Sprintf("BROKEN=%d\n%s", began.Unix(), wait[i].Run)
	}
	e.Wait = wait
	return e
}

// What a fix can come to.
const (
	Cleared = "cleared"
	Refused = "refused" // there is no remedy, and the finding says why
	// Allowed is a remedy with a destructive step: --fix --yes takes none of it (of two faults it may clear the other one), --allow
	// destructive clears.
	Allowed = "allowed"
)

// Expected is a finding that has to be there.
type Expected struct {
	Failure string `json:"failure"`
	Cause   string `json:"cause"`
	At      string `json:"at,omitempty"` // a place; default Worker
}

// Places of a cluster on which commands run. API is the control plane with kubectl and an administrator's credentials.
const (
	Worker       = "worker"
	Worker2      = "worker2"
	ControlPlane = "control-plane"
	API          = "api"
)

var places = []string{Worker, Worker2, ControlPlane, API}

// Script is what is run, one part after the other. In YAML it is a text, which runs on the worker, or a list of {at, run}.
type Script []Part

// Part is a shell script for one place.
type Part struct {
	At  string `json:"at"`
	Run string `json:"run"`
}

// UnmarshalJSON takes either form.
func (s *Script) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*s = Script{{At: Worker, Run: text}}
		return nil
	}
	var parts []Part
	if err := strict(b, &parts); err != nil {
		return fmt.Errorf("neither a script nor a list of {at, run}: %w", err)
	}
	*s = parts
	return nil
}

// Duration is written as 30s or 2m.
type Duration time.Duration

// UnmarshalJSON reads it.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	v, err := time.ParseDuration(text)
	*d = Duration(v)
	return err
}

func strict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// Load reads the entries of a folder, in the order of their names.
func Load(dir string) ([]Entry, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there are no entries in %s", dir)
	}
	var all []Entry
	var errs []error
	for _, f := range files {
		e, err := load(f)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f, err))
		}
		all = append(all, e)
	}
	return all, errors.Join(errs...)
}

func load(file string) (Entry, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return Entry{}, err
	}
	b, err := yaml.YAMLToJSONStrict(raw)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Name: strings.TrimSuffix(filepath.Base(file), ".yaml")}
	if err := strict(b, &e); err != nil {
		return e, err
	}
	return e, e.complete()
}

// check tells what a script lacks.
func (s Script) check(name string) (errs []error) {
	for _, p := range s {
		if !slices.Contains(places, p.At) || strings.TrimSpace(p.Run) == "" {
			errs = append(errs, fmt.Errorf("%s: a part needs a script and a place (%s), not %q", name, strings.Join(places, ", "), p.At))
		}
	}
	return errs
}

// complete fills the place in and tells what cannot be expected.
func (x *Expected) complete() (errs []error) {
	x.At = cmp.Or(x.At, Worker)
	if x.At == API || !slices.Contains(places, x.At) {
		errs = append(errs, fmt.Errorf("expect: %q is no node", x.At))
	}
	if !failures.Known(x.Failure, x.Cause) {
		errs = append(errs, fmt.Errorf("expect: there is no %s/%s; `sickbay explain` lists them", x.Failure, x.Cause))
	}
	return errs
}

// complete fills defaults in and tells what cannot be meant.
func (e *Entry) complete() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if e.Title == "" || len(e.Break) == 0 {
		wrong("title and break are needed")
	}
	errs = slices.Concat(errs, e.Break.check("break"), e.Wait.check("wait"), e.Mend.check("mend"))
	for _, list := range [][]Expected{e.Expect, e.Or} {
		for i := range list {
			errs = append(errs, list[i].complete()...)
		}
	}
	switch {
	case len(e.Expect) == 0 && (e.Fix != "" || e.Because != "" || e.Listed || len(e.Or) > 0):
		wrong("an oddity is neither listed nor fixed")
	case len(e.Expect) > 0 && !slices.Contains([]string{Cleared, Allowed, Refused}, e.Fix):
		wrong("fix is %q; it must be %s, %s or %s", e.Fix, Cleared, Allowed, Refused)
	case (e.Fix == Refused) != (e.Because != ""):
		wrong("because belongs to a fix that is %s", Refused)
	case e.Watch < 0 || e.Within < 0:
		wrong("watch and within are not negative")
	}
	if e.Within == 0 {
		e.Within = Duration(time.Minute)
	}
	return errors.Join(errs...)
}

// Choose takes the named entries, all of them when none is named. A name may be a pattern of path.Match.
func Choose(all []Entry, names []string) ([]Entry, error) {
	if len(names) == 0 {
		return all, nil
	}
	var out []Entry
	for _, e := range all {
		if slices.ContainsFunc(names, func(n string) bool { ok, _ := filepath.Match(n, e.Name); return ok }) {
			out = append(out, e)
		}
	}
	for _, n := range names {
		if !slices.ContainsFunc(all, func(e Entry) bool { ok, _ := filepath.Match(n, e.Name); return ok }) {
			return nil, fmt.Errorf("there is no entry %q", n)
		}
	}
	return out, nil
}
