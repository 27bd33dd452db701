package injectors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/op"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// Mechanism is one way to make a node ill.
type Mechanism struct {
	Name string
	// Doc is one line for lists.
	Doc string
	// New returns the parameter struct with its defaults, as a pointer.
	New func() Params
	// HostWide says that the fault reaches beyond its node to the shared kernel: scenarios must claim the host.
	HostWide bool
}

// unsupported is the error of a node or host that cannot host the fault.
func (m Mechanism) unsupported(why string) error {
	return &UnsupportedError{Mechanism: m.Name, Reason: why}
}

func (m Mechanism) unsupportedf(format string, args ...any) error {
	return m.unsupported(fmt.Sprintf(format, args...))
}

// needs looks at a switch of the kernel. Where its file is not there, the kernel has no such feature (none says so), and where it
// holds another value, it is switched off.
func (m Mechanism) needs(n Node, file, value, none, off string) error {
	on, err := n.Sys.Read(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return m.unsupported(none + " (there is no " + file + ")")
	case err != nil:
		return err
	case strings.TrimSpace(string(on)) != value:
		return m.unsupported(off)
	}
	return nil
}

// needsGuest refuses any machine that is no guest of `sickbay vm`, for a fault that takes what all its nodes and everybody else share.
func (m Mechanism) needsGuest(n Node, shared string) error {
	in, err := op.InGuest(n.Sys)
	if err == nil && !in {
		err = m.unsupported(shared + ", which this machine's nodes share with everybody on it: only in a guest of `sickbay vm`")
	}
	return err
}

// Params are a mechanism's parameters: a plain struct with JSON tags.
type Params interface {
	// Validate judges the values alone, without a node.
	Validate() error
	// Plan looks at the node, changes nothing, and answers with the operations. An *UnsupportedError says that this node or
	// host cannot host the fault.
	Plan(ctx context.Context, n Node) (*Plan, error)
}

// Sight is what planning may ask of a node. It changes nothing.
type Sight interface {
	op.Files
	op.Commands
	op.Resolver
	Statfs(path string) (op.Statfs, error)
	Swaps() ([]string, error)
}

// Node is what a mechanism may look at when it plans.
type Node struct {
	Sys Sight
	// Dir is where the injection's backups will be, for operations that refer to files there.
	Dir string
	// Run is the run the injection belongs to.
	Run string
	// Agent is the agent's own path on the node.
	Agent string
	// Made lists the filesystems that sickbay made on the node.
	Made func() ([]*op.LoopFS, error)
	// Signed is Injection.Signed.
	Signed string
}

// Plan is what a mechanism will do.
type Plan struct {
	Ops []op.Op
	// Differs is set when the fault is only contained: the sentence on what differs from a real node.
	Differs string
	// Sign is set when the plan waits for a certificate that only the cluster's CA can make.
	Sign *SignRequest
}

// mechanisms is the registry: every mechanism's file adds its own variable here.
var mechanisms = []Mechanism{
	dedicatedFilesystem,
	kubeletConfig,
	kubeletFlags,
	fillDisk,
	fillOwnDisk,
	freezeFilesystem,
	cniConfig,
	swap,
	process,
	cniBinary,
	runtimeBinary,
	immutablePath,
	kubeconfig,
	cgroupDriver,
	sandboxKill,
	apiPath,
	ipamFill,
	runtimeUnit,
	sysctl,
	clockSkew,
	machineClock,
	certificate,
	file,
	apparmorProfile,
	selinuxLabel,
	csiDriver,
	devicePlugin,
	bridgeNetwork,
	podsCgroup,
	registryTrust,
}

// All lists the mechanisms by name.
func All() []Mechanism {
	out := slices.Clone(mechanisms)
	slices.SortFunc(out, func(a, b Mechanism) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

// Names lists the mechanisms' names.
func Names() []string {
	var out []string
	for _, m := range All() {
		out = append(out, m.Name)
	}
	return out
}

// Lookup finds a mechanism by name.
func Lookup(name string) (Mechanism, bool) {
	for _, m := range mechanisms {
		if m.Name == name {
			return m, true
		}
	}
	return Mechanism{}, false
}

// find is Lookup with an error that names the nearest.
func find(name string) (Mechanism, error) {
	m, ok := Lookup(name)
	if !ok {
		return m, fmt.Errorf("no mechanism %q%s", name, text.DidYouMean(name, Names()))
	}
	return m, nil
}

// RequestError is a request that is wrong in itself, whatever the node.
type RequestError struct{ Err error }

func (e *RequestError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *RequestError) Unwrap() error { return e.Err }

// NotCleanError says that another run is at home on the node.
type NotCleanError struct {
	Run, ID string
	State   State
	Since   time.Time
}

func (e *NotCleanError) Error() string {
	return fmt.Sprintf("the node is not clean: run %s has %s there, %s since %s (recover it first: sickbay recover)",
		e.Run, e.ID, e.State, e.Since.Format(time.RFC3339))
}
