package node

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/logs"
	"github.com/meshgw/meshgw/node/config"
)

func TestAWallClockIsSetWrongOnlyWhereThatIsAllowed(t *testing.T) {
	n := New(config.Config{}, "test", logs.Plain(zerolog.Nop()))
	if p, ok := errors.AsType[*api.Problem](n.SetClock(time.Hour)); !ok || p.Status != http.StatusForbidden {
		t.Errorf("a node without --allow-chaos answers %v", p)
	}
	n = New(config.Config{AllowChaos: true}, "test", logs.Plain(zerolog.Nop()))
	if err := n.SetClock(time.Hour); err != nil || n.skew.Load() != int64(time.Hour) {
		t.Errorf("with it: %v, %v", err, time.Duration(n.skew.Load()))
	}
}

func TestASkewedWorldIsAheadByTheOffsetOfNow(t *testing.T) {
	var offset atomic.Int64
	at := time.Unix(1000, 0)
	w := World{Now: func() time.Time { return at }}.skewed(&offset)
	for _, by := range []time.Duration{0, time.Hour, -time.Minute} {
		offset.Store(int64(by))
		if got := w.now(); !got.Equal(at.Add(by)) {
			t.Errorf("off by %v it is %v", by, got)
		}
	}
}
