package quota_test

import (
	"sync"
	"testing"
	"time"

	"github.com/meshgw/meshgw/quota"
)

// Requests that share limits in every order, while the engine works.
func TestEverythingAtOnce(t *testing.T) {
	a, b, s := rate("a", 1e5, 1000), rate("b", 10, 10), slots(50)
	e := quota.New(0, quota.Config{Self: 1, MaxKeys: 32, Shards: 2})
	e.Configure(0, []*quota.Limit{a, b, s})
	began := time.Now()
	stop := make(chan struct{})
	var loop, takers sync.WaitGroup
	loop.Go(func() {
		var out quota.Output
		for {
			select {
			case <-stop:
				return
			default:
				now := time.Since(began)
				e.Poll(now, &out)
				e.Members(now, []quota.Member{{ID: 1}})
				for range e.Keys(now) {
				}
				e.Stats()
				time.Sleep(100 * time.Microsecond)
			}
		}
	})
	for g := range 4 {
		takers.Go(func() {
			for i := range 2000 {
				subject := string(rune('a' + (i*7+g)%40))
				asks := []quota.Ask{ask(a, subject), ask(b, subject), ask(s, subject)}
				if g%2 == 0 {
					asks[0], asks[2] = asks[2], asks[0]
				}
				switch d := e.Take(time.Since(began), asks); d.Verdict {
				case quota.Allow:
					e.Release(asks)
				case quota.Wait:
					e.Cancel(d.Ticket)
				default:
				}
			}
		})
	}
	takers.Wait()
	close(stop)
	loop.Wait()
}

// Whoever evicts an entry must not wait for one that a request holds, as that
// request may be waiting for the place of another that was evicted.
func TestEvictionsAndRequestsOfTwoKeysDoNotWaitForEachOther(t *testing.T) {
	l := &quota.Limit{Name: "l", Rate: 1e6, Burst: 1e6, Local: true}
	e := quota.New(0, quota.Config{Self: 1, MaxKeys: 4, Shards: 1})
	e.Configure(0, []*quota.Limit{l})
	var wg sync.WaitGroup
	done := make(chan struct{})
	for g := range 4 {
		wg.Go(func() {
			now := time.Duration(0)
			for i := range 50_000 {
				now += 400 * ms
				e.Take(now, []quota.Ask{{Limit: l, Key: quota.Key(1 + (i*7+g*3)%11)}, {Limit: l, Key: quota.Key(100 + (i*5+g)%13)}})
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("they wait for each other")
	}
}
