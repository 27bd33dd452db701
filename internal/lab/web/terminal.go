package web

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/coder/websocket"
	"github.com/creack/pty"
)

const (
	// protocol is what a terminal's WebSocket speaks: binary messages are what is typed and shown, text ones are control.
	protocol = "sickbay.lab.v1"
	// mostFrame bounds one message of a page: what is pasted comes in pieces.
	mostFrame = 8 << 10
	// mostTerminals bounds those of one learner.
	mostTerminals = 8
	// mostChunk bounds one message of ours.
	mostChunk = 32 << 10
	// ping finds a connection that is dead; a page that does not read for writeBound has gone.
	pingEvery, writeBound = 20 * time.Second, 10 * time.Second
)

// terminal is a shell on a node. It goes on while no page looks at it.
type terminal struct {
	id  string
	tty *os.File
	out *ring
	// kill ends the shell; gone is closed when it has ended and what was typed is kept.
	kill func()
	gone chan struct{}
}

// open returns the node's terminal; one that has ended makes place for a new one.
func (l *learner) open(node string, record bool) (*terminal, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.terminals[node]; t != nil && !t.out.over() {
		return t, nil
	}
	if len(l.terminals) >= mostTerminals && l.terminals[node] == nil {
		return nil, fmt.Errorf("there are %d terminals already", mostTerminals)
	}
	ctx, cancel := context.WithCancel(l.ctx)
	sh, ended, err := l.Desk.Shell(ctx, node, record)
	if err != nil {
		cancel()
		return nil, err
	}
	if sh.Env == nil {
		sh.Env = os.Environ()
	}
	sh.Env = append(sh.Env, "TERM=xterm-256color")
	tty, err := pty.StartWithSize(sh, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start %s: %w", sh.Path, err)
	}
	t := &terminal{id: rand.Text(), tty: tty, out: newRing(), gone: make(chan struct{})}
	// A shell that ends by itself keeps its history: an end of input first, then that of its terminal, then a kill.
	t.kill = func() {
		time.AfterFunc(time.Second, func() { _ = tty.Close() })
		time.AfterFunc(2*time.Second, cancel)
		_, _ = tty.WriteString("\x03\x04") // a shell that does not read holds this until the first of them
	}
	l.terminals[node] = t
	l.wg.Go(func() {
		defer close(t.gone)
		_, _ = io.Copy(t.out, tty) // ends with an error when the shell does
		_ = sh.Wait()
		cancel()
		_ = tty.Close()
		t.out.close()
		ended()
	})
	return t, nil
}

func (l *learner) closeTerminals() {
	l.mu.Lock()
	all := l.terminals
	l.terminals = map[string]*terminal{}
	l.mu.Unlock()
	for _, t := range all {
		t.kill()
	}
	for _, t := range all {
		<-t.gone
	}
}

// hello is a terminal's first message: where what follows begins. A page that has something else clears it.
type hello struct {
	Session string `json:"session"`
	From    int64  `json:"from"`
	Ended   bool   `json:"ended,omitempty"`
}

func (s *Server) terminal(w http.ResponseWriter, r *http.Request, l *learner) {
	if r.Header.Get("Origin") == "" {
		refuse(w, http.StatusForbidden, errors.New("a terminal is for the pages of this server: no Origin was told"))
		return
	}
	q := r.URL.Query()
	t, err := l.open(q.Get("node"), q.Get("record") == "1")
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, err)
		return
	}
	// guard has compared Origin and Host.
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol}, InsecureSkipVerify: true})
	if err != nil {
		return // it has answered
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(mostFrame)
	at := int64(0)
	if q.Get("session") == t.id {
		at, _ = strconv.ParseInt(q.Get("from"), 10, 64)
	}
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	go func() {
		defer cancel()
		t.read(ctx, c)
	}()
	if t.write(ctx, c, max(0, at)) == nil {
		_ = c.Close(websocket.StatusNormalClosure, "the shell has ended")
	}
}

// read takes what is typed.
func (t *terminal) read(ctx context.Context, c *websocket.Conn) {
	for {
		kind, msg, err := c.Read(ctx)
		if err != nil {
			return
		}
		if kind == websocket.MessageBinary {
			if _, err := t.tty.Write(msg); err != nil {
				return
			}
			continue
		}
		var size struct{ Cols, Rows uint16 }
		if json.Unmarshal(msg, &size) == nil && size.Cols > 1 && size.Cols <= 500 && size.Rows > 1 && size.Rows <= 200 {
			_ = pty.Setsize(t.tty, &pty.Winsize{Cols: size.Cols, Rows: size.Rows})
		}
	}
}

// write shows what is printed, from there on.
func (t *terminal) write(ctx context.Context, c *websocket.Conn, at int64) error {
	send := func(kind websocket.MessageType, p []byte) error {
		ctx, cancel := context.WithTimeout(ctx, writeBound)
		defer cancel()
		return c.Write(ctx, kind, p)
	}
	tell := func(h hello) error {
		h.Session = t.id
		raw, _ := json.Marshal(h) // plain fields
		return send(websocket.MessageText, raw)
	}
	told := int64(-1)
	for {
		p, start, more, ended := t.out.from(at)
		if start != told { // the first, or more was printed than is kept
			if err := tell(hello{From: start}); err != nil {
				return err
			}
		}
		if len(p) > 0 {
			if err := send(websocket.MessageBinary, p); err != nil {
				return err
			}
		}
		at = start + int64(len(p))
		told = at
		if ended {
			return tell(hello{From: at, Ended: true})
		}
		if len(p) > 0 {
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pingEvery):
			ctx, cancel := context.WithTimeout(ctx, writeBound)
			err := c.Ping(ctx)
			cancel()
			if err != nil {
				return err
			}
		}
	}
}
