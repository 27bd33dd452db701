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
	"os"
	"os/exec"
	"os/signal"
	"runtime"
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
	if len(os.Args) > 1 && os.Args[1] == injectors.ShiftVerb {
		runtime.LockOSThread() // main runs on the first thread: vdso.Exec
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
		fail(2, &protocol.Error{Text: "a verb is wanted: " + strings.Join(verbNames(), ", "), Reason: protocol.ReasonRequest})
	}
	v, ok := verbs[os.Args[1]]
	if !ok {
		fail(2, &protocol.Error{Text: fmt.Sprintf("unknown verb %q; there are %s", os.Args[1], strings.Join(verbNames(), ", ")), Reason: protocol.ReasonRequest})
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
	if out != nil {
		if _, err := os.Stdout.Write(append(out, '\n')); err != nil {
			os.Exit(1)
		}
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

type verb func(ctx context.Context, args []string) ([]byte, error)

var verbs = map[string]verb{
	protocol.VerbObserve:     observe,
	collect.VerbLook:         look,
	protocol.VerbFingerprint: takeFingerprint,
	protocol.VerbVersion:     tellVersion,
	protocol.VerbInject:      inject,
	protocol.VerbCheck:       check,
	protocol.VerbRecover:     recoverFaults,
	protocol.VerbStatus:      status,
	protocol.VerbRenew:       renew,
	protocol.VerbSweep:       sweep,
	plugins.VerbCSIDriver:    csiDriver,
	plugins.VerbCSIRegistrar: csiRegistrar,
	plugins.VerbDevicePlugin: devicePlugin,
	protocol.VerbSign:        sign,
	injectors.ShiftVerb:      shiftClock,
}

func verbNames() []string {
	return []string{protocol.VerbObserve, protocol.VerbInject, protocol.VerbCheck, protocol.VerbRecover, protocol.VerbStatus,
		protocol.VerbRenew, protocol.VerbSweep, protocol.VerbSign, protocol.VerbFingerprint, protocol.VerbVersion,
		plugins.VerbCSIDriver, plugins.VerbCSIRegistrar, plugins.VerbDevicePlugin}
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

type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

func observe(ctx context.Context, args []string) ([]byte, error) {
	var o protocol.ObserveOptions
	stays := false
	err := flags(protocol.VerbObserve, args, func(fs *flag.FlagSet) {
		fs.BoolVar(&stays, "stay", false, "")
		fs.StringVar(&o.Cursor, "cursor", "", "")
		fs.StringVar(&o.Node, "node", "", "")
		fs.StringVar(&o.Endpoint, "endpoint", "", "")
		fs.Var((*list)(&o.Registries), "registry", "")
		fs.DurationVar(&o.First, "first", 0, "")
		fs.DurationVar(&o.Overall, "overall", 0, "")
		fs.DurationVar(&o.PerSource, "per-source", 0, "")
		fs.IntVar(&o.MaxLines, "max-lines", 0, "")
	})
	if err != nil {
		return nil, err
	}
	if stays {
		return nil, stay(ctx)
	}
	return collect.Supervise(ctx, self, o)
}

// self is this program, also when its file is gone.
const self = "/proc/self/exe"

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

// look is the child of observe: options on standard input, the observation on standard output.
func look(ctx context.Context, _ []string) ([]byte, error) {
	var o protocol.ObserveOptions
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return nil, &requestError{err}
	}
	return json.Marshal(collect.Look(ctx, o))
}

func takeFingerprint(ctx context.Context, args []string) ([]byte, error) {
	node, endpoint := "", ""
	if err := flags(protocol.VerbFingerprint, args, func(fs *flag.FlagSet) {
		fs.StringVar(&node, "node", "", "")
		fs.StringVar(&endpoint, "endpoint", collect.DefaultEndpoint, "")
	}); err != nil {
		return nil, err
	}
	if node == "" {
		node, _ = os.Hostname()
	}
	return json.Marshal(fingerprint.Node(ctx, node, endpoint))
}

func tellVersion(context.Context, []string) ([]byte, error) {
	return json.Marshal(protocol.Version{Version: version.String(), Go: runtime.Version(), Arch: runtime.GOARCH})
}

// injector is this node's.
func injector() *injectors.Injector {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return injectors.New(op.Host(), self)
}

// injection reads the injection on standard input, strictly.
func injection() (injectors.Injection, error) {
	var in injectors.Injection
	err := readStrictly(&in)
	return in, err
}

// readStrictly decodes standard input.
func readStrictly(into any) error {
	d := json.NewDecoder(os.Stdin)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return &requestError{fmt.Errorf("%T on standard input: %w", into, err)}
	}
	return nil
}

func inject(ctx context.Context, args []string) ([]byte, error) {
	if err := flags(protocol.VerbInject, args, func(*flag.FlagSet) {}); err != nil {
		return nil, err
	}
	in, err := injection()
	if err != nil {
		return nil, err
	}
	st, err := injector().Inject(ctx, in)
	if err != nil {
		return nil, err
	}
	return json.Marshal(st)
}

func check(ctx context.Context, args []string) ([]byte, error) {
	if err := flags(protocol.VerbCheck, args, func(*flag.FlagSet) {}); err != nil {
		return nil, err
	}
	in, err := injection()
	if err != nil {
		return nil, err
	}
	st, err := injector().Check(ctx, in)
	if err != nil {
		return nil, err
	}
	return json.Marshal(st)
}

func recoverFaults(ctx context.Context, args []string) ([]byte, error) {
	var s injectors.Selector
	if err := flags(protocol.VerbRecover, args, func(fs *flag.FlagSet) {
		fs.StringVar(&s.Run, "run", "", "")
		fs.StringVar(&s.ID, "id", "", "")
		fs.BoolVar(&s.All, "all", false, "")
	}); err != nil {
		return nil, err
	}
	return statuses(injector().Recover(ctx, s))
}

func status(ctx context.Context, args []string) ([]byte, error) {
	active := false
	if err := flags(protocol.VerbStatus, args, func(fs *flag.FlagSet) { fs.BoolVar(&active, "active", false, "") }); err != nil {
		return nil, err
	}
	return statuses(injector().List(ctx, active))
}

func sweep(ctx context.Context, args []string) ([]byte, error) {
	if err := flags(protocol.VerbSweep, args, func(*flag.FlagSet) {}); err != nil {
		return nil, err
	}
	return statuses(injector().Sweep(ctx))
}

func statuses(list []injectors.Status, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if list == nil {
		list = []injectors.Status{}
	}
	return json.Marshal(list)
}

func renew(ctx context.Context, args []string) ([]byte, error) {
	run, lease := "", time.Duration(0)
	if err := flags(protocol.VerbRenew, args, func(fs *flag.FlagSet) {
		fs.StringVar(&run, "run", "", "")
		fs.DurationVar(&lease, "for", 0, "")
	}); err != nil {
		return nil, err
	}
	if run == "" || lease <= 0 {
		return nil, &requestError{errors.New("renew wants --run and a positive --for")}
	}
	if _, err := injector().Renew(ctx, run, lease); err != nil {
		return nil, err
	}
	return []byte("{}"), nil
}

// sign has a certificate made by the cluster's CA, whose key only a control-plane node has.
func sign(_ context.Context, args []string) ([]byte, error) {
	if err := flags(protocol.VerbSign, args, func(*flag.FlagSet) {}); err != nil {
		return nil, err
	}
	var r injectors.SignRequest
	if err := readStrictly(&r); err != nil {
		return nil, err
	}
	cert, err := r.Sign(op.Host())
	if err != nil {
		return nil, err
	}
	return json.Marshal(protocol.Signed{Certificate: string(cert)})
}

// shiftClock stands in a unit's drop-in before the unit's own program, which it becomes: mechanism clock-skew. With --pid it is
// that process's attendant.
func shiftClock(_ context.Context, args []string) ([]byte, error) {
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
