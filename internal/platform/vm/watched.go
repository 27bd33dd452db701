package vm

import (
	"bytes"
	"sync"

	"github.com/sickbay-dev/sickbay/internal/text"
)

// watched keeps what is written and closes seen once that contains what is wanted.
type watched struct {
	want []byte
	seen chan struct{}

	mu   sync.Mutex
	text []byte
	done bool
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p...)
	if !w.done && bytes.Contains(w.text, w.want) {
		w.done = true
		close(w.seen)
	}
	return len(p), nil
}

func (w *watched) has() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.done
}

// last is the last line.
func (w *watched) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return text.Tail(plain(string(w.text)), 1)
}
