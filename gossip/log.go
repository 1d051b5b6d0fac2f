package gossip

import (
	"bytes"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// logBridge makes events of the lines that Serf and memberlist log, such as
//
//	2026/01/02 15:04:05 [WARN] memberlist: Refuting a suspect message
//
// Their INFO is our debug: what of it matters to an operator is logged by us.
type logBridge struct {
	log   zerolog.Logger
	stats *stats
	rate  bucket
}

// maxLines a second; strangers can make memberlist log a line for every packet.
const maxLines = 20

// Write implements io.Writer; log.Logger calls it with whole lines.
func (b *logBridge) Write(line []byte) (int, error) {
	n := len(line)
	_, line, _ = bytes.Cut(line, []byte("["))
	level, text, ok := bytes.Cut(line, []byte("] "))
	if !ok {
		return n, nil
	}
	text = bytes.TrimSpace(text)
	if bytes.Contains(text, []byte("Decrypt packet failed")) {
		b.stats.undecryptable.Add(1)
	}
	if at := severity(level, text); at >= b.log.GetLevel() && b.rate.take(time.Now()) {
		b.log.WithLevel(at).Str("part", "serf").Msg(string(text))
	}
	return n, nil
}

func severity(level, text []byte) zerolog.Level {
	switch {
	case bytes.HasPrefix(text, []byte("agent")): // says again what serf said, or what was asked of it
		return zerolog.DebugLevel
	case string(level) == "WARN":
		return zerolog.WarnLevel
	case string(level) == "ERR", string(level) == "ERROR":
		return zerolog.ErrorLevel
	}
	return zerolog.DebugLevel
}

// absences reports what keeps a seed or peer away: at first, when the reason
// changes, and each minute.
type absences struct {
	mu   sync.Mutex // guards last
	last map[string]absence
}

type absence struct {
	reason string
	at     time.Time
}

func (a *absences) report(log zerolog.Logger, addr string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last == nil {
		a.last = map[string]absence{}
	}
	now, was := time.Now(), a.last[addr]
	if was.reason == err.Error() && now.Sub(was.at) < time.Minute {
		return
	}
	a.last[addr] = absence{reason: err.Error(), at: now}
	log.Warn().Err(err).Str("address", addr).Msg("peer not reached, will keep trying")
}
