package sim

import (
	"os"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/valyala/fasthttp"
)

func TestMain(m *testing.M) {
	_ = new(fasthttp.ResponseHeader).Header() // starts fasthttp's clock outside all bubbles
	os.Exit(m.Run())
}

// TestSeeds plays scenarios of which nothing is known: MESHGW_SEEDS of them from
// MESHGW_FROM on.
func TestSeeds(t *testing.T) {
	count := uint64(36)
	if raceEnabled {
		count = 6
	}
	from := number(t, "MESHGW_FROM", 0)
	for i := range number(t, "MESHGW_SEEDS", count) {
		play(t, from+i)
	}
}

// TestSeedsThatFailedOnce plays scenarios that found something, with what it was.
func TestSeedsThatFailedOnce(t *testing.T) {
	for _, seed := range []uint64{
		94,           // a node that moved while one peer was cut off stayed where it was for that peer
		74, 158, 311, // a lost disk and a clock set back: peers believed the former identity
	} {
		play(t, seed)
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
	t.Run("seed="+strconv.FormatUint(seed, 10), func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			s := draw(seed)
			w := newWorld(t, dir, s)
			defer w.end()
			w.begin()
			for i, step := range s.steps {
				w.step(i, step)
				if w.failed() {
					return
				}
			}
			w.settle()
		})
	})
}
