package quota

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Engine holds the limits of one node: its leases, and the keys whose home it is.
// All methods may be called from several goroutines at once. Every now is a time
// of the same clock, which never runs backwards; which clock does not matter.
type Engine struct {
	self  *peer
	cfg   Config
	epoch time.Duration // when it was made: inside, time counts from there
	view  atomic.Pointer[view]
	table *table
	trip  roundTrip    // to any node
	due   atomic.Int64 // when Poll wants to be called again; while it runs, never

	lineMu sync.Mutex // guards line; taken last
	line   line

	loop     sync.Mutex // guards the rest: what happens between requests
	limits   map[limitID]*Limit
	peers    map[NodeID]*peer
	homes    map[Key]*home
	wheel    wheel
	outbox   outbox
	again    []legacies  // by time
	own      []ownReport // reports of this node to itself
	list     []*entry    // scratch
	inbox    []message   // scratch
	news     map[Key]struct{}
	history  history
	clock    clock
	lookedAt time.Duration // at the membership
	tidiedAt time.Duration
	tidied   int
	stats    Stats
	audit    *audit
	leaving  bool // whatever is reported gives back
}

// ownReport is a report of this node to a key that it is the home of.
type ownReport struct {
	due    time.Duration
	entry  *entry
	report report
}

// Stats counts what the engine did since it was made.
type Stats struct {
	// Of datagrams:
	Malformed    uint64 // voided whole
	Strangers    uint64 // from nodes that are not members
	Stale        uint64 // of an incarnation that is over
	Ahead        uint64 // of an incarnation that the membership does not know yet
	UnknownLimit uint64 // reports of limits that are not configured here
	Homes        int    // keys whose home this node is, now
	Keys         int    // keys in use here, now

	Beyond map[string]float64 // by the name of a limit, tokens admitted beyond rate and burst, of keys whose home this node is
	Ages   Ages
}

// New returns the engine of a node that knows no other.
func New(now time.Duration, cfg Config) *Engine {
	cfg = cfg.withDefaults()
	self := &peer{id: cfg.Self, incarnation: cfg.Incarnation}
	e := &Engine{
		self: self, cfg: cfg, epoch: now, table: newTable(cfg.Shards, cfg.MaxKeys),
		line:    line{waiting: make(map[Ticket]*waiter)},
		limits:  make(map[limitID]*Limit),
		peers:   map[NodeID]*peer{cfg.Self: self},
		homes:   make(map[Key]*home),
		news:    make(map[Key]struct{}),
		history: make(history),
		audit:   newAudit(),
	}
	e.due.Store(math.MaxInt64)
	e.outbox.rate = float64(cfg.EgressBudget)
	e.outbox.budget = bucket{tokens: e.outbox.rate / 4}
	e.outbox.flushed = -coalesce
	e.outbox.open = make(map[NodeID]int)
	e.outbox.grants = make(map[address]grant)
	e.view.Store(newView(0, e.peers, &view{period: cfg.SyncEvery, share: 1, before: 1, brokenAt: -2 * leaseTTL}))
	return e
}

// Configure replaces the limits that this node, as a home, gives leases on. What
// was taken of a limit that changed is not forgotten.
func (e *Engine) Configure(now time.Duration, limits []*Limit) {
	e.loop.Lock()
	defer e.loop.Unlock()
	now -= e.epoch
	clear(e.limits)
	for _, l := range limits {
		e.limits[l.id()] = l
	}
	e.audit.forget(e.limits)
	for k, h := range e.homes {
		switch l := e.limits[h.limit.id()]; {
		case l == nil || l.Local:
			delete(e.homes, k)
		case l != h.limit:
			s := e.side(now, k)
			h.rescale(now, l, &s)
		}
	}
}

// Members replaces the membership: all nodes that can be homes, and those that
// were. This node is a member whether named or not.
func (e *Engine) Members(now time.Duration, members []Member) {
	e.loop.Lock()
	defer e.loop.Unlock()
	now -= e.epoch
	missing := make(map[NodeID]bool, len(e.peers))
	for id := range e.peers {
		missing[id] = id != e.self.id
	}
	for _, m := range members {
		delete(missing, m.ID)
		if m.ID == e.self.id {
			continue
		}
		p := e.peers[m.ID]
		if p == nil {
			p = &peer{id: m.ID}
			e.peers[m.ID] = p
			if m.RTT > 0 {
				p.sample(m.RTT)
			}
		}
		if m.State == Vanished && p.state != Vanished {
			p.vanishedAt = now
		}
		p.incarnation = m.Incarnation
		p.state, p.refused = m.State, m.Refused
		p.crashed = m.State == Vanished || p.crashed && m.State != Left
	}
	for id, gone := range missing {
		if gone {
			e.peers[id].state = Left
			delete(e.peers, id)
		}
	}
	e.look(now)
}

// look makes the view anew.
func (e *Engine) look(now time.Duration) {
	e.lookedAt = now
	last := e.view.Load()
	v := newView(now, e.peers, last)
	e.view.Store(v)
	if !e.leaving && !slices.Equal(v.homes, last.homes) {
		e.handOver(now, last)
	}
}

// Cancel forgets a waiting request whose client is gone. What it took meanwhile
// goes back.
func (e *Engine) Cancel(t Ticket) {
	e.lineMu.Lock()
	defer e.lineMu.Unlock()
	if w := e.line.waiting[t]; w != nil {
		e.line.settle(w, Decision{Verdict: Deny, Limit: w.asks[0].Limit})
	}
}

// Leave queues the return of every lease and what this node knows as a home, and from
// then on makes every report one that gives back. Call Poll, send what it gives, and
// only then leave the mesh.
func (e *Engine) Leave(now time.Duration) {
	e.loop.Lock()
	defer e.loop.Unlock()
	now -= e.epoch
	e.leaving = true
	for i := range e.table.shards {
		for _, en := range e.table.shards[i].entries() {
			en.mu.Lock()
			if en.isLeased && (en.slots == nil || en.slots.used == 0) {
				en.asking, en.releasing = true, true
				e.outbox.report(en)
			}
			en.mu.Unlock()
		}
	}
	e.handOver(now, e.view.Load())
	e.outbox.flushed = now - coalesce
}

// Stats returns the counters.
func (e *Engine) Stats() Stats {
	e.loop.Lock()
	defer e.loop.Unlock()
	s := e.stats
	s.Homes, s.Ages, s.Beyond = len(e.homes), e.audit.ages, map[string]float64{}
	for id, l := range e.limits {
		if l.Slots == 0 && !l.Local {
			s.Beyond[l.Name] = e.audit.beyond[id]
		}
	}
	for i := range e.table.shards {
		sh := &e.table.shards[i]
		sh.mu.Lock()
		s.Keys += sh.keys.count
		sh.mu.Unlock()
	}
	return s
}
