package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sickbay-dev/sickbay/internal/platform/buildcache"
)

// States of a guest.
const (
	Absent  = "absent" // there is none
	Running = "up"
	Killed  = "killed" // its process is gone and its folder is not: `sickbay vm down` clears it away
)

// Status is what is known about the guest and the cache.
type Status struct {
	State string `json:"state"` // absent, up, killed
	// Problem says what is wrong with a guest that is not as it should be.
	Problem   string    `json:"problem,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	PID       int       `json:"pid,omitempty"`
	Port      int       `json:"port,omitempty"` // of 127.0.0.1, for ssh
	CPUs      int       `json:"cpus,omitempty"`
	MemoryMiB int       `json:"memoryMiB,omitempty"`
	Image     string    `json:"image,omitempty"`
	// OverlayBytes is what the guest has written.
	OverlayBytes int64 `json:"overlayBytes,omitempty"`
	// Choice is the accelerator and why; of the guest, or what an earlier probe found. Nil when nobody has asked yet.
	Choice *Choice `json:"choice"`
	// Host is what `sickbay doctor --host -o json` says in the guest; nil when none is up or it did not answer.
	Host  json.RawMessage `json:"host"`
	Cache Cached          `json:"cache"`
}

// Cached is the cache of disks.
type Cached struct {
	Dir   string            `json:"dir"`
	Bytes int64             `json:"bytes"`
	Limit int64             `json:"limitBytes"`
	Parts []buildcache.Kept `json:"parts"`
}

// Look answers the status without asking the guest. It takes no lock and changes nothing.
func Look(o Options) (Status, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Status{}, err
	}
	s := Status{State: Absent, Cache: Cached{Dir: o.Dir, Limit: o.Limit, Parts: []buildcache.Kept{}}}
	all, err := newCache(o).List()
	if err != nil {
		return s, err
	}
	for _, k := range all {
		s.Cache.Parts = append(s.Cache.Parts, k)
		s.Cache.Bytes += k.Bytes
	}
	if c, ok := keptChoice(o); ok {
		s.Choice = &c
	}
	g, err := load(o.guest())
	switch {
	case errors.Is(err, errNoGuest):
		if _, err := os.Stat(o.guest()); err == nil || len(strays(o.guest())) > 0 {
			s.State, s.Problem = Killed, "it was never finished"
		}
		return s, nil
	case err != nil:
		s.State, s.Problem = Killed, err.Error()
		return s, nil
	}
	s.Since, s.PID, s.Port, s.CPUs, s.MemoryMiB, s.Image, s.Choice = g.Since, g.PID, g.Port, g.CPUs, g.MemoryMiB, g.Image, &g.Choice
	s.OverlayBytes, _ = buildcache.Occupied(o.guest())
	s.State = Running
	if !g.Alive() {
		s.State, s.Problem = Killed, fmt.Sprintf("its process %d is gone", g.PID)
		s.PID, s.Port = 0, 0
	}
	return s, nil
}

// Ask adds to a status what the guest says of itself.
func (s *Status) Ask(ctx context.Context, o Options) {
	if s.State != Running {
		return
	}
	g, err := Find(o)
	if err == nil {
		var c *Conn
		if c, err = g.connect(ctx); err == nil {
			defer c.Close()
			var out string
			if out, err = c.Output(ctx, Sickbay+" doctor --host -o json"); err == nil && json.Valid([]byte(out)) {
				s.Host = json.RawMessage(out)
				return
			}
		}
	}
	s.Problem = fmt.Sprintf("it does not answer: %v", err)
}
