package logs

import (
	"bytes"
	"context"
	"io"
	"sync/atomic"
	"time"
)

// gather is how long lines wait for others, after some have been written: many in
// one write cost a tenth of what as many writes do.
const gather = 10 * time.Millisecond

// writer takes whole lines and writes them to out, while run runs. Write never
// waits, and may be called by many at once.
type writer struct {
	out     io.Writer
	page    atomic.Pointer[page] // that lines go to
	spare   []byte               // memory for the next page; run's own
	some    chan struct{}        // there are lines
	much    chan struct{}        // the page is half full
	dropped atomic.Uint64        // lines
}

func newWriter(out io.Writer, size int) *writer {
	w := &writer{out: out, some: make(chan struct{}, 1), much: make(chan struct{}, 1), spare: make([]byte, size)}
	w.page.Store(&page{data: make([]byte, size)})
	return w
}

// Write buffers a line, or drops it if the buffer is full. It never fails.
func (w *writer) Write(line []byte) (int, error) {
	p := w.page.Load()
	fits, first, half := p.append(line)
	if next := w.page.Load(); !fits && next != p { // p was closed just now
		fits, first, half = next.append(line)
	}
	if !fits {
		w.dropped.Add(1)
	}
	if first {
		signal(w.some)
	}
	if half {
		signal(w.much)
	}
	return len(line), nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run writes until ctx ends, and then what is left.
func (w *writer) run(ctx context.Context) {
	rest := time.NewTimer(0)
	defer rest.Stop()
	for ctx.Err() == nil {
		select {
		case <-w.some:
			w.flush()
		case <-ctx.Done():
		}
		rest.Reset(gather)
		select {
		case <-rest.C:
		case <-w.much:
		case <-ctx.Done():
		}
	}
	w.flush()
}

// flush writes what has come. What out does not take is lost, and counted.
func (w *writer) flush() {
	full := w.page.Swap(&page{data: w.spare})
	if lines := full.close(); len(lines) > 0 {
		if n, err := w.out.Write(lines); err != nil {
			w.dropped.Add(uint64(bytes.Count(lines[max(0, n):], []byte("\n"))))
		}
	}
	w.spare = full.data
}
