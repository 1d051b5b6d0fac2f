package quota

import (
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// table keeps the entries of keys: many indexes that are read without a lock and
// changed under one each, so that requests of different keys never wait for each
// other, and newcomers only by chance.
type table struct {
	shards []shard
	dirty  []atomic.Uint64 // bit per shard: it has woken entries
	most   int             // entries per shard
}

// shard is one of them. Whoever holds its lock waits for no entry: a request that
// holds one may be waiting for the shard, to take the place of another.
type shard struct {
	keys index
	mu   sync.Mutex // guards keys, but for get
	_    [32]byte   // what is read for each request shares no cache line with what is written

	wakeMu sync.Mutex // guards woken
	woken  []*entry
	_      [32]byte
}

func newTable(shards, most int) *table {
	shards = 1 << bits.Len(uint(shards-1))
	return &table{shards: make([]shard, shards), dirty: make([]atomic.Uint64, (shards+63)/64), most: max(1, most/shards)}
}

func (t *table) index(k Key) int { return int(uint64(k) & uint64(len(t.shards)-1)) }

// find returns the entry of k, or nil.
func (t *table) find(k Key) *entry {
	s := &t.shards[t.index(k)]
	if e := s.keys.get(k); e != nil {
		return e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys.get(k)
}

// obtain returns the entry of k, making it if need be. Where every key is in
// active use, nothing is evicted: a newcomer shares one entry with all other
// newcomers of its limit.
func (t *table) obtain(now time.Duration, k Key, l *Limit, v *view) *entry {
	s := &t.shards[t.index(k)]
	if e := s.keys.get(k); e != nil {
		return e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys.get(k) == nil && s.keys.count >= t.most && !s.evict(now, v) {
		k = crowd(l)
	}
	return s.own(now, k, l, v)
}

// own returns the entry of k, made if need be, full or not.
func (s *shard) own(now time.Duration, k Key, l *Limit, v *view) *entry {
	e := s.keys.get(k)
	if e == nil {
		e = newEntry(now, k, l, v)
		s.keys.put(e)
	}
	return e
}

// crowd is the key that newcomers share in a shard that is full of active ones.
func crowd(l *Limit) Key { return Key(mix(uint64(l.id()))) }

// evict makes room for one: of a few keys that are idle, the one that has the
// least to remember.
func (s *shard) evict(now time.Duration, v *view) bool {
	const sample, most = 8, 64
	var victim *entry
	var least float64
	looked, idle := 0, 0
	for e := range s.keys.all() {
		if looked++; looked > most || idle == sample {
			break
		}
		if w, ok := e.tryWeight(now, v); ok {
			if idle++; victim == nil || w < least {
				victim, least = e, w
			}
		}
	}
	return victim != nil && s.remove(now, victim, v)
}

// remove drops e, unless it came into use again.
func (s *shard) remove(now time.Duration, e *entry, v *view) bool {
	if !e.mu.TryLock() {
		return false
	}
	defer e.mu.Unlock()
	if _, ok := e.weight(now, v); !ok {
		return false
	}
	e.gone = true
	s.keys.remove(e)
	return true
}

// tryWeight is weight of an entry that is not locked. One that is, is in use.
func (e *entry) tryWeight(now time.Duration, v *view) (float64, bool) {
	if !e.mu.TryLock() {
		return 0, false
	}
	defer e.mu.Unlock()
	return e.weight(now, v)
}

// wake tells the control loop to look at e, which is locked.
func (t *table) wake(e *entry) {
	if e.woken {
		return
	}
	e.woken = true
	i := t.index(e.key)
	s := &t.shards[i]
	s.wakeMu.Lock()
	s.woken = append(s.woken, e)
	s.wakeMu.Unlock()
	t.dirty[i/64].Or(1 << (i % 64))
}

// wokenMost is how many a shard's list keeps room for; there are many shards.
const wokenMost = 64

// drain moves the woken entries to list.
func (t *table) drain(list []*entry) []*entry {
	for w := range t.dirty {
		for set := t.dirty[w].Swap(0); set != 0; set &= set - 1 {
			s := &t.shards[w*64+bits.TrailingZeros64(set)]
			s.wakeMu.Lock()
			list = append(list, s.woken...)
			s.woken = reuseUpTo(s.woken, wokenMost)
			s.wakeMu.Unlock()
		}
	}
	return list
}

// forgettable reports whether the entry, which is not locked, is idle and has
// nothing to remember that anybody will ask for.
func (e *entry) forgettable(now time.Duration, v *view) bool {
	if !e.mu.TryLock() {
		return false
	}
	defer e.mu.Unlock()
	w, ok := e.weight(now, v)
	return ok && (w == 0 && now-e.seen > keepIdle || !e.limit.Local && now-e.seen > forgetKey)
}

// entries returns all of the shard.
func (s *shard) entries() []*entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.AppendSeq(make([]*entry, 0, s.keys.count), s.keys.all())
}

// tidy drops the idle entries of one shard that have nothing to remember.
func (t *table) tidy(now time.Duration, i int, v *view) {
	s := &t.shards[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	var idle []*entry
	for e := range s.keys.all() {
		if e.forgettable(now, v) {
			idle = append(idle, e)
		}
	}
	for _, e := range idle {
		s.remove(now, e, v)
	}
}

// revive returns the entry of k for a caller whose entry was evicted. It is k's
// own place that it takes, full or not.
func (t *table) revive(now time.Duration, k Key, l *Limit, v *view) *entry {
	s := &t.shards[t.index(k)]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own(now, k, l, v)
}
