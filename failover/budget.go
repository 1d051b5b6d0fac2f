package failover

import (
	"sync/atomic"
	"time"
)

// The retry budget: retries may add a part to the requests of the last 10 s,
// as in GEP-3388, so that they never make an outage worse.
const (
	budgetSlots    = 10 // of a second each
	minRetries     = 10 // in the whole window, so that a quiet upstream can retry too
	requestBits    = 24
	retryBits      = 20
	slotMask       = 1<<(64-requestBits-retryBits) - 1
	requestCount   = 1 << retryBits
	maxSlotRetries = requestCount - 1
	maxSlotRequest = 1<<requestBits - 1
)

// RetryBudget bounds an upstream's retries by its requests. It is safe for
// concurrent use and takes no lock.
type RetryBudget struct {
	epoch time.Time
	slots [budgetSlots]atomic.Uint64 // second | requests | retries
}

// NewRetryBudget returns an empty budget at now.
func NewRetryBudget(now time.Time) *RetryBudget { return &RetryBudget{epoch: now} }

// Request counts a request, once for all of its tries.
func (b *RetryBudget) Request(now time.Time) {
	b.add(b.second(now), requestCount)
}

// Retry asks for one retry at now and counts it if allowed: while retries are
// less than percent of the requests of the last 10 s, or less than 10.
// Concurrent callers may each be allowed the last one.
func (b *RetryBudget) Retry(now time.Time, percent int) bool {
	second := b.second(now)
	var requests, retries uint64
	for i := range b.slots {
		slot := b.slots[i].Load()
		if age := (second - slot>>(requestBits+retryBits)) & slotMask; age < budgetSlots {
			requests += slot >> retryBits & maxSlotRequest
			retries += slot & maxSlotRetries
		}
	}
	if percent <= 0 || retries >= max(minRetries, requests*uint64(percent)/100) {
		return false
	}
	b.add(second, 1)
	return true
}

// second returns the seconds since the epoch, starting at budgetSlots so that
// empty slots count as old.
func (b *RetryBudget) second(now time.Time) uint64 {
	return uint64(max(0, now.Sub(b.epoch)/time.Second)+budgetSlots) & slotMask
}

// add adds n to the slot of second, which is reset first if it is of an older
// second.
func (b *RetryBudget) add(second, n uint64) {
	slot := &b.slots[second%budgetSlots]
	for {
		old := slot.Load()
		next := old
		if old>>(requestBits+retryBits) != second {
			next = second << (requestBits + retryBits)
		}
		if n == 1 && next&maxSlotRetries == maxSlotRetries || n > 1 && next>>retryBits&maxSlotRequest == maxSlotRequest {
			return // full: a rate of millions a second
		}
		if slot.CompareAndSwap(old, next+n) {
			return
		}
	}
}
