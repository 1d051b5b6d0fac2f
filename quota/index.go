package quota

import (
	"iter"
	"sync/atomic"
)

// index finds entries by their keys: one flat array, probed in steps of one, so
// that a request misses the processor's caches once on its way to an entry and
// not five times as in a map. get takes no lock and may miss what another
// goroutine puts or moves meanwhile; it never gives the entry of another key.
// Whoever calls another method holds the shard's lock, which tells for certain.
type index struct {
	slots atomic.Pointer[[]slot] // a power of two of them, an eighth free at least
	count int
	hand  int // where the next walk begins
}

// slot is free while it has no entry.
type slot struct {
	key   atomic.Uint64
	entry atomic.Pointer[entry]
}

func (s *slot) put(e *entry) {
	s.entry.Store(e)
	s.key.Store(uint64(e.key))
}

const fewestSlots = 8

// start is where k is looked for first. The low bits have chosen the shard.
func start(k Key, slots []slot) int { return int(uint64(k) >> 32 & uint64(len(slots)-1)) }

// get returns the entry of k, or nil.
func (x *index) get(k Key) *entry {
	p := x.slots.Load()
	if p == nil {
		return nil
	}
	slots := *p
	for i := start(k, slots); ; i = (i + 1) & (len(slots) - 1) {
		e := slots[i].entry.Load()
		if e == nil {
			return nil
		}
		if slots[i].key.Load() == uint64(k) && e.key == k {
			return e
		}
	}
}

// put adds e, whose key has no entry yet.
func (x *index) put(e *entry) {
	x.grow()
	place(*x.slots.Load(), e)
	x.count++
}

func place(slots []slot, e *entry) {
	i := start(e.key, slots)
	for slots[i].entry.Load() != nil {
		i = (i + 1) & (len(slots) - 1)
	}
	slots[i].put(e)
}

// grow makes room for one more.
func (x *index) grow() {
	var old []slot
	if p := x.slots.Load(); p != nil {
		old = *p
	}
	if x.count < len(old)*7/8 {
		return
	}
	grown := make([]slot, max(fewestSlots, 2*len(old)))
	for i := range old {
		if e := old[i].entry.Load(); e != nil {
			place(grown, e)
		}
	}
	x.slots.Store(&grown)
}

// remove drops e, which is there. Those behind it that would be cut off from
// their start move up.
func (x *index) remove(e *entry) {
	slots := *x.slots.Load()
	mask := len(slots) - 1
	free := start(e.key, slots)
	for slots[free].entry.Load() != e {
		free = (free + 1) & mask
	}
	for i := (free + 1) & mask; ; i = (i + 1) & mask {
		next := slots[i].entry.Load()
		if next == nil {
			break
		}
		if (i-start(next.key, slots))&mask >= (i-free)&mask {
			slots[free].put(next)
			free = i
		}
	}
	slots[free].entry.Store(nil)
	x.count--
}

// all yields every entry. The index must not change meanwhile.
func (x *index) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		p := x.slots.Load()
		if p == nil {
			return
		}
		slots := *p
		for range slots {
			x.hand = (x.hand + 1) & (len(slots) - 1)
			if e := slots[x.hand].entry.Load(); e != nil && !yield(e) {
				return
			}
		}
	}
}
