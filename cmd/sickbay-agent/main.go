//go:build linux

// sickbay-agent is the one static binary that sickbay puts on a node. One call is one process: see package protocol.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/agent/plugins"
	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
	"github.com/sickbay-dev/sickbay/internal/collect"
	"github.com/sickbay-dev/sickbay/internal/fingerprint"
	"github.com/sickbay-dev/sickbay/internal/op"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	"github.com/sickbay-dev/sickbay/internal/vdso"
	"github.com/sickbay-dev/sickbay/internal/version"
)

func init() {
	if len(os.Args) > 1 && (os.Args[1] == injectors.ShiftVerb || os.Args[1] == protocol.VerbEnter) {
		runtime.LockOSThread() // main runs on the first thread: vdso.Exec; of setns, only the calling thread is moved
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// Whoever calls knows how slow the machine is. A timer on the node calls as well, and knows nothing.
	timeoutscale.MeasureWhenAsked()
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], protocol.PaceFlag) {
		f, err := timeoutscale.Parse(strings.TrimPrefix(os.Args[1], protocol.PaceFlag))
		if err != nil {
			fail(2, &protocol.Error{Text: err.Error(), Reason: protocol.ReasonRequest})
		}
		timeoutscale.Set(f)
		os.Args = append(os.Args[:1:1], os.Args[2:]...)
	}
	if len(os.Args) < 2 {
		fail(2, &protocol.Error{Text: "a verb is wanted: " + strings.Join(slices.Sorted(maps.Keys(verbs)), ", "), Reason: protocol.ReasonRequest})
	}
	v, ok := verbs[os.Args[1]]
	if !ok {
		fail(2, &protocol.Error{Text: fmt.Sprintf("unknown verb %q; there are %s", os.Args[1], strings.Join(slices.Sorted(maps.Keys(verbs)), ", ")), Reason: protocol.ReasonRequest})
	}
	out, err := v(ctx, os.Args[2:])
	var bad *requestError
	var wrong *injectors.RequestError
	var unsupported *injectors.UnsupportedError
	switch {
	case errors.As(err, &bad):
		fail(2, &protocol.Error{Text: bad.Error(), Reason: protocol.ReasonRequest})
	case errors.As(err, &wrong):
		fail(2, &protocol.Error{Text: err.Error(), Reason: protocol.ReasonRequest})
	case errors.As(err, &unsupported):
		fail(1, &protocol.Error{Text: unsupported.Reason, Mechanism: unsupported.Mechanism, Reason: protocol.ReasonUnsupported})
	case err != nil:
		fail(1, &protocol.Error{Text: err.Error(), Reason: protocol.ReasonFailed})
	}
	if out != nil && json.NewEncoder(os.Stdout).Encode(out) != nil {
		os.Exit(1)
	}
	// A goroutine may hang in the kernel; this process has done its work.
	os.Exit(0)
}

func fail(code int, e *protocol.Error) {
	b, _ := json.Marshal(e)
	_, _ = os.Stdout.Write(append(b, '\n'))
	os.Exit(code)
}

// requestError is a call the agent does not understand.
type requestError struct{ err error }

func (e *requestError) Error() string { return e.err.Error() }

type verb func(ctx context.Context, args []string) (any, error)

var verbs = map[string]verb{
	protocol.VerbObserve: observe,
	collect.VerbLook:     asked(func(ctx context.Context, o protocol.ObserveOptions) (any, error) { return collect.Look(ctx, o), nil }),
	protocol.VerbFingerprint: asked(func(ctx context.Context, q protocol.FingerprintOptions) (any, error) {
		return fingerprint.Node(ctx, q.Node, op.CRIOf(op.Host()).Socket), nil
	}),
	protocol.VerbVersion: plain(func(context.Context) (any, error) {
		return protocol.Version{Version: version.String(), Go: runtime.Version(), Arch: runtime.GOARCH}, nil
	}),
	protocol.VerbInject:  asked(func(ctx context.Context, in injectors.Injection) (any, error) { return injector().Inject(ctx, in) }),
	protocol.VerbCheck:   asked(func(ctx context.Context, in injectors.Injection) (any, error) { return injector().Check(ctx, in) }),
	protocol.VerbRecover: asked(func(ctx context.Context, s injectors.Selector) (any, error) { return injector().Recover(ctx, s) }),
	protocol.VerbStatus: asked(func(ctx context.Context, o protocol.StatusOptions) (any, error) {
		return injector().List(ctx, o.Active)
	}),
	protocol.VerbRenew: asked(func(ctx context.Context, r protocol.Renewal) (any, error) { return injector().Renew(ctx, r.Run, r.For) }),
	protocol.VerbSweep: plain(func(ctx context.Context) (any, error) { return injector().Sweep(ctx) }),
	// Only a control-plane node has the key of the cluster's CA.
	protocol.VerbSign: asked(func(_ context.Context, r injectors.SignRequest) (any, error) {
		cert, err := r.Sign(op.Host())
		return protocol.Signed{Certificate: string(cert)}, err
	}),
	plugins.VerbCSIDriver:    csiDriver,
	plugins.VerbCSIRegistrar: csiRegistrar,
	plugins.VerbDevicePlugin: devicePlugin,
	injectors.ShiftVerb:      shiftClock,
	protocol.VerbEnter:       enter,
}

// asked is a verb that takes one JSON document: on the command line, else on standard input.
func asked[Q any](f func(context.Context, Q) (any, error)) verb {
	return func(ctx context.Context, args []string) (any, error) {
		var from io.Reader = os.Stdin
		if len(args) > 0 {
			from = strings.NewReader(strings.Join(args, " "))
		}
		var q Q
		d := json.NewDecoder(from)
		d.DisallowUnknownFields()
		if err := d.Decode(&q); err != nil {
			return nil, &requestError{fmt.Errorf("want a JSON document, %T: %w", q, err)}
		}
		return f(ctx, q)
	}
}

// plain is a verb that takes nothing.
func plain(f func(context.Context) (any, error)) verb {
	return func(ctx context.Context, args []string) (any, error) {
		if len(args) > 0 {
			return nil, &requestError{fmt.Errorf("unexpected %q", args[0])}
		}
		return f(ctx)
	}
}

// flags parses a verb's flags; nothing may be left over.
func flags(name string, args []string, define func(*flag.FlagSet)) error {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	define(fs)
	if err := fs.Parse(args); err != nil {
		return &requestError{fmt.Errorf("%s: %w", name, err)}
	}
	if fs.NArg() > 0 {
		return &requestError{fmt.Errorf("%s: unexpected %q", name, fs.Arg(0))}
	}
	return nil
}

// self is this program, also when its file is gone.
const self = "/proc/self/exe"

// injector is this node's.
func injector() *injectors.Injector {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return injectors.New(op.Host(), self)
}

// observe looks once, in a process of its own that may hang, or stays.
func observe(ctx context.Context, args []string) (any, error) {
	if slices.Equal(args, []string{protocol.Stay}) {
		return nil, stay(ctx)
	}
	return asked(func(ctx context.Context, o protocol.ObserveOptions) (any, error) {
		doc, err := collect.Supervise(ctx, self, o)
		return json.RawMessage(doc), err
	})(ctx, args)
}

// stay looks as often as it is asked.
func stay(ctx context.Context) error {
	asked := make(chan protocol.ObserveOptions)
	go func() {
		defer close(asked)
		for d := json.NewDecoder(os.Stdin); ; {
			var o protocol.ObserveOptions
			if d.Decode(&o) != nil {
				return
			}
			asked <- o
		}
	}()
	for out := json.NewEncoder(os.Stdout); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(protocol.StaysFor):
			return nil
		case o, more := <-asked:
			if !more {
				return nil
			}
			doc, err := collect.Supervise(ctx, self, o)
			a := protocol.Answer{Observation: doc}
			if err != nil {
				a = protocol.Answer{Error: &protocol.Error{Text: err.Error(), Reason: protocol.ReasonFailed}}
			}
			if err := out.Encode(a); err != nil {
				return err
			}
		}
	}
}

// shiftClock stands in a unit's drop-in before the unit's own program, which it becomes: mechanism clock-skew. With --pid it is
// that process's attendant.
func shiftClock(_ context.Context, args []string) (any, error) {
	fs := flag.NewFlagSet(injectors.ShiftVerb, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	pid := fs.Int("pid", 0, "")
	by := fs.Duration("by", 0, "")
	if err := fs.Parse(args); err != nil {
		return nil, &requestError{fmt.Errorf("%s: %w", injectors.ShiftVerb, err)}
	}
	switch {
	case *pid != 0 && fs.NArg() == 0:
		return nil, vdso.Attend(*pid, *by, os.NewFile(3, "ready"))
	case *pid == 0 && fs.NArg() > 0:
		attendant := exec.Command(self, injectors.ShiftVerb, "--pid", strconv.Itoa(os.Getpid()), "--by", by.String())
		attendant.Stdout, attendant.Stderr = os.Stdout, os.Stderr
		return nil, vdso.Exec(attendant, fs.Args())
	}
	return nil, &requestError{errors.New(injectors.ShiftVerb + " wants --by and a program")}
}
