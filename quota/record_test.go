package quota_test

import (
	"testing"
	"time"

	"github.com/meshgw/meshgw/quota"
)

func daily() *quota.Limit { return rate("daily", 1000.0/86400, 1000) }

// lonely is the engine of a node by itself at a time of the wall.
func lonely(l *quota.Limit, id quota.NodeID, incarnation uint32) *quota.Engine {
	e := quota.New(0, quota.Config{Self: id, Incarnation: incarnation, Shards: 1})
	e.Configure(0, []*quota.Limit{l})
	return e
}

// use asks for n requests over ten seconds and counts the admitted.
func use(e *quota.Engine, from time.Duration, n int, a quota.Ask) (admitted int) {
	var out quota.Output
	for i := range 2000 {
		now := from + time.Duration(i)*5*ms
		if i*n/2000 != (i+1)*n/2000 {
			if d := e.Take(now, []quota.Ask{a}); d.Verdict == quota.Allow {
				admitted++
			}
		}
		e.Poll(now, &out)
		for _, r := range out.Resolved {
			if r.Decision.Verdict == quota.Allow {
				admitted++
			}
		}
	}
	return admitted
}

func TestDailyQuotaSurvivesARestart(t *testing.T) {
	l := daily()
	a := ask(l, "acme")
	wall := time.Unix(1_800_000_000, 0)
	e := lonely(l, 1, 1)
	first := use(e, 0, 700, a)
	records := e.News(10*time.Second, wall.Add(10*time.Second), nil)
	if len(records) != 1 || records[0].Charged < 650 {
		t.Fatalf("%+v after %d requests", records, first)
	}
	again := lonely(l, 1, 2)
	if !again.Learn(0, wall.Add(time.Minute), records[0]) {
		t.Fatal("not news")
	}
	rest := use(again, 0, 700, a)
	if first+rest < 980 || first+rest > 1020 {
		t.Errorf("%d before and %d after the restart, of 1000", first, rest)
	}
}

func TestWhatAnotherHomeChargedIsChargedOnce(t *testing.T) {
	l := daily()
	a := ask(l, "acme")
	wall := time.Unix(1_800_000_000, 0)
	e := lonely(l, 1, 1)
	first := use(e, 0, 300, a)
	r := quota.Record{Key: a.Key, Limit: recordLimit(t, l, a), Home: 2, Incarnation: 1, Charged: 400, Taken: 400, At: wall}
	if !e.Learn(10*time.Second, wall, r) || e.Learn(10*time.Second, wall, r) {
		t.Fatal("news once")
	}
	if rest := use(e, 10*time.Second, 900, a); first+rest < 580 || first+rest > 620 {
		t.Errorf("%d and %d admitted, 400 elsewhere, of 1000", first, rest)
	}
}

func TestOnlyTheWallRefills(t *testing.T) {
	l := daily()
	a := ask(l, "acme")
	wall := time.Unix(1_800_000_000, 0)
	r := quota.Record{Key: a.Key, Limit: recordLimit(t, l, a), Home: 2, Charged: 1000, Taken: 1000, At: wall.Add(-12 * time.Hour)}
	e := lonely(l, 1, 1)
	e.Learn(0, wall, r)
	if got := use(e, 0, 900, a); got < 480 || got > 520 {
		t.Errorf("%d admitted half a day after all was taken", got)
	}
	r.At = wall.Add(100 * time.Hour) // a clock ahead
	e = lonely(l, 1, 1)
	e.Learn(0, wall, r)
	if got := use(e, 0, 900, a); got > 5 {
		t.Errorf("%d admitted when all was taken by a clock that is ahead", got)
	}
}

// recordLimit is how records name l.
func recordLimit(t *testing.T, l *quota.Limit, a quota.Ask) uint64 {
	t.Helper()
	e := lonely(l, 9, 1)
	use(e, 0, 10, a)
	rs := e.News(0, time.Unix(1, 0), nil)
	if len(rs) != 1 {
		t.Fatal("no record")
	}
	return rs[0].Limit
}
