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

// TestSeeds plays scenarios of which nothing is known.
func TestSeeds(t *testing.T) {
	if one := os.Getenv("MESHGW_SEED"); one != "" {
		play(t, number(t, one))
		return
	}
	count := uint64(36)
	if raceEnabled {
		count = 6
	}
	if many := os.Getenv("MESHGW_SEEDS"); many != "" {
		count = number(t, many)
	}
	for seed := range count {
		play(t, seed)
	}
}

// TestSeedsThatFailedOnce plays scenarios that found something, with what it was.
func TestSeedsThatFailedOnce(t *testing.T) {
	for _, seed := range []uint64{} {
		play(t, seed)
	}
}

func number(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
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
