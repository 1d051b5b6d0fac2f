package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// file keeps what is written to it; while held, it takes nothing.
type file struct {
	hold sync.Mutex
	mu   sync.Mutex
	text bytes.Buffer
}

func (f *file) Write(p []byte) (int, error) {
	f.hold.Lock()
	defer f.hold.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.Write(p)
}

func (f *file) lines() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Split(strings.TrimSuffix(f.text.String(), "\n"), "\n")
}

// running runs f until the function returned is called.
func running(f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	return func() { cancel(); <-done }
}

func TestEveryLineIsWrittenWholeAndInTheOrderOfItsWriter(t *testing.T) {
	f := &file{}
	w := newWriter(f, 64<<10)
	stop := running(w.run)
	const writers, lines = 8, 5000
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for n := range lines {
				fmt.Fprintf(w, "%d %d %s\n", i, n, strings.Repeat("x", n%50))
			}
		})
	}
	all.Wait()
	stop()
	next, seen := [writers]int{}, 0
	for _, line := range f.lines() {
		var i, n int
		var rest string
		fmt.Sscanf(line, "%d %d %s", &i, &n, &rest)
		if rest != strings.Repeat("x", n%50) || n < next[i] {
			t.Fatalf("line %q after line %d", line, next[i]-1)
		}
		next[i], seen = n+1, seen+1
	}
	if dropped := int(w.dropped.Load()); seen+dropped != writers*lines || seen == 0 {
		t.Errorf("%d lines written, %d dropped, of %d", seen, dropped, writers*lines)
	}
}

func TestAFileThatTakesNothingMakesNobodyWait(t *testing.T) {
	f := &file{}
	log := Open(f, Config{})
	f.hold.Lock()
	stop := running(log.Run)
	began := time.Now()
	const lines = 100_000
	for range lines {
		log.Requests.Info().Str("path", strings.Repeat("p", 200)).Msg("request")
	}
	log.Events.Info().Msg("isolated") // is not displaced
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("%d lines took %v", lines, took)
	}
	events, requests := log.Dropped()
	if events != 0 || requests == 0 || requests >= lines {
		t.Errorf("dropped %d events and %d requests", events, requests)
	}
	f.hold.Unlock()
	stop()
	written := f.lines()
	if len(written)+int(requests) != lines+1 || !strings.Contains(strings.Join(written, ""), "isolated") {
		t.Errorf("%d lines written, %d dropped", len(written), requests)
	}
	for _, line := range written {
		if !json.Valid([]byte(line)) {
			t.Fatalf("line %q", line)
		}
	}
}

func TestAFileThatTakesNothingKeepsNobodyFromEnding(t *testing.T) {
	f := &file{}
	log := Open(f, Config{})
	f.hold.Lock()
	stop := running(log.Run)
	log.Events.Info().Msg("isolated")
	began := time.Now()
	stop()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("ended after %v", took)
	}
	f.hold.Unlock()
}

// broken takes nothing more after the first line.
type broken struct{ file }

func (f *broken) Write(p []byte) (int, error) {
	n, _ := f.file.Write(p[:bytes.IndexByte(p, '\n')+1])
	return n, io.ErrClosedPipe
}

func TestWhatIsNotTakenIsCounted(t *testing.T) {
	f := &broken{}
	log := Open(f, Config{})
	for range 10 {
		log.Events.Info().Msg("isolated")
	}
	running(log.Run)()
	if events, _ := log.Dropped(); events != 9 || len(f.lines()) != 1 {
		t.Errorf("%d events dropped, %q written", events, f.lines())
	}
}

func TestALineIsWrittenSoon(t *testing.T) {
	f := &file{}
	log := Open(f, Config{Level: zerolog.InfoLevel})
	defer running(log.Run)()
	log.Events.Debug().Msg("not this")
	for _, say := range []string{"one", "two", "three"} {
		log.Events.Info().Msg(say)
		for began := time.Now(); ; time.Sleep(time.Millisecond) {
			if strings.Contains(f.lines()[len(f.lines())-1], say) {
				break
			}
			if time.Since(began) > 10*time.Second {
				t.Fatalf("%q is not in %q", say, f.lines())
			}
		}
	}
	var line map[string]any
	if err := json.Unmarshal([]byte(f.lines()[0]), &line); err != nil || line["msg"] != "one" || line["level"] != "info" {
		t.Errorf("line %v, %v", line, err)
	}
	if at, err := time.Parse(time.RFC3339Nano, line["time"].(string)); err != nil || at.Nanosecond() == 0 && strings.Count(line["time"].(string), ".") != 1 {
		t.Errorf("time %v, %v", line["time"], err)
	}
}

func TestTheTimeIsAsZerologWritesIt(t *testing.T) {
	var ours, theirs bytes.Buffer
	Open(io.Discard, Config{}) // sets the form
	for began := time.Now(); time.Since(began) < 5*time.Second; time.Sleep(time.Millisecond) {
		ours.Reset()
		theirs.Reset()
		log, zerologs := zerolog.New(&ours).Hook(new(clock)), zerolog.New(&theirs).With().Timestamp().Logger()
		log.Info().Send()
		zerologs.Info().Send()
		if ours.String() == theirs.String() {
			return // both in the same millisecond
		}
	}
	t.Errorf("%s, zerolog has %s", ours.String(), theirs.String())
}

func TestALineDoesNotAllocate(t *testing.T) {
	log := Open(io.Discard, Config{})
	defer running(log.Run)()
	if n := testing.AllocsPerRun(1000, func() { log.Requests.Info().Int("status", 200).Msg("request") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkWrite(b *testing.B) {
	w := newWriter(io.Discard, requestRoom)
	defer running(w.run)()
	line := []byte(strings.Repeat("x", 500) + "\n")
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			w.Write(line)
		}
	})
	b.ReportMetric(float64(w.dropped.Load())/float64(b.N), "dropped/op")
}

func TestWhatLibrariesLogIsForWhoDebugs(t *testing.T) {
	for level, want := range map[zerolog.Level]string{zerolog.InfoLevel: "", zerolog.DebugLevel: "http2: a frame that nobody asked for"} {
		f := &file{}
		l := Open(f, Config{Level: level})
		log.Print("http2: a frame that nobody asked for")
		running(l.Run)()
		var line struct{ Level, From, Msg string }
		err := json.Unmarshal([]byte(f.lines()[0]), &line)
		if line.Msg != want || want != "" && (err != nil || line.Level != "debug" || line.From != "library") {
			t.Errorf("at %s: %q", level, f.lines())
		}
	}
}
