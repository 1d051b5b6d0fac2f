package dataplane

import (
	"sync"
	"sync/atomic"
	"time"
)

// retryBudget bounds retries to a share of the requests of the last 10 s, so
// that an upstream in trouble is not given more work (Gateway API, GEP-3388).
// Few retries are always allowed, or a quiet upstream would have none.
type retryBudget struct {
	percent  atomic.Int64
	requests atomic.Int64 // since the last second began

	mu      sync.Mutex // guards the rest
	second  int64
	seconds [10]spent // by second modulo 10; without the present one's requests
}

type spent struct{ requests, retries int64 }

const freeRetries = 30 // in 10 s

// request counts a request.
func (b *retryBudget) request() { b.requests.Add(1) }

// spend takes a retry if the budget has one.
func (b *retryBudget) spend(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now.Unix())
	var sum spent
	for _, s := range b.seconds {
		sum.requests += s.requests
		sum.retries += s.retries
	}
	if sum.retries >= max(freeRetries, sum.requests*b.percent.Load()/100) {
		return false
	}
	b.seconds[b.second%10].retries++
	return true
}

// turn moves on to second, b.mu held. Requests are booked when it is called:
// on retries only, so that a request costs one addition.
func (b *retryBudget) turn(second int64) {
	for b.second < second {
		if second-b.second > 10 {
			b.second = second - 10
		}
		b.second++
		b.seconds[b.second%10] = spent{}
	}
	b.seconds[b.second%10].requests += b.requests.Swap(0)
}
