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

// Log has the loggers of a node.
type Log struct {
	Events   zerolog.Logger // of the mesh, the table, endpoints, the node
	Requests zerolog.Logger // one line each

	writers []*writer // of events and of requests; none where lines are written at once
}

// Config configures a Log.
type Config struct {
	Level zerolog.Level

	// Console, if given, makes lines for people of those for programs.
	Console func(out io.Writer) io.Writer

	// Also, if given, takes the events besides, as JSON, from info on whatever
	// the level.
	Also io.Writer
}

// Open returns a Log that writes to out while Run runs. It sets the
// process-wide field names and time format of zerolog, and redirects the
// standard log to it at debug level.
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

// Plain returns a Log that writes all lines to log, synchronously.
func Plain(log zerolog.Logger) *Log { return &Log{Events: log, Requests: log} }

// lastWords bounds the writing of what is left: a pipe that is not read would keep
// the process from ending.
const lastWords = 2 * time.Second

// Run writes lines until ctx ends, and then those that are left, for a short time.
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

// Dropped returns how many lines were dropped because the buffer was full.
func (l *Log) Dropped() (events, requests uint64) {
	if len(l.writers) == 0 {
		return 0, 0
	}
	return l.writers[0].dropped.Load(), l.writers[1].dropped.Load()
}
