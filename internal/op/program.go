package op

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// programOf finds the one process that has the word in its command line: a pod's process is known by nothing else that lasts.
func programOf(sys ProcessTable, word string) (Process, error) {
	all, err := sys.Processes()
	if err != nil {
		return Process{}, err
	}
	var found []Process
	for _, p := range all {
		if len(p.Command) > 1 && slices.Contains(p.Command[1:], word) && p.State != "Z" {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Process{}, fmt.Errorf("no process of %s runs here: %w", word, fs.ErrNotExist)
	default:
		return Process{}, fmt.Errorf("%d processes of %s run here: which is meant cannot be told", len(found), word)
	}
}

// alive answers with the process that started then, nil when that one has ended.
func alive(sys ProcessTable, pid int, start uint64) (*Process, error) {
	if pid == 0 {
		return nil, nil
	}
	p, err := sys.Process(pid)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (p.Start != start || p.State == "Z") {
		return nil, nil
	}
	return &p, err
}
