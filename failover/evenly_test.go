package failover_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/failover"
)

// In any stretch of requests the share is right to a few, however short it is.
func TestAShareIsSpreadEvenly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.Float64Range(0, 1).Draw(t, "share")
		var e failover.Evenly
		for range rapid.IntRange(0, 1000).Draw(t, "before") {
			e.Says(share)
		}
		yes, length := 0, rapid.IntRange(1, 1000).Draw(t, "length")
		for range length {
			if e.Says(share) {
				yes++
			}
		}
		if want := share * float64(length); math.Abs(float64(yes)-want) > 5 {
			t.Fatalf("%d of %d, want %.1f", yes, length, want)
		}
	})
}
