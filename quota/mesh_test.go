package quota_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/meshgw/meshgw/quota"
)

const ms = time.Millisecond

// mesh is a small one on a simulated network, driven as a node drives it.
type mesh struct {
	tb      testing.TB
	now     time.Duration
	rng     *rand.Rand
	loss    float64
	delay   func(r *rand.Rand) time.Duration
	cut     func(from, to int) bool
	engines []*quota.Engine
	incs    []uint32
	offset  []time.Duration // of each node's clock
	flying  []packet
	limits  []*quota.Limit
	answers map[quota.Ticket]quota.Decision // of the last polls, by node<<32|ticket
	next    []time.Duration
}

type packet struct {
	at       time.Duration
	from, to int
	data     []byte
}

func newMesh(tb testing.TB, n int, limits ...*quota.Limit) *mesh {
	tb.Helper()
	m := &mesh{
		tb: tb, rng: rand.New(rand.NewPCG(uint64(n), 7)), limits: limits,
		delay:   func(r *rand.Rand) time.Duration { return ms + time.Duration(r.IntN(9))*ms },
		cut:     func(int, int) bool { return false },
		engines: make([]*quota.Engine, n), incs: make([]uint32, n), offset: make([]time.Duration, n), next: make([]time.Duration, n),
		answers: make(map[quota.Ticket]quota.Decision),
	}
	for i := range n {
		m.boot(i)
	}
	m.run(4 * time.Second) // homes are settled
	return m
}

func (m *mesh) boot(i int) {
	at := m.now + m.offset[i]
	m.engines[i] = quota.New(at, quota.Config{Self: quota.NodeID(i + 1), Incarnation: m.incs[i], Shards: 4})
	m.engines[i].Configure(at, m.limits)
	m.members(i, func(int) quota.MemberState { return quota.Alive })
	m.next[i] = m.now
}

// change replaces the limits at all nodes.
func (m *mesh) change(limits ...*quota.Limit) {
	m.limits = limits
	for i := range m.engines {
		m.engines[i].Configure(m.now+m.offset[i], limits)
	}
}

func (m *mesh) members(i int, state func(j int) quota.MemberState) {
	var all []quota.Member
	for j := range m.engines {
		all = append(all, quota.Member{ID: quota.NodeID(j + 1), Incarnation: m.incs[j], State: state(j)})
	}
	m.engines[i].Members(m.now+m.offset[i], all)
}

func (m *mesh) take(i int, asks ...quota.Ask) quota.Decision {
	d := m.engines[i].Take(m.now+m.offset[i], asks)
	if d.Flush {
		m.poll(i)
	}
	return d
}

// answer is what became of a waiting request so far.
func (m *mesh) answer(i int, t quota.Ticket) (quota.Decision, bool) {
	d, ok := m.answers[quota.Ticket(i)<<32|t]
	return d, ok
}

func (m *mesh) poll(i int) {
	var out quota.Output
	m.next[i] = m.engines[i].Poll(m.now+m.offset[i], &out) - m.offset[i]
	for _, d := range out.Datagrams {
		to := int(d.To) - 1
		if m.cut(i, to) || m.rng.Float64() < m.loss {
			continue
		}
		m.flying = append(m.flying, packet{m.now + m.delay(m.rng), i, to, slices.Clone(d.Data)})
	}
	for _, r := range out.Resolved {
		m.answers[quota.Ticket(i)<<32|r.Ticket] = r.Decision
	}
}

// step is one millisecond.
func (m *mesh) step() {
	m.now += ms
	for i := 0; i < len(m.flying); {
		p := m.flying[i]
		if p.at > m.now {
			i++
			continue
		}
		m.flying = slices.Delete(m.flying, i, i+1)
		if err := m.engines[p.to].Receive(m.now+m.offset[p.to], p.data); err != nil {
			m.tb.Fatalf("node %d refuses what node %d sent: %v", p.to, p.from, err)
		}
		m.next[p.to] = m.now
	}
	for i := range m.engines {
		if m.next[i] <= m.now {
			m.poll(i)
		}
	}
}

func (m *mesh) run(d time.Duration) {
	for end := m.now + d; m.now < end; {
		m.step()
	}
}

// load offers requests per second at each node for d and returns when those
// admitted at once, or after waiting, were.
func (m *mesh) load(d time.Duration, perSecond func(i int) float64, asks ...quota.Ask) (admitted []time.Duration) {
	type held struct {
		node   int
		ticket quota.Ticket
	}
	var waiting []held
	for end := m.now + d; m.now < end; {
		m.step()
		waiting = slices.DeleteFunc(waiting, func(h held) bool {
			d, ok := m.answer(h.node, h.ticket)
			if ok && d.Verdict == quota.Allow {
				admitted = append(admitted, m.now)
			}
			return ok
		})
		for i := range m.engines {
			mean := perSecond(i) / 1000
			for n := m.rng.Float64(); n < mean; n++ {
				switch d := m.take(i, asks...); d.Verdict {
				case quota.Allow:
					admitted = append(admitted, m.now)
				case quota.Wait:
					waiting = append(waiting, held{i, d.Ticket})
				default:
				}
			}
		}
	}
	return admitted
}

// most is the largest number of times in any window.
func most(times []time.Duration, window time.Duration) (most int) {
	from := 0
	for i, t := range times {
		for times[from] <= t-window {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

func rate(name string, perSecond, burst float64) *quota.Limit {
	return &quota.Limit{Name: name, Rate: perSecond, Burst: burst, Hold: quota.HoldAuto, Isolated: 0.5}
}

func ask(l *quota.Limit, subject string) quota.Ask {
	secret := quota.Secret{1, 2, 3}
	return quota.Ask{Limit: l, Key: secret.Key(l, []byte(subject))}
}

// home finds the node that is a's home: the one that nobody has to ask.
func (m *mesh) home(a quota.Ask) int {
	for i := range m.engines {
		var out quota.Output
		probe := quota.New(0, quota.Config{Self: quota.NodeID(i + 1)})
		probe.Configure(0, m.limits)
		var all []quota.Member
		for j := range m.engines {
			all = append(all, quota.Member{ID: quota.NodeID(j + 1)})
		}
		probe.Members(0, all)
		probe.Take(0, []quota.Ask{a})
		sent := 0
		for now := time.Duration(0); now <= 200*time.Millisecond; now += 10 * time.Millisecond {
			probe.Poll(now, &out)
			sent += len(out.Datagrams)
		}
		if sent == 0 {
			return i
		}
	}
	m.tb.Fatal("no home")
	return 0
}

// stranger is a node that is not a's home.
func (m *mesh) stranger(a quota.Ask) int { return (m.home(a) + 1) % len(m.engines) }

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }
