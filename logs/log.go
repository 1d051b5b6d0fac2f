package logs

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// What may wait to be written, in bytes: of requests as much as comes while a
// disk is busy for a tenth of a second, 100,000 requests/s given.
const (
	eventRoom   = 1 << 20
	requestRoom = 8 << 20
)

// Log is where a node writes to.
type Log struct {
	Events   zerolog.Logger // of the mesh, the table, endpoints, the node
	Requests zerolog.Logger // one line each

	writers []*writer // of events and of requests; none where lines are written at once
}

// Config says how lines are written.
type Config struct {
	Level zerolog.Level

	// Console, if given, makes lines for people of those for programs.
	Console func(out io.Writer) io.Writer

	// Also, if given, takes the events besides, as JSON, from info on whatever
	// the level.
	Also io.Writer
}

// Open returns a Log that writes to out, while Run runs. It sets what the process
// calls the fields that every line has, and how it writes times, and takes in the
// standard log, at debug.
func Open(out io.Writer, cfg Config) *Log {
	zerolog.MessageFieldName = "msg"
	zerolog.TimeFieldFormat = untilSecond + "000" + zone
	l := &Log{writers: []*writer{newWriter(out, eventRoom), newWriter(out, requestRoom)}}
	form := func(w io.Writer) io.Writer {
		if cfg.Console != nil {
			return cfg.Console(w)
		}
		return w
	}
	logger := func(w io.Writer, level zerolog.Level) zerolog.Logger {
		return zerolog.New(w).Level(level).Hook(new(clock))
	}
	l.Events, l.Requests = logger(form(l.writers[0]), cfg.Level), logger(form(l.writers[1]), cfg.Level)
	if cfg.Also != nil {
		told := &zerolog.FilteredLevelWriter{Writer: zerolog.LevelWriterAdapter{Writer: form(l.writers[0])}, Level: cfg.Level}
		l.Events = logger(zerolog.MultiLevelWriter(told, cfg.Also), min(cfg.Level, zerolog.InfoLevel))
	}
	takeStandardLog(l.Events)
	return l
}

// Plain returns a Log that writes all lines by log, at once.
func Plain(log zerolog.Logger) *Log { return &Log{Events: log, Requests: log} }

// lastWords is how long what is left may take to be written: a pipe that nobody
// reads from takes nothing, and would keep the process from ending.
const lastWords = 2 * time.Second

// Run writes until ctx ends, and then what is left, as far as that is taken soon.
func (l *Log) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, w := range l.writers {
		all.Go(func() { w.run(ctx) })
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		all.Wait()
	}()
	select {
	case <-written:
		return
	case <-ctx.Done():
	}
	select {
	case <-written:
	case <-time.After(lastWords):
	}
}

// Dropped counts the lines that found no room.
func (l *Log) Dropped() (events, requests uint64) {
	if len(l.writers) == 0 {
		return 0, 0
	}
	return l.writers[0].dropped.Load(), l.writers[1].dropped.Load()
}
