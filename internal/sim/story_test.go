package sim

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// story is what happened, for whoever has to find out why.
type story struct {
	began time.Time

	mu    sync.Mutex // guards the rest
	lines []string
	wrong string // the first promise that was broken
}

// tell adds a line at the present virtual time.
func (s *story) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add("         "+format, args...)
}

func (s *story) add(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf("%8.3fs ", time.Since(s.began).Seconds())+fmt.Sprintf(format, args...))
}

// fail notes that a promise was broken. Only the first matters: others follow.
func (s *story) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add("BROKEN   "+format, args...)
	if s.wrong == "" {
		s.wrong = fmt.Sprintf(format, args...)
	}
}

func (s *story) broken() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wrong
}

func (s *story) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

// logOf takes what a node logs into the story.
func (s *story) logOf(node string) zerolog.Logger {
	return zerolog.New(logLines{s, node}).Level(zerolog.InfoLevel)
}

type logLines struct {
	story *story
	node  string
}

func (l logLines) Write(line []byte) (int, error) {
	l.story.mu.Lock()
	defer l.story.mu.Unlock()
	l.story.add("%-8s %s", l.node, bytes.TrimSpace(line))
	return len(line), nil
}
