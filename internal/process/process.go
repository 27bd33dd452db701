// Package process tells processes of this machine apart, and ends them, by more than their number: the kernel gives that to another
// process as soon as the first has ended.
package process

import (
	"os"
	"path/filepath"
	"strings"
)

// ID is one process: its number, and what tells it from a later process with the same number.
type ID struct {
	PID int `json:"pid"`
	// Began is when it began, in the kernel's ticks since the boot that Boot names. Both are empty where the system does not tell.
	Began uint64 `json:"began,omitempty"`
	Boot  string `json:"bootId,omitempty"`
}

// Self is this process.
func Self() ID {
	id, err := Of(os.Getpid())
	if err != nil {
		return ID{PID: os.Getpid()}
	}
	return id
}

// Alive tells whether the process is still there: that one, not another with its number. Of an ID without a start the number alone tells.
func (id ID) Alive() bool {
	if id.PID <= 0 || id.Boot != "" && id.Boot != Boot() {
		return false
	}
	now, err := Of(id.PID)
	return err == nil && (id.Began == 0 || now.Began == id.Began)
}

// Process is one process and its command line.
type Process struct {
	ID
	Exe  string   // the path of its program, "" where this process may not know it
	Args []string // never empty
}

// Runs tells whether the process runs a program of this name: by its executable, or by the name it was started under, which differ behind
// a wrapper.
func (p Process) Runs(name string) bool {
	return filepath.Base(strings.TrimSuffix(p.Exe, " (deleted)")) == name || filepath.Base(p.Args[0]) == name
}
