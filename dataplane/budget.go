package dataplane

import (
	"sync/atomic"
	"time"
)

// retryBudget bounds retries to a share of the requests of the last 10 s, so
// that an upstream in trouble is not given more work (Gateway API, GEP-3388).
// A few retries are always allowed, or a quiet upstream would have none. It
// takes no lock: where a second begins, a count may get lost.
type retryBudget struct {
	percent atomic.Int64
	seconds [16]budgetSecond // by second modulo 16
}

type budgetSecond struct{ at, requests, retries atomic.Int64 }

const (
	budgetWindow = 10 // seconds
	freeRetries  = 30 // in a window
)

// second returns the counts of the second that now is in.
func (b *retryBudget) second(now time.Time) *budgetSecond {
	at := now.Unix()
	s := &b.seconds[at%int64(len(b.seconds))]
	if was := s.at.Load(); was != at && s.at.CompareAndSwap(was, at) {
		s.requests.Store(0)
		s.retries.Store(0)
	}
	return s
}

// request counts a request.
func (b *retryBudget) request(now time.Time) { b.second(now).requests.Add(1) }

// spend takes a retry if the budget has one.
func (b *retryBudget) spend(now time.Time) bool {
	var requests, retries int64
	for i := range b.seconds {
		if s := &b.seconds[i]; s.at.Load() > now.Unix()-budgetWindow {
			requests += s.requests.Load()
			retries += s.retries.Load()
		}
	}
	if retries >= max(freeRetries, requests*b.percent.Load()/100) {
		return false
	}
	b.second(now).retries.Add(1)
	return true
}
