package logs

import (
	"bytes"
	"log"

	"github.com/rs/zerolog"
)

// library takes the lines that libraries write to the standard log, which other
// hosts can cause as often as they like: they are for who debugs, and wait for
// nobody.
type library struct{ events zerolog.Logger }

// Write implements io.Writer.
func (l library) Write(line []byte) (int, error) {
	l.events.Debug().Str("from", "library").Msg(string(bytes.TrimSpace(line)))
	return len(line), nil
}

// takeStandardLog has the standard log of the process go to events.
func takeStandardLog(events zerolog.Logger) {
	log.SetFlags(0)
	log.SetOutput(library{events})
}
