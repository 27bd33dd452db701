package testbed

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/fingerprint"
)

var _ fault.Traces = (*kindTestbed)(nil)

// Traces implements fault.Traces: a lab outlives the process that began it.
func (l *kindTestbed) Traces(ctx context.Context, node string) ([]byte, error) {
	f, err := readable(ctx, l.t.Poll, l.t.Call, func(ctx context.Context) (*fingerprint.Fingerprint, error) { return l.nodeNow(ctx, node) })
	if err != nil {
		return nil, err
	}
	return json.Marshal(f)
}

// Left implements fault.Traces.
func (l *kindTestbed) Left(ctx context.Context, node string, before []byte) ([]string, error) {
	now, err := l.nodeNow(ctx, node)
	if err == nil {
		err = ctx.Err() // one that was cut short says nothing
	}
	if err != nil {
		return nil, err
	}
	return left(before, now)
}

// left leaves out images, which a kubelet that lacks room removes by itself.
func left(before []byte, now *fingerprint.Fingerprint) (out []string, err error) {
	var was fingerprint.Fingerprint
	if err := json.Unmarshal(before, &was); err != nil {
		return nil, fmt.Errorf("read how the node was: %w", err)
	}
	for _, c := range fingerprint.Diff(&was, now) {
		if c.Area != fingerprint.Images {
			out = append(out, c.String())
		}
	}
	return out, nil
}
