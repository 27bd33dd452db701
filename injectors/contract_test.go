package injectors_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/fault/faulttest"
)

// asAgent is an Injector as its callers have it, with everything that is asked and answered going through JSON.
type asAgent struct{ in *injectors.Injector }

func through[A any](t any, out A) (A, error) {
	raw, err := json.Marshal(t)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	return out, err
}

func (asAgent) Path() string { return "/agent" }

func (a asAgent) Check(ctx context.Context, in injectors.Injection) (*injectors.Status, error) {
	st, err := a.in.Check(ctx, in)
	return &st, err
}

func (asAgent) Sign(context.Context, injectors.SignRequest) (string, error) { return signed, nil }

func (a asAgent) Inject(ctx context.Context, in injectors.Injection) (*injectors.Status, error) {
	in, err := through(in, injectors.Injection{})
	if err != nil {
		return nil, err
	}
	st, err := a.in.Inject(ctx, in)
	if err != nil {
		return nil, err
	}
	return through(st, &injectors.Status{})
}

func (a asAgent) Recover(ctx context.Context, run, id string) ([]injectors.Status, error) {
	sel := injectors.Selector{Run: run}
	if id != "" {
		sel = injectors.Selector{ID: id}
	}
	return a.in.Recover(ctx, sel)
}

func (a asAgent) Status(ctx context.Context) ([]injectors.Status, error) {
	return a.in.List(ctx, false)
}

func (a asAgent) Renew(ctx context.Context, run string, lease time.Duration) error {
	_, err := a.in.Renew(ctx, run, lease)
	return err
}

func TestAgentContract(t *testing.T) {
	write := func(content string) func(t *testing.T) (fault.Agent, injectors.Injection) {
		return func(t *testing.T) (fault.Agent, injectors.Injection) {
			n := newNode()
			if err := n.Write("/etc/motd", []byte("welcome\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			params, err := json.Marshal(map[string]string{"path": "/etc/motd", "content": content})
			if err != nil {
				t.Fatal(err)
			}
			return asAgent{injectors.New(parts(n), "/agent")}, injectors.Injection{Mechanism: "file", Params: params}
		}
	}
	faulttest.Contract(t, write("go away\n"), write("welcome\n"))
}
