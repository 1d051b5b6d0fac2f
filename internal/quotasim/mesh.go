package main

import (
	"time"

	"github.com/meshgw/meshgw/quota"
)

// mesh is the algorithm of package quota: one real engine per node, driven as a
// node drives it.
type mesh struct {
	s       *sim
	engines []*quota.Engine
	incs    []uint32
	told    [][]uint32      // of which incarnation of another a node knows
	polls   []time.Duration // when the next is due
	waiting []map[quota.Ticket]struct{}
	asks    []quota.Ask
	out     quota.Output
	onAsk   func(node int, d quota.Decision)
}

// never is a poll that is not due.
const never = time.Duration(1) << 62

func (m *mesh) start(s *sim) {
	m.s = s
	l := &quota.Limit{Name: "limit", Rate: s.limit.rate, Burst: s.limit.burst, Hold: quota.HoldAuto, Isolated: 0.5}
	if s.noHold {
		l.Hold = 0
	}
	var secret quota.Secret
	secret[0], secret[1], secret[2] = byte(s.seed), byte(s.seed>>8), 1 // another home for each seed
	m.asks = []quota.Ask{{Limit: l, Key: secret.Key(l, nil), Cost: s.cost}}
	m.engines = make([]*quota.Engine, s.nodes)
	m.incs = make([]uint32, s.nodes)
	m.polls = make([]time.Duration, s.nodes)
	m.waiting = make([]map[quota.Ticket]struct{}, s.nodes)
	m.told = make([][]uint32, s.nodes)
	for i := range m.engines {
		m.told[i] = make([]uint32, s.nodes)
	}
	for i := range m.engines {
		m.boot(i, -time.Hour)
	}
	s.onView = m.tell
	s.onFault = func(f fault) {
		if f.kind == restart {
			m.restart(f.node)
		}
	}
}

// restart has a node come back in its next incarnation, of which the others hear
// each at its own time.
func (m *mesh) restart(node int) {
	m.incs[node]++
	inc := m.incs[node]
	for i := range m.told {
		if i != node {
			m.s.at(m.s.now+m.s.notice(), func() {
				m.told[i][node] = inc
				m.tell(i)
			})
		}
	}
	m.boot(node, m.s.now)
}

// boot makes the engine of a node anew.
func (m *mesh) boot(i int, at time.Duration) {
	s := m.s
	m.engines[i] = quota.New(at+s.offset[i], quota.Config{
		Self: quota.NodeID(i + 1), Incarnation: m.incs[i], SyncEvery: s.sync, Shards: 1, EgressBudget: s.budget,
	})
	m.engines[i].Configure(at+s.offset[i], []*quota.Limit{m.asks[0].Limit})
	m.members(i, at)
	m.polls[i], m.waiting[i] = never, make(map[quota.Ticket]struct{})
}

func (m *mesh) local(i int) time.Duration { return m.s.now + m.s.offset[i] }

func (m *mesh) tell(i int) {
	if m.s.alive[i] {
		m.members(i, m.s.now)
		m.poll(i)
	}
}

func (m *mesh) members(i int, at time.Duration) {
	var ms []quota.Member
	for j := range m.s.views[i] {
		if !m.s.known[i][j] {
			continue
		}
		state := quota.Vanished
		if m.s.views[i][j] {
			state = quota.Alive
		}
		ms = append(ms, quota.Member{ID: quota.NodeID(j + 1), Incarnation: m.told[i][j], State: state})
	}
	m.engines[i].Members(at+m.s.offset[i], ms)
}

func (m *mesh) take(i int) bool {
	d := m.engines[i].Take(m.local(i), m.asks)
	if d.Verdict == quota.Wait {
		m.waiting[i][d.Ticket] = struct{}{}
		m.wake(i, d.Until-m.s.offset[i])
	}
	if d.Flush {
		m.wake(i, m.s.now)
	}
	if m.onAsk != nil {
		m.onAsk(i, d)
	}
	return d.Verdict == quota.Allow
}

// wake has node i poll at the given time, if it would not sooner.
func (m *mesh) wake(i int, at time.Duration) {
	if at >= m.polls[i] {
		return
	}
	m.polls[i] = at
	m.s.at(at, func() {
		if m.polls[i] == at {
			m.poll(i)
		}
	})
}

func (m *mesh) poll(i int) {
	s := m.s
	m.polls[i] = never
	if !s.alive[i] {
		return
	}
	next := m.engines[i].Poll(m.local(i), &m.out) - s.offset[i]
	for _, d := range m.out.Datagrams {
		to := int(d.To) - 1
		data := append([]byte(nil), d.Data...)
		s.send(i, to, len(data)+2, func() {
			_ = m.engines[to].Receive(m.local(to), data)
			m.wake(to, s.now)
		})
	}
	for _, r := range m.out.Resolved {
		if _, ok := m.waiting[i][r.Ticket]; ok {
			delete(m.waiting[i], r.Ticket)
			if r.Decision.Verdict == quota.Allow {
				s.admit(i)
			}
		}
	}
	m.wake(i, max(next, s.now+100*time.Microsecond))
}
