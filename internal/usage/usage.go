// Package usage has the error for a request that is wrong, which ends a process with exit code 2.
package usage

import "fmt"

// Error is a request that is wrong: a victim that does not exist, a directory without a report.
type Error struct{ Text string }

func (e *Error) Error() string { return e.Text }

// ExitCode is 2.
func (*Error) ExitCode() int { return 2 }

// Errorf formats an Error.
func Errorf(format string, args ...any) error { return &Error{Text: fmt.Sprintf(format, args...)} }
