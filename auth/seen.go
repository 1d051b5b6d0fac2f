package auth

import (
	"encoding/binary"
	"sync/atomic"
)

// ways is how many places there are for one sum.
const ways = 4

// seen is a cache of fixed size for what was verified, by a SHA-256 of the
// credential. A lookup takes no lock and does not allocate; a full set evicts.
type seen[V any] struct {
	slots []atomic.Pointer[memo[V]]
}

type memo[V any] struct {
	sum   [32]byte
	value *V
}

// newSeen returns a memory for size things, a multiple of ways.
func newSeen[V any](size int) *seen[V] {
	return &seen[V]{slots: make([]atomic.Pointer[memo[V]], size)}
}

func (s *seen[V]) places(sum *[32]byte) []atomic.Pointer[memo[V]] {
	set := binary.LittleEndian.Uint64(sum[:8]) % uint64(len(s.slots)/ways) * ways
	return s.slots[set : set+ways]
}

// get returns what was put for sum last, nil if that is nothing or forgotten.
func (s *seen[V]) get(sum [32]byte) *V {
	places := s.places(&sum)
	for i := range places {
		if m := places[i].Load(); m != nil && m.sum == sum {
			return m.value
		}
	}
	return nil
}

// put remembers v, in a free place or in that of another, chosen by the sum.
func (s *seen[V]) put(sum [32]byte, v *V) {
	places := s.places(&sum)
	m := &memo[V]{sum: sum, value: v}
	for i := range places {
		if places[i].CompareAndSwap(nil, m) {
			return
		}
	}
	places[sum[31]%ways].Store(m)
}
