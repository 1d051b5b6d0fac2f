package quota

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// table finds the entries of keys: many maps under many locks, so that no two
// requests of different keys wait for each other but by chance.
type table struct {
	shards []shard
	dirty  []atomic.Uint64 // bit per shard: it has woken entries
	most   int             // entries per shard
}

type shard struct {
	mu   sync.RWMutex // guards keys
	keys map[Key]*entry

	wakeMu sync.Mutex // guards woken
	woken  []*entry
	_      [48]byte // shards of different cores share no cache line
}

func newTable(shards, most int) *table {
	shards = 1 << bits.Len(uint(shards-1))
	t := &table{shards: make([]shard, shards), dirty: make([]atomic.Uint64, (shards+63)/64), most: max(1, most/shards)}
	for i := range t.shards {
		t.shards[i].keys = make(map[Key]*entry)
	}
	return t
}

func (t *table) index(k Key) int { return int(uint64(k) & uint64(len(t.shards)-1)) }

// find gives the entry of k, or nil.
func (t *table) find(k Key) *entry {
	s := &t.shards[t.index(k)]
	s.mu.RLock()
	e := s.keys[k]
	s.mu.RUnlock()
	return e
}

// obtain gives the entry of k, making it if need be. Where every key is in
// active use, nothing is evicted: a newcomer shares one entry with all other
// newcomers of its limit.
func (t *table) obtain(now time.Duration, k Key, l *Limit, v *view) *entry {
	if e := t.find(k); e != nil {
		return e
	}
	s := &t.shards[t.index(k)]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.keys[k]
	if e == nil && len(s.keys) >= t.most && !s.evict(now, v) {
		k = crowd(l)
		e = s.keys[k]
	}
	if e == nil {
		e = newEntry(now, k, l, v)
		s.keys[k] = e
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
	for _, e := range s.keys {
		if looked++; looked > most || idle == sample {
			break
		}
		e.mu.Lock()
		if w, ok := e.weight(now, v); ok {
			if idle++; victim == nil || w < least {
				victim, least = e, w
			}
		}
		e.mu.Unlock()
	}
	return victim != nil && s.remove(now, victim, v)
}

// remove drops e, unless it came into use again.
func (s *shard) remove(now time.Duration, e *entry, v *view) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.weight(now, v); !ok {
		return false
	}
	e.gone = true
	delete(s.keys, e.key)
	return true
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

// drain moves the woken entries to list.
func (t *table) drain(list []*entry) []*entry {
	for w := range t.dirty {
		for set := t.dirty[w].Swap(0); set != 0; set &= set - 1 {
			s := &t.shards[w*64+bits.TrailingZeros64(set)]
			s.wakeMu.Lock()
			list = append(list, s.woken...)
			s.woken = reuse(s.woken)
			s.wakeMu.Unlock()
		}
	}
	return list
}

// tidy drops the idle entries of one shard that have nothing to remember.
func (t *table) tidy(now time.Duration, i int, v *view) {
	s := &t.shards[i]
	s.mu.RLock()
	var idle []*entry
	for _, e := range s.keys {
		e.mu.Lock()
		if w, ok := e.weight(now, v); ok && (w == 0 && now-e.seen > leaseTTL || !e.limit.Local && now-e.seen > forgetKey) {
			idle = append(idle, e)
		}
		e.mu.Unlock()
	}
	s.mu.RUnlock()
	s.mu.Lock()
	for _, e := range idle {
		s.remove(now, e, v)
	}
	s.mu.Unlock()
}

// revive gives the entry of k for a caller whose entry was evicted. It is k's
// own place that it takes, full or not.
func (t *table) revive(now time.Duration, k Key, l *Limit, v *view) *entry {
	s := &t.shards[t.index(k)]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.keys[k]
	if e == nil {
		e = newEntry(now, k, l, v)
		s.keys[k] = e
	}
	return e
}
