package sim

import (
	"iter"
	"os"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	_ = new(fasthttp.ResponseHeader).Header() // starts fasthttp's clock outside all bubbles
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// TestSeeds plays scenarios of which nothing is known.
func TestSeeds(t *testing.T) {
	for seed := range seeds(t, 20) {
		play(t, seed)
	}
}

// TestLargeSeeds plays some of them with 21 to 50 nodes, where many are asked for.
func TestLargeSeeds(t *testing.T) {
	for seed := range seeds(t, 0) {
		if seed%50 == 49 {
			s := draw(seed)
			s.nodes = 21 + int(seed/50)%30
			playScenario(t, s)
		}
	}
}

// TestSeedsThatFailedOnce plays scenarios that found something, with what it was.
func TestSeedsThatFailedOnce(t *testing.T) {
	for _, seed := range []uint64{
		94,           // a node that moved while one peer was cut off stayed where it was for that peer
		74, 158, 311, // a lost disk and a clock set back: peers believed the former identity
		426,   // a peer that was cut off held up the exchange with all others
		71,    // a peer heard late of a leave, after the return, and believed it for good
		50031, // a member that came back after a leave looked as if it were leaving until another came or went
	} {
		play(t, seed)
	}
}

// seeds are as many as the test says, fewer for the race detector, or else
// MESHGW_SEEDS of them, from MESHGW_FROM on.
func seeds(t *testing.T, count uint64) iter.Seq[uint64] {
	t.Helper()
	if raceEnabled {
		count = max(1, count/6)
	}
	from := number(t, "MESHGW_FROM", 0)
	count = number(t, "MESHGW_SEEDS", count)
	return func(yield func(uint64) bool) {
		for i := range count {
			if !yield(from + i) {
				return
			}
		}
	}
}

// number reads a setting of the environment.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// play runs the scenario of one seed.
func play(t *testing.T, seed uint64) {
	t.Helper()
	playScenario(t, draw(seed))
}

func playScenario(t *testing.T, s scenario) {
	t.Helper()
	bubble(t, s, func(w *world) {
		for i, step := range s.steps {
			w.step(i, step)
			if w.failed() {
				return
			}
		}
		w.settle()
	})
}

// bubble has f do what it likes to a mesh that is whole.
func bubble(t *testing.T, s scenario, f func(*world)) {
	t.Helper()
	t.Run("seed="+strconv.FormatUint(s.seed, 10), func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, dir, s)
			defer w.end()
			if w.begin() {
				f(w)
			}
		})
	})
}
