package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
	"github.com/sickbay-dev/sickbay/internal/bounds"
)

// stay is an agent that stays on its node and looks whenever it is asked. Most of what a look costs is starting it: the engine's
// client, its daemons, the OCI runtime twice, a shell and the agent (see BenchmarkObserve).
type stay struct {
	mu    sync.Mutex // held for one look
	again bool       // there was a look before
	ask   *os.File   // its standard input
	in    *json.Encoder
	out   *answers
	end   context.CancelFunc
	ended <-chan struct{} // nil: none was started
}

// errNotStaying sends a look on to an agent of its own, which says what is wrong if something is.
var errNotStaying = errors.New("the agent does not stay")

func (s *stay) look(ctx context.Context, c *Client, opts protocol.ObserveOptions) (*v1alpha1.Observation, error) {
	if !s.again {
		s.again = true
		return nil, errNotStaying
	}
	var guest []byte // what a new one is to read first: itself
	if !s.stays() {
		if err := s.start(ctx, c); err != nil {
			return nil, errNotStaying
		}
		guest = c.guest
	}
	type answer struct {
		protocol.Answer
		err error
	}
	got := make(chan answer, 1)
	ask, in, out := s.ask, s.in, s.out
	go func() {
		var a answer
		if guest != nil {
			_, a.err = ask.Write(guest)
		}
		if a.err == nil {
			a.err = in.Encode(opts)
		}
		if a.err == nil {
			a.Answer, a.err = out.next()
		}
		got <- a
	}()
	select {
	case a := <-got:
		if a.err != nil {
			s.end()
			return nil, errNotStaying
		}
		if a.Error != nil {
			return nil, fmt.Errorf("agent observe --stay on node %s: %w", c.node.Name(), a.Error)
		}
		var o *v1alpha1.Observation
		if err := decode(a.Observation, &o); err != nil {
			return nil, fmt.Errorf("agent observe --stay on node %s: %w", c.node.Name(), err)
		}
		return o, nil
	case <-ctx.Done():
		s.end()
		s.again = false // the next one is on its own, and finds out more
		return nil, fmt.Errorf("agent observe --stay on node %s: %w", c.node.Name(), context.Cause(ctx))
	}
}

// maxAnswer is as much of one answer as is read: thirty times a busy node's.
const maxAnswer = 16 << 20

// answers reads one answer after the other, each within its bound.
type answers struct {
	from io.LimitedReader
	dec  *json.Decoder
}

func newAnswers(r io.Reader) *answers {
	a := &answers{from: io.LimitedReader{R: r}}
	a.dec = json.NewDecoder(&a.from)
	return a
}

func (a *answers) next() (got protocol.Answer, err error) {
	a.from.N = maxAnswer
	if err = a.dec.Decode(&got); err != nil && a.from.N <= 0 {
		err = bounds.TooLarge(maxAnswer+1, maxAnswer)
	}
	return got, err
}

func (s *stay) stays() bool {
	if s.ended == nil {
		return false
	}
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// start starts the agent. It outlives the look and ends with this process, or when it is not asked for a while.
func (s *stay) start(ctx context.Context, c *Client) error {
	// A pipe of the kernel's: were it one of Go's, a goroutine would copy from it for the process, and one that has died between two
	// questions would be waited for until the next but one.
	question, ask, err := os.Pipe()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	answer, say := io.Pipe()
	ended := make(chan struct{})
	s.ask, s.in, s.out, s.ended = ask, json.NewEncoder(ask), newAnswers(answer), ended
	s.end = func() {
		cancel()
		// Nobody waits for the process's end: on a node that hangs it takes seconds.
		_ = ask.Close()
		_ = answer.Close()
	}
	go func() {
		defer close(ended)
		defer cancel()
		cmd := c.command(question, protocol.VerbObserve, protocol.Stay)
		cmd.Stdin, cmd.Stdout = question, say
		_, err := c.node.Run(ctx, cmd)
		if err == nil {
			err = io.EOF
		}
		_ = say.CloseWithError(err)
		_ = question.Close()
	}()
	return nil
}
