package web

import "sync"

// ringSize is how much of a terminal's output is kept for a page that was away: some thousand lines.
const ringSize = 256 << 10

// ring keeps the last of what was written, and knows how much that was in all.
type ring struct {
	mu    sync.Mutex
	buf   []byte
	end   int64         // bytes written so far
	more  chan struct{} // closed when there is more, or an end
	ended bool
}

func newRing() *ring { return &ring{more: make(chan struct{})} }

func (r *ring) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buf = append(r.buf, p...)
	r.end += int64(len(p))
	// Twice the size, so that not every write moves all of it.
	if len(r.buf) > 2*ringSize {
		r.buf = append(r.buf[:0], r.buf[len(r.buf)-ringSize:]...)
	}
	r.wake()
	return len(p), nil
}

func (r *ring) wake() {
	close(r.more)
	r.more = make(chan struct{})
}

// close says that nothing more comes.
func (r *ring) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.wake()
}

func (r *ring) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// from is what was written from there on, at most one message of it; start is later where that is not kept any more. Nothing means to wait.
func (r *ring) from(at int64) (p []byte, start int64, more <-chan struct{}, ended bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	start = max(at, r.end-int64(len(r.buf)))
	if start > r.end { // of another terminal
		start = r.end - int64(len(r.buf))
	}
	rest := r.buf[int64(len(r.buf))-(r.end-start):]
	return append([]byte(nil), rest[:min(len(rest), mostChunk)]...), start, r.more, r.ended && len(rest) <= mostChunk
}
