package cluster

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/atomicfile"
	"github.com/sickbay-dev/sickbay/internal/lockfile"
	"github.com/sickbay-dev/sickbay/internal/progress"
)

// Record is what a run is about to change, as the host knows it: the node's own journal has the rest. It is on disk before the
// run's first change and goes with its last, so one that is there while nobody holds it is a run whose process is gone.
type Record struct {
	Cluster  string `json:"cluster"`
	Run      string `json:"run"`
	Scenario string `json:"scenario,omitempty"`
	Node     string `json:"node"`
	Holder
	// Lease is how long after its last renewal the node heals itself.
	Lease time.Duration `json:"lease"`
	// Until is set where the process went and left the node ill on purpose.
	Until time.Time `json:"until,omitzero"`
	// Host tells that the run changes the kernel that all nodes share.
	Host bool `json:"host,omitempty"`
	// Images are the names of the images on the node before the run. There may be no registry to pull one from again.
	Images []string `json:"images,omitempty"`
	// Remedied tells that a remedy was begun, which may have cordoned the node.
	Remedied bool `json:"remedied,omitempty"`

	// Renewed is when the process last renewed the lease. It is the file's own time, which costs no write.
	Renewed time.Time `json:"-"`
	// Alive tells that the process still has the run in hand.
	Alive bool `json:"-"`
}

// Due is when the node should have healed itself.
func (r Record) Due() time.Time {
	if !r.Until.IsZero() {
		return r.Until
	}
	return r.Renewed.Add(r.Lease)
}

// NotCleanError is a node on which a run has left something that nobody has undone yet.
type NotCleanError struct{ Record }

func (e *NotCleanError) Error() string {
	what := "node " + e.Node
	if e.Host {
		what += ", and with it this machine's kernel,"
	}
	s := fmt.Sprintf("%s is not clean: run %s of process %d (%s), which is gone, has left something on it", what, e.Run, e.PID, e.Command)
	if !e.Until.IsZero() {
		s = fmt.Sprintf("%s is not clean: run %s was left on it on purpose", what, e.Run)
	}
	if d := time.Until(e.Due()); d > 0 {
		s += fmt.Sprintf("; it heals itself in %s", progress.Elapsed(d))
	}
	return s + fmt.Sprintf("; undo it now with: sickbay recover --cluster %s --run %s", e.Cluster, e.Run)
}

// Hold is a run's record in the hands of this process. The kernel takes the hold away when the process dies, however it dies.
type Hold struct {
	Record
	file    string
	release func()
}

func runsDir(cluster string) (string, error) { return dirOf(runs, cluster) }

// Begin writes a run's record, before its first change.
func (c *Cluster) Begin(r Record) (*Hold, error) {
	dir, err := runsDir(c.Name)
	if err != nil {
		return nil, err
	}
	r.Cluster, r.Holder = c.Name, lockfile.Self()
	h := &Hold{Record: r, file: filepath.Join(dir, r.Run+".json")}
	if h.release, err = lockfile.Take(h.lock(), "run "+r.Run); err != nil {
		if !errors.As(err, new(*ClaimedError)) {
			_ = os.Remove(h.lock()) // a run's name is its own: nobody else waits for it
		}
		return nil, err
	}
	if err := h.save(); err != nil {
		return nil, errors.Join(fmt.Errorf("write down what run %s is about to change, before it does: %w", r.Run, err), h.drop())
	}
	return h, nil
}

func (h *Hold) lock() string { return strings.TrimSuffix(h.file, ".json") + ".lock" }

// save writes the record so that it is there, whole, whatever happens next.
func (h *Hold) save() error {
	raw, err := json.Marshal(h.Record)
	if err != nil {
		return err
	}
	return atomicfile.Write(h.file, raw, 0o600)
}

// Renew notes that the lease has just been renewed.
func (h *Hold) Renew() error {
	now := time.Now()
	return os.Chtimes(h.file, now, now)
}

// Remedy notes that a remedy is about to begin.
func (h *Hold) Remedy() error {
	h.Remedied = true
	return h.save()
}

// Leave lets go of a run that is to stay as it is until then.
func (h *Hold) Leave(until time.Time) error {
	h.Until = until
	err := h.save()
	h.release()
	return err
}

// Release lets go of a run that is not undone: whoever comes next does it.
func (h *Hold) Release() { h.release() }

// End removes the record of a run that is undone.
func (h *Hold) End() error { return h.drop() }

func (h *Hold) drop() error {
	var errs []error
	for _, f := range []string{h.file, h.lock()} {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	h.release()
	return errors.Join(errs...)
}

// Take takes over a run whose process is gone. One that is in somebody's hands is a *ClaimedError.
func (r Record) Take() (*Hold, error) {
	dir, err := runsDir(r.Cluster)
	if err != nil {
		return nil, err
	}
	h := &Hold{Record: r, file: filepath.Join(dir, r.Run+".json")}
	if h.release, err = lockfile.Take(h.lock(), "run "+r.Run); err != nil {
		return nil, err
	}
	if _, err := os.Stat(h.file); err != nil {
		return nil, errors.Join(err, h.drop()) // somebody else has just undone it
	}
	return h, nil
}

// Records lists the runs that have begun and not ended, of one cluster or of all with an empty name. One that cannot be read is
// an error beside the others.
func Records(cluster string) ([]Record, error) {
	dir, err := CacheDir()
	if cluster != "" && err == nil {
		_, err = dirOf(runs, cluster)
	}
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, runs, cmp.Or(cluster, "*"), "*.json"))
	if err != nil {
		return nil, err
	}
	var out []Record
	var errs []error
	for _, f := range files {
		r, err := readRecord(f)
		switch {
		case errors.Is(err, fs.ErrNotExist): // it has ended this moment
		case err != nil:
			errs = append(errs, fmt.Errorf("read the record of a run, %s: %w", f, err))
		default:
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Record) int { return a.Since.Compare(b.Since) })
	return out, errors.Join(errs...)
}

func readRecord(file string) (Record, error) {
	var r Record
	st, err := os.Stat(file)
	if err != nil {
		return r, err
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, err
	}
	r.Renewed = st.ModTime()
	r.Alive = lockfile.Held(strings.TrimSuffix(file, ".json") + ".lock")
	return r, nil
}

// recorded tells whether a run has begun on a node and not ended, in whosever hands it is.
func (c *Cluster) recorded(node string) bool {
	all, _ := Records(c.Name)
	return slices.ContainsFunc(all, func(r Record) bool { return r.Node == node })
}

// leftOn finds what a run whose process is gone has left on a node, or for HostClaim on the machine itself.
func (c *Cluster) leftOn(node string) (Record, bool) {
	if node == HostClaim {
		return leftOnHost()
	}
	all, _ := Records(c.Name)
	return firstOf(all, func(r Record) bool { return r.Node == node && !r.Alive })
}

func leftOnHost() (Record, bool) {
	all, _ := Records("")
	return firstOf(all, func(r Record) bool { return r.Host && !r.Alive })
}

func firstOf(all []Record, want func(Record) bool) (Record, bool) {
	if i := slices.IndexFunc(all, want); i >= 0 {
		return all[i], true
	}
	return Record{}, false
}

// newsFile is where the watchdog leaves word of what it did while nobody looked.
func newsFile() (string, error) {
	dir, err := CacheDir()
	return filepath.Join(dir, "news"), err
}

// Tell leaves word for whoever runs the next command.
func Tell(line string) error {
	file, err := newsFile()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s %s\n", time.Now().Local().Format("15:04:05"), strings.ReplaceAll(line, "\n", "; "))
	return errors.Join(err, f.Close())
}

// News takes what was told since somebody last asked.
func News() []string {
	file, err := newsFile()
	if err != nil {
		return nil
	}
	// Renamed before it is read: what is told meanwhile goes into the next one.
	mine := fmt.Sprintf("%s.%d", file, os.Getpid())
	if os.Rename(file, mine) != nil {
		return nil
	}
	raw, _ := os.ReadFile(mine)
	_ = os.Remove(mine)
	return strings.Split(strings.TrimSpace(string(raw)), "\n")
}
