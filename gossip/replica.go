package gossip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/encoding/protowire"
)

// A replica keeps one State the same as its copies elsewhere. Frames wait in
// inbox for its worker, so that a State that takes long to merge delays itself
// alone; copies that differ wait in differing for its syncer, so that a peer
// that stalls delays no merge. Both are bounded: what does not fit is dropped,
// counted, and found again by repair.
type replica struct {
	name      string
	state     State
	inbox     chan frame
	differing chan frame
	wake      chan struct{}
	pushes    bucket        // of its own, so that news of load delays no route
	urgent    atomic.Bool   // the news should be pushed at once, not with the next lazy round
	original  atomic.Bool   // the news began here: nobody else pushes it yet
	heard     chan struct{} // closed once a peer's copy has been compared with ours
	hearOnce  sync.Once
}

func newReplica(name string, state State) *replica {
	return &replica{name: name, state: state, inbox: make(chan frame, 512), differing: make(chan frame, 16), wake: make(chan struct{}, 1), heard: make(chan struct{}), pushes: bucket{rate: 250}}
}

// compared notes that a peer's copy is the same as ours now.
func (r *replica) compared() { r.hearOnce.Do(func() { close(r.heard) }) }

// Heard returns a channel that is closed when this node has first compared its
// copy of the named State with a peer's, and fetched what it lacked.
func (m *Mesh) Heard(state string) <-chan struct{} { return m.replicas[state].heard }

// maxChanges is what fits a packet of 1400 bytes beside memberlist's and our own
// headers and the seal.
const maxChanges = 1250

func (r *replica) sum() hash { return hash{state: r.name, sum: xxhash.Sum64(r.state.Digest())} }

func (r *replica) hurry() {
	r.urgent.Store(true)
	signal(r.wake)
}

// work merges what arrives and pushes what is urgent, until ctx ends.
func (m *Mesh) work(ctx context.Context, r *replica) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case f := <-r.inbox:
			m.take(r, f)
			for range len(r.inbox) { // one flush for a whole burst
				m.take(r, <-r.inbox)
			}
		}
		if r.urgent.Load() {
			m.flush(r)
		}
	}
}

func (m *Mesh) take(r *replica, f frame) {
	if f.eager { // before the merge, lest a lazy round takes the news for its own
		r.urgent.Store(true)
	}
	if err := m.merge(r, f.data); err != nil {
		return
	}
	m.stats.merged.Add(1)
}

// merge takes in what a peer says of r, or says why not: hostile or of a version
// that this one does not understand, it can come any number of times.
func (m *Mesh) merge(r *replica, data []byte) error {
	err := r.state.Merge(data)
	if err == nil {
		return nil
	}
	m.stats.refused(r.name, reasonOf(err))
	if m.complaints.take(time.Now()) {
		m.log.Warn().Err(err).Str("state", r.name).Msg("gossip refused")
	}
	return err
}

// reasonOf is a word for a metric's label: what the error calls itself.
func reasonOf(err error) string {
	if kind, ok := errors.AsType[interface {
		error
		Kind() string
	}](err); ok {
		return kind.Kind()
	}
	return "malformed"
}

// reconcile exchanges with the copies that differ from ours, until ctx ends.
func (m *Mesh) reconcile(ctx context.Context, r *replica) {
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-r.differing:
			if f.hashes[0] == r.sum() {
				continue // equal by now
			}
			if err := m.sync(ctx, r, f.holder); err != nil {
				m.stats.syncsFailed.Add(1)
				m.log.Debug().Err(err).Str("state", r.name).Str("peer", f.holder).Msg("sync")
				continue
			}
			m.stats.syncs.Add(1)
			r.compared()
			r.hurry()
		}
	}
}

// flush tells what is news: to a few random peers at once when it is urgent, and
// with the lazy rounds of memberlist until about everybody should have heard.
func (m *Mesh) flush(r *replica) {
	fanout, pass := m.fanout(r)
	for {
		data, oversized := r.state.Changes(maxChanges)
		if oversized { // whoever differs fetches it
			m.spread(r, frame{eager: pass, holder: m.Addr(), hashes: []hash{r.sum()}}, fanout)
		}
		if data != nil {
			m.spread(r, frame{eager: pass, state: r.name, data: data}, fanout)
		} else if !oversized {
			return
		}
	}
}

// spread queues f for the lazy rounds, and pushes it to so many peers at once.
func (m *Mesh) spread(r *replica, f frame, fanout int) {
	msg := f.encode()
	m.lazy.enqueue(msg)
	if fanout == 0 {
		return
	}
	for _, peer := range m.some(fanout) {
		if !r.pushes.take(time.Now()) {
			m.stats.pushesHeld.Add(1)
			return
		}
		m.send(peer, msg)
	}
}

// smallMesh is so many peers that who has news tells them all at once.
const smallMesh = 16

// fanout is to how many peers r's news is pushed, and whether they are to pass it
// on. In a small mesh all hear news from where it began, and nobody passes it on:
// a tenth of the packets, and none depends on chance. Else 1 - e^-k of all nodes
// have it before the first lazy round, 98 % with 4.
func (m *Mesh) fanout(r *replica) (peers int, pass bool) {
	all := len(m.peers())
	original := r.original.Swap(false)
	switch {
	case !r.urgent.Swap(false):
		return 0, false
	case original && all <= smallMesh:
		return all, false
	case all <= 100:
		return 4, true
	default:
		return 5, true
	}
}

// hear sorts a message of a peer to its replica. It is called by memberlist's
// one packet handler and must not wait. msg is not kept.
func (m *Mesh) hear(msg []byte) {
	if len(msg) > maxHeard {
		m.stats.refused("frame", "too_big")
		return
	}
	f, err := decodeFrame(append([]byte(nil), msg...))
	if err != nil {
		m.stats.refused("frame", "malformed")
		return
	}
	switch {
	case f.data == nil:
	case f.service != "":
		m.deliver(f)
	default:
		r, ok := m.replicas[f.state]
		if !ok {
			m.stats.refused("frame", "unknown_state")
			return
		}
		m.offer(r.inbox, f)
	}
	m.compare(f)
}

// viewName stands among the hashes for who is alive, which is Serf's to spread
// and not a State.
const viewName = "members"

// settled is how long a view must have stood still before one that differs is
// taken for a miss and not for news under way.
const settled = 300 * time.Millisecond

// compare looks for copies that differ from ours among the hashes in f.
func (m *Mesh) compare(f frame) {
	if f.holder == m.Addr() {
		return
	}
	for _, h := range f.hashes {
		if h.state == viewName {
			if v := m.view.Load(); h.sum != v.sum && time.Since(v.since) > settled {
				select {
				case m.strangers <- f.holder:
				default: // one at a time is enough
				}
			}
		} else if r, ok := m.replicas[h.state]; ok {
			if h == r.sum() {
				r.compared()
			} else {
				m.offer(r.differing, frame{holder: f.holder, hashes: []hash{h}})
			}
		}
	}
}

// regather exchanges members with a peer that sees others than we do, once a
// second at most, until ctx ends. Serf tells of a change a bounded number of
// times; when many nodes start together somebody may be missed, and would
// otherwise wait for a periodic exchange.
//
// A peer that goes on looking for us though we are alive to each other may have
// learned from a third, late, that we left: to Serf that is newer than our return,
// and only word of ours that is newer still puts it right, which Serf gives when
// we join.
func (m *Mesh) regather(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case addr := <-m.strangers:
			m.join(ctx, []string{addr})
		case addr := <-m.doubters:
			select {
			case <-ctx.Done():
				return
			case <-time.After(settled): // it is joining us, most likely
			}
			if m.lost(ctx, addr) {
				m.join(ctx, []string{addr})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

func (m *Mesh) offer(queue chan frame, f frame) {
	select {
	case queue <- f:
	default:
		m.stats.dropped.Add(1)
	}
}

// hashes is what this node has, for others to compare with.
func (m *Mesh) hashes() frame {
	f := frame{holder: m.Addr(), hashes: []hash{{viewName, m.view.Load().sum}}}
	for _, r := range m.replicas {
		f.hashes = append(f.hashes, r.sum())
	}
	return f
}

// repair sends the hashes to one random peer now and then: lost packets, and
// what was dropped anywhere, is found by it. After a change of members it does so
// soon and again, then at an interval that costs an idle node little.
func (m *Mesh) repair(ctx context.Context) {
	pause := m.pace.repairInterval
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.moved:
			pause = m.pace.repairInterval / 8
			continue
		case <-time.After(jitter(pause)):
		}
		pause = min(2*pause, m.pace.repairInterval)
		for _, peer := range m.some(1) {
			m.send(peer, m.hashes().encode())
			m.speakNext(peer)
		}
	}
}

const syncTimeout = 30 * time.Second

// sync makes r the same as its copy at addr in one exchange: our digest goes
// there, what we lack comes back with their digest, and what they lack follows.
func (m *Mesh) sync(ctx context.Context, r *replica, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	s, err := m.dial(ctx, addr, m.nameAt(addr))
	if err != nil {
		return err
	}
	defer func() { _ = s.conn.Close() }()
	answer, err := s.call("sync", encodeSync(syncMessage{state: r.name, digest: r.state.Digest()}))
	if err != nil {
		return err
	}
	theirs, err := decodeSync(answer)
	if err != nil {
		return err
	}
	if theirs.delta != nil {
		if err := m.merge(r, theirs.delta); err != nil {
			return fmt.Errorf("merge: %w", err)
		}
	}
	delta, err := r.state.Delta(theirs.digest)
	if err != nil || delta == nil {
		return err
	}
	_, err = s.call("deliver", encodeSync(syncMessage{state: r.name, delta: delta}))
	return err
}

// serveSync is the other side of sync.
func (m *Mesh) serveSync(request []byte) ([]byte, error) {
	ask, err := decodeSync(request)
	if err != nil {
		return nil, err
	}
	r, ok := m.replicas[ask.state]
	if !ok {
		return nil, errors.New("unknown state")
	}
	delta, err := r.state.Delta(ask.digest)
	if err != nil {
		return nil, err
	}
	return encodeSync(syncMessage{digest: r.state.Digest(), delta: delta}), nil
}

// serveDeliver takes what sync found missing here.
func (m *Mesh) serveDeliver(request []byte) ([]byte, error) {
	got, err := decodeSync(request)
	if err != nil {
		return nil, err
	}
	r, ok := m.replicas[got.state]
	if !ok {
		return nil, errors.New("unknown state")
	}
	if err := m.merge(r, got.delta); err != nil {
		return nil, err
	}
	r.hurry()
	return nil, nil
}

type syncMessage struct {
	state         string
	digest, delta []byte
}

const (
	fieldSyncState  = 1
	fieldSyncDigest = 2
	fieldSyncDelta  = 3
)

func encodeSync(s syncMessage) []byte {
	b := protowire.AppendString(protowire.AppendTag(nil, fieldSyncState, protowire.BytesType), s.state)
	b = protowire.AppendBytes(protowire.AppendTag(b, fieldSyncDigest, protowire.BytesType), s.digest)
	if s.delta != nil {
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldSyncDelta, protowire.BytesType), s.delta)
	}
	return b
}

func decodeSync(b []byte) (s syncMessage, err error) {
	s.digest = []byte{} // absent is empty, not "everything"
	for f, err := range wireFields(b) {
		if err != nil {
			return syncMessage{}, err
		}
		if f.bytes == nil {
			continue // a number where bytes belong
		}
		switch f.num {
		case fieldSyncState:
			s.state = string(f.bytes)
		case fieldSyncDigest:
			s.digest = f.bytes
		case fieldSyncDelta:
			s.delta = f.bytes
		}
	}
	return s, nil
}

// jitter returns a time around d, so that nodes do not act in step.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }
