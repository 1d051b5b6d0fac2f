package upstream

import (
	"io"
	"maps"
	"slices"
	"sync"
)

// Registry knows all open connections to endpoints, so that they can be
// closed when draining takes too long. The zero value is ready to use.
type Registry struct {
	mu     sync.Mutex // guards the rest
	open   map[io.Closer]struct{}
	closed bool
}

func (r *Registry) add(c io.Closer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open = map[io.Closer]struct{}{}
	}
	if !r.closed {
		r.open[c] = struct{}{}
	}
	return !r.closed
}

func (r *Registry) remove(c io.Closer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, c)
}

// Abort closes all connections, present and future.
func (r *Registry) Abort() {
	r.mu.Lock()
	r.closed = true
	open := slices.Collect(maps.Keys(r.open))
	r.mu.Unlock()
	for _, c := range open {
		_ = c.Close() // removes itself
	}
}
