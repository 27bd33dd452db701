package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/usage"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

// The exit codes of every verb.
const (
	exitYes         = 0   // success
	exitNo          = 1   // the answer is no: a scenario failed, a finding exists, something is left behind
	exitUsage       = 2   // the request is wrong
	exitTrouble     = 3   // could not look or set up
	exitInterrupted = 130 // interrupted, after recovery
)

// usageError is a request that is wrong. Hint is the way out.
type usageError struct {
	text string
	hint string
}

func (e *usageError) Error() string {
	if e.hint != "" {
		return e.text + "\n  " + e.hint
	}
	return e.text
}

func usagef(format string, args ...any) error { return &usageError{text: fmt.Sprintf(format, args...)} }

// hintError adds the way out to an error that has none.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() + "\n  " + e.hint }
func (e *hintError) Unwrap() error { return e.err }

func hint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hintError{err, fmt.Sprintf(format, args...)}
}

// cause is what the system says of a file that the message names already.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// answer ends a command whose output is complete; only the exit code is left to set.
type answer int

func (a answer) Error() string { return fmt.Sprintf("exit %d", int(a)) }

// no is the answer no.
const no = answer(exitNo)

// exitCode is the one place where errors become exit codes.
func exitCode(ctx context.Context, err error) int {
	var a answer
	var coded interface{ ExitCode() int }
	var ran *exec.ExitError // a program's exit code is not ours, though it has the same method
	switch {
	// Only a signal ends the context of a command, see suites.WithInterrupt; every run has recovered by now.
	case ctx.Err() != nil, errors.Is(err, suites.ErrInterrupted):
		return exitInterrupted
	case err == nil:
		return exitYes
	case errors.As(err, &a):
		return int(a)
	case errors.As(err, &coded) && !errors.As(err, &ran):
		return coded.ExitCode()
	case isUsage(err):
		return exitUsage
	default:
		return exitTrouble
	}
}

// isUsage reports whether the request is wrong.
func isUsage(err error) bool {
	var (
		own      *usageError
		unknown  *scenarios.NotFoundError
		document *scenarios.Error
		wrong    *usage.Error
	)
	return errors.As(err, &own) || errors.As(err, &unknown) || errors.As(err, &document) || errors.As(err, &wrong)
}

// message is how an error is told: what failed, and below it the way out. A scenario file's problems stand alone, as a
// compiler prints them, so that editors can jump to them.
func message(err error) string { return text.Plain(words(err)) }

func words(err error) string {
	var document *scenarios.Error
	if errors.As(err, &document) {
		return document.Error()
	}
	text := strings.TrimSpace(err.Error())
	if text == context.Canceled.Error() {
		text = "interrupted"
	}
	return "sickbay: " + text
}
