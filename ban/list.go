package ban

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/meshgw/meshgw/crdt"
)

const (
	// MaxBans is how many one node puts at most. Two halves of a mesh may both
	// have put so many: a List takes twice as many from others.
	MaxBans = 10_000

	maxGraves = 1000 // of bans lifted; one that is forgotten again has an end of its own
)

// ErrFull is returned by Put if there are MaxBans already.
var ErrFull = errors.New("there are as many bans as a mesh may have")

// A List is the bans of the mesh. Of two bans of one prefix the later one, by
// Lamport version, holds. A ban that has expired is removed, and the first node
// at which it expires removes it for all. Nodes send each other the remaining
// time of a ban, never a time of day. A List is safe for concurrent use.
type List struct {
	bans *crdt.Map

	mu    sync.Mutex           // guards the rest
	clock uint64               // the highest version seen
	ends  map[string]time.Time // of the bans that live, by this node's count
}

// NewList returns a List without bans.
func NewList() *List {
	bounds := crdt.Bounds{Entries: 2 * MaxBans, Graves: maxGraves, Key: 64, Value: 4 * maxText}
	return &List{ends: map[string]time.Time{}, bans: crdt.NewMap(bounds, func(key string, value []byte) error {
		_, err := decode(key, value)
		return err
	})}
}

// Put bans b.Prefix for b.For from now on, replacing any present ban of it.
func (l *List) Put(now time.Time, b Ban) error {
	b.For = b.For.Truncate(time.Millisecond)
	if err := b.Check(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := b.Prefix.String()
	if _, known := l.ends[key]; !known && len(l.ends) >= MaxBans {
		return ErrFull
	}
	l.bans.Put(key, l.clock, b.encode())
	l.clock = max(l.clock, l.bans.Version(key))
	l.ends[key] = now.Add(b.For)
	return nil
}

// Remove lifts the ban of a prefix and returns it, if there is one.
func (l *List) Remove(now time.Time, p netip.Prefix) (Ban, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.get(now, p.String())
	if ok {
		l.forget(p.String())
	}
	return b, ok
}

// Expire removes the bans that have expired, and returns when the next one
// will; zero if there is none.
func (l *List) Expire(now time.Time) (next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, end := range l.ends {
		switch {
		case !end.After(now):
			l.forget(key)
		case next.IsZero() || end.Before(next):
			next = end
		}
	}
	return next
}

// All returns the present bans, by prefix.
func (l *List) All(now time.Time) []Ban {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Ban, 0, len(l.ends))
	for key := range l.ends {
		if b, ok := l.get(now, key); ok {
			all = append(all, b)
		}
	}
	slices.SortFunc(all, func(a, b Ban) int { return a.Prefix.Compare(b.Prefix) })
	return all
}

// Set returns the present bans as a Set.
func (l *List) Set(now time.Time) *Set {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := new(Set)
	for key, end := range l.ends {
		if p, err := netip.ParsePrefix(key); err == nil && end.After(now) {
			s.networks.Insert(p)
		}
	}
	return s
}

func (l *List) get(now time.Time, key string) (Ban, bool) {
	end, ok := l.ends[key]
	value, alive := l.bans.Get(key)
	if !ok || !alive || !end.After(now) {
		return Ban{}, false
	}
	b, err := decode(key, value)
	b.Left = end.Sub(now)
	return b, err == nil
}

func (l *List) forget(key string) {
	l.bans.Forget(key)
	delete(l.ends, key)
}
