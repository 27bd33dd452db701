// Package node reaches a Kubernetes node without the Kubernetes API: it must answer when the kubelet does not.
//
// It knows transports (container engine exec, ssh, local, and clients that others bring), nothing of faults or findings.
package node

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
)

// Node is one reachable node.
type Node interface {
	// Name is the Kubernetes node name, which for kind is also the container's name.
	Name() string
	// Run runs one command on the node, as root where the transport is root's, and waits for it. When ctx ends, the process on the node is ended too, not only
	// its client. A command that ran and exited non-zero is an *ExitError; anything else means the node was not reached.
	Run(ctx context.Context, cmd Command) (stdout []byte, err error)
	// Put writes a file on the node, atomically (temporary name, then rename), with its directories.
	Put(ctx context.Context, path string, mode os.FileMode, content io.Reader) error
	// Arch is the node's GOARCH.
	Arch(ctx context.Context) (string, error)
}

// Command is what to run on a node.
type Command struct {
	Argv  []string
	Stdin io.Reader // nil for none
	// Stdout receives the output as it comes, in place of Run's answer; nil for that.
	Stdout io.Writer
	// Stderr receives the error stream as it comes, besides being kept for the error; nil for none.
	Stderr io.Writer
}

// Sh is a Command that runs a shell line.
func Sh(line string) Command { return Command{Argv: []string{"sh", "-c", line}} }

// Argv is a Command of plain words.
func Argv(argv ...string) Command { return Command{Argv: argv} }

// ExitError is a command that ran on a node and exited non-zero.
type ExitError struct {
	Node   string
	Argv   []string
	Code   int
	Output string // the last lines of standard error, or of standard output when that was empty
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("on node %s: %s: exit status %d: %s", e.Node, strings.Join(e.Argv, " "), e.Code, strings.TrimSpace(e.Output))
}
