// Package journal keeps, on the node, what injections will displace and how far they got, so that any process of any later
// version can take them back.
//
// Each injection has a directory of its own with one record and the backups of its operations. A record is on disk, file
// and directory synced, before the step it announces begins. The package knows operations only as things to store.
package journal

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"time"

	"github.com/sickbay-dev/sickbay/internal/op"
)

// Version is the version of the record format. Fields are only ever added.
const Version = 1

// Step is how far one operation got.
type Step string

// Steps of an operation.
const (
	Planned Step = "planned" // nothing saved yet: nothing to undo
	Saved   Step = "saved"
	Doing   Step = "doing"
	Done    Step = "done"
	Undoing Step = "undoing"
	Undone  Step = "undone"
)

// Entry is one operation in a record.
type Entry struct {
	Op   op.Op
	Step Step
}

type entryJSON struct {
	Kind   string          `json:"kind"`
	Step   Step            `json:"step"`
	Fields json.RawMessage `json:"fields"`
}

// MarshalJSON stores the operation with its kind.
func (e Entry) MarshalJSON() ([]byte, error) {
	kind, fields, err := op.Marshal(e.Op)
	if err != nil {
		return nil, err
	}
	return json.Marshal(entryJSON{Kind: kind, Step: e.Step, Fields: fields})
}

// UnmarshalJSON reads it back; an operation of another version becomes an *op.Unknown.
func (e *Entry) UnmarshalJSON(b []byte) error {
	var j entryJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	e.Op, e.Step = op.Unmarshal(j.Kind, j.Fields), j.Step
	return nil
}

// Record is one injection with its operations in the order of Do.
type Record struct {
	Version int `json:"version"`
	// Seq orders injections: recovery goes from the newest to the oldest. Wall clocks are no order here.
	Seq int    `json:"seq"`
	ID  string `json:"id"`
	Run string `json:"run"`
	// Injection is the request as it came, State and Since its life; package injectors gives them their types.
	Injection json.RawMessage `json:"injection"`
	State     string          `json:"state"`
	Since     time.Time       `json:"since"`
	Error     string          `json:"error,omitempty"`
	// Fidelity is real or contained; Differs the sentence for contained.
	Fidelity string  `json:"fidelity,omitempty"`
	Differs  string  `json:"differs,omitempty"`
	Ops      []Entry `json:"ops"`
	// Undone and Notes survive a recovery that was cut short, so that its report is whole all the same.
	Undone []string `json:"undone,omitempty"`
	Notes  []string `json:"notes,omitempty"`

	// Sealed keeps the record from the eyes of somebody who looks for the fault on the node. It is no protection from anybody who
	// wants to know: the node itself has to read it.
	Sealed bool `json:"-"`
}

// envelope is a sealed record as it is on disk.
type envelope struct {
	Version int    `json:"version"`
	Sealed  []byte `json:"sealed"` // the record's JSON, deflated
}

func (r *Record) encode() ([]byte, error) {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil || !r.Sealed {
		return b, err
	}
	var z bytes.Buffer
	w, err := flate.NewWriter(&z, flate.DefaultCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return json.Marshal(envelope{r.Version, z.Bytes()})
}

func decode(b []byte) (*Record, error) {
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, err
	}
	if len(e.Sealed) > 0 {
		var err error
		if b, err = io.ReadAll(flate.NewReader(bytes.NewReader(e.Sealed))); err != nil {
			return nil, err
		}
	}
	r := &Record{Sealed: len(e.Sealed) > 0}
	return r, json.Unmarshal(b, r)
}

// Files is what the journal asks of a node.
type Files interface {
	Stat(path string) (op.Stat, error)
	Read(path string) ([]byte, error)
	List(path string) ([]string, error)
	Write(path string, data []byte, mode fs.FileMode) error
	Rename(from, to string) error
	Remove(path string) error
	RemoveAll(path string) error
	MkdirAll(path string, mode fs.FileMode) error
	SyncDir(path string) error
}

// Journal is a node's journal.
type Journal struct {
	Files Files
	Root  string // /var/lib/sickbay/journal
}

const recordName = "record.json"

var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// CheckID tells whether an id can name a directory.
func CheckID(id string) error {
	if !idPattern.MatchString(id) {
		return fmt.Errorf("injection id %q: want letters, digits, '.', '_' and '-', beginning with a letter or digit", id)
	}
	return nil
}

// Dir is the injection's directory.
func (j *Journal) Dir(id string) string { return path.Join(j.Root, id) }

// Save writes the record so that it is there, whole, whatever happens next.
func (j *Journal) Save(r *Record) error {
	if err := j.save(r); err != nil {
		return fmt.Errorf("journal of %s: %w", r.ID, err)
	}
	return nil
}

func (j *Journal) save(r *Record) error {
	b, err := r.encode()
	if err != nil {
		return err
	}
	dir := j.Dir(r.ID)
	if _, err := j.Files.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := j.Files.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := j.Files.SyncDir(j.Root); err != nil {
			return err
		}
	}
	tmp := path.Join(dir, recordName+".tmp")
	if err := j.Files.Write(tmp, b, 0o600); err != nil {
		return err
	}
	if err := j.Files.Rename(tmp, path.Join(dir, recordName)); err != nil {
		return err
	}
	return j.Files.SyncDir(dir)
}

// Remove takes the record out, first of all, and then the backups: a directory without a record means nothing.
func (j *Journal) Remove(id string) error {
	dir := j.Dir(id)
	err := j.Files.Remove(path.Join(dir, recordName))
	if err == nil {
		err = j.Files.SyncDir(dir)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = j.Files.RemoveAll(dir)
	}
	if err != nil {
		return fmt.Errorf("journal of %s: %w", id, err)
	}
	return nil
}

// All reads every record, oldest first. A record that cannot be read is an error beside the others, not instead of them.
// Directories without a record are remains, of an injection that never began or a recovery that had ended.
func (j *Journal) All() (records []*Record, remains []string, err error) {
	names, err := j.Files.List(j.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the journal: %w", err)
	}
	var errs []error
	for _, n := range names {
		b, err := j.Files.Read(path.Join(j.Root, n, recordName))
		if errors.Is(err, fs.ErrNotExist) {
			remains = append(remains, n)
			continue
		}
		var r *Record
		if err == nil {
			r, err = decode(b)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("journal of %s: %w", n, err))
			continue
		}
		if r.Version > Version {
			errs = append(errs, fmt.Errorf("journal of %s: version %d, this agent knows %d; recover with the agent that injected it", n, r.Version, Version))
			continue
		}
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b *Record) int { return a.Seq - b.Seq })
	return records, remains, errors.Join(errs...)
}
