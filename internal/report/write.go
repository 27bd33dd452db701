// Package report writes and reads the report of a run: JSON, JUnit, one HTML page, the timeline, the pages of docs/results made from
// reports, and recordings for the detectors' tests. It knows api/v1alpha1 and how to replay a bundle, and nothing of the runner.
package report

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/bounds"
	"github.com/sickbay-dev/sickbay/internal/usage"
)

// Files of a report directory. bundle/ beside them holds the observations.
const (
	FileJSON     = "report.json"
	FileJUnit    = "junit.xml"
	FileHTML     = "report.html"
	FileTimeline = "timeline.jsonl"
)

// CellDir is where, below the report of a suite with --matrix, a cell's own is.
func CellDir(cell string) string {
	return filepath.Join("cells", strings.Trim(notInName.ReplaceAllString(cell, "-"), "-"))
}

// private: a report has log lines of nodes and of the machine below them, as the bundle beside it.
const private = 0o600

// Write writes all reports into dir, which is made if need be.
func Write(dir string, rep *v1alpha1.Report) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the report directory: %w", err)
	}
	for name, write := range map[string]func(*bufio.Writer) error{
		FileJSON: func(w *bufio.Writer) error {
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			return enc.Encode(rep)
		},
		FileJUnit: func(w *bufio.Writer) error { return WriteJUnit(w, rep) },
		FileTimeline: func(w *bufio.Writer) error {
			enc := json.NewEncoder(w)
			for _, r := range rep.Results {
				for _, e := range r.Timeline {
					if err := enc.Encode(e); err != nil {
						return err
					}
				}
			}
			return nil
		},
	} {
		if err := writeFile(filepath.Join(dir, name), private, write); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	_, err := RenderHTML(dir, rep, nil) // last: it links what is there
	return err
}

// RenderHTML writes report.html of a report directory again, as `sickbay report DIR --html` does; before is an earlier report to compare
// with, or nil.
func RenderHTML(dir string, rep, before *v1alpha1.Report) (path string, err error) {
	if fi, err := os.Stat(dir); err == nil && !fi.IsDir() {
		dir = filepath.Dir(dir)
	}
	path = filepath.Join(dir, FileHTML)
	if err := writeFile(path, private, func(w *bufio.Writer) error { return WriteHTML(w, rep, PageOptions{Before: before, Dir: dir}) }); err != nil {
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	return path, nil
}

// maxReport is as much of a report.json as is read: one of a hundred scenarios has 4 MiB.
const maxReport = 256 << 20

// Read reads the report.json of a report directory, or the file itself.
func Read(dir string) (*v1alpha1.Report, error) {
	path := fileOf(dir)
	raw, err := bounds.ReadFile(path, maxReport)
	if much := (*bounds.TooMuchError)(nil); errors.As(err, &much) || errors.Is(err, bounds.ErrNotFile) {
		return nil, &usage.Error{Text: fmt.Sprintf("%s is no report: %s", path, err)}
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, &usage.Error{Text: fmt.Sprintf("there is no report in %s (no %s): make one with `sickbay run NAME --report %s`", dir, FileJSON, dir)}
	}
	if err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	var rep v1alpha1.Report
	err = bounds.JSON(raw)
	if err == nil {
		err = json.Unmarshal(raw, &rep)
	}
	if err != nil {
		return nil, &usage.Error{Text: fmt.Sprintf("%s is no report: %s", path, err)}
	}
	if rep.Kind != v1alpha1.KindReport || rep.APIVersion != v1alpha1.APIVersion {
		what := cmp.Or(strings.TrimSpace(rep.APIVersion+" "+rep.Kind), "document without apiVersion and kind")
		return nil, &usage.Error{Text: fmt.Sprintf("%s is a %s; this sickbay reads %s %s", path, what, v1alpha1.APIVersion, v1alpha1.KindReport)}
	}
	return &rep, nil
}

// fileOf is the report.json of a report directory, or the file itself.
func fileOf(dir string) string {
	if fi, err := os.Stat(dir); err == nil && fi.IsDir() {
		return filepath.Join(dir, FileJSON)
	}
	return dir
}

// ReadAll reads several reports. One that is given twice, by whatever path or as a copy, would count twice, or be compared with itself.
func ReadAll(dirs ...string) ([]*v1alpha1.Report, error) {
	var reps []*v1alpha1.Report
	for i, dir := range dirs {
		rep, err := Read(dir)
		if err != nil {
			return nil, err
		}
		for j, other := range reps {
			if sameFile(dir, dirs[j]) || !rep.Started.IsZero() && reflect.DeepEqual(rep, other) {
				return nil, usage.Errorf("%s and %s are the same report, given twice: name each report once", dirs[j], dirs[i])
			}
		}
		reps = append(reps, rep)
	}
	return reps, nil
}

func sameFile(a, b string) bool {
	one, err := os.Stat(fileOf(a))
	two, also := os.Stat(fileOf(b))
	return err == nil && also == nil && os.SameFile(one, two)
}

// writeFile replaces a file as a whole: a reader never sees half a report.
func writeFile(path string, mode fs.FileMode, write func(*bufio.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriter(f)
	if err = errors.Join(write(w), w.Flush(), f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
