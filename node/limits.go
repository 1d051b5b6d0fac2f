package node

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/node/datadir"
	"github.com/meshgw/meshgw/quota"
)

// limits holds this node's part in the limits of the mesh. The data plane asks
// its engine; one goroutine, run, does all that goes on between requests:
// datagrams in and out, membership, what is kept on disk.
type limits struct {
	engine *quota.Engine
	self   quota.NodeID
	epoch  time.Time // the engine's time counts from here
	state  *limitState
	mesh   limitMesh
	log    zerolog.Logger

	inbox chan []byte   // datagrams of others; what does not fit is lost, as on the wire
	wake  chan struct{} // there is something to send
	moved chan struct{} // the membership changed
	fresh chan struct{} // there may be something to be saved
	ended chan struct{} // closed when run has: nobody answers any more

	mu      sync.Mutex // guards the rest
	waiting map[quota.Ticket]chan quota.Decision
	early   map[quota.Ticket]quota.Decision // answered before anybody waited
	names   map[quota.Key]string
	nodes   map[quota.NodeID]string

	crowded atomic.Bool // there have been more keys than names are kept
}

var _ dataplane.Limiter = (*limits)(nil)

// limitMesh is what limits need of the mesh.
type limitMesh interface {
	limitMembers() []limitMember
	// sendLimits sends a datagram to the limits of another node, best effort.
	sendLimits(member string, data []byte)
	// refusesGossip reports whether the address of a member that is gone says
	// that nobody is there.
	refusesGossip(ctx context.Context, addr string) bool
	// mayFound reports whether this node, having waited for so long, may make the
	// secret of a mesh that seems to have none.
	mayFound(waited time.Duration) bool
	pushLimits() // tells others of the state soon
}

// limitMember is a node as limits see it.
type limitMember struct {
	quota.Member
	name, addr string
}

// nodeID names a node on the wire of limits by its id.
func nodeID(id string) quota.NodeID { return quota.NodeID(xxhash.Sum64String(id)) }

func newLimits(id datadir.Identity, mesh limitMesh, state *limitState, log zerolog.Logger) *limits {
	return &limits{
		self:   nodeID(id.ID),
		engine: quota.New(0, quota.Config{Self: nodeID(id.ID), Incarnation: id.Incarnation}),
		epoch:  time.Now(), state: state, mesh: mesh, log: log,
		inbox: make(chan []byte, 4096), wake: make(chan struct{}, 1), moved: make(chan struct{}, 1), fresh: make(chan struct{}, 1), ended: make(chan struct{}),
		waiting: map[quota.Ticket]chan quota.Decision{}, early: map[quota.Ticket]quota.Decision{},
		names: map[quota.Key]string{}, nodes: map[quota.NodeID]string{},
	}
}

// now is the engine's time.
func (l *limits) now() time.Duration { return time.Since(l.epoch) }

// Configure implements dataplane.Limiter.
func (l *limits) Configure(all []*quota.Limit) {
	l.engine.Configure(l.now(), all)
	l.state.relearn() // records of limits that were not known are of use now,
	l.learn()         // before the first request is
	signal(l.wake)
}

// Key implements dataplane.Limiter.
func (l *limits) Key(of *quota.Limit, subject []byte) quota.Key {
	return l.state.secret.Load().Key(of, subject)
}

// mostNames is for how many keys the subject is remembered.
const mostNames = 4096

// Name implements dataplane.Limiter.
func (l *limits) Name(k quota.Key, subject string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.names[k]; ok {
		return
	}
	for old := range l.names {
		if len(l.names) < mostNames {
			break
		}
		delete(l.names, old) // any one: who is heavy is named again soon
	}
	l.names[k] = subject
	l.crowded.Store(l.crowded.Load() || len(l.names) == mostNames)
}

// Take implements dataplane.Limiter. Newcomers are named while there is room for all:
// a flood of keys is not worth its names.
func (l *limits) Take(asks []quota.Ask) quota.Decision {
	d := l.engine.Take(l.now(), asks)
	d.First = d.First && !l.crowded.Load()
	if d.Flush {
		signal(l.wake)
	}
	return d
}

// Release implements dataplane.Limiter.
func (l *limits) Release(asks []quota.Ask) {
	if l.engine.Release(asks) {
		signal(l.wake)
	}
}

// lookAfter is how often a waiting request looks whether its client is there.
const lookAfter = 50 * time.Millisecond

// Wait implements dataplane.Limiter. A request that was cancelled still gets its
// answer, the next moment, and may have come by what it wanted.
func (l *limits) Wait(t quota.Ticket, gone func() bool) quota.Decision {
	answer := l.await(t)
	tick := time.NewTicker(lookAfter)
	defer tick.Stop()
	for {
		select {
		case d := <-answer:
			return d
		case <-l.ended:
			return quota.Decision{Verdict: quota.Deny}
		case <-tick.C:
			if gone() {
				l.engine.Cancel(t)
				signal(l.wake)
			}
		}
	}
}

func (l *limits) await(t quota.Ticket) <-chan quota.Decision {
	answer := make(chan quota.Decision, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if d, ok := l.early[t]; ok {
		delete(l.early, t)
		answer <- d
	} else {
		l.waiting[t] = answer
	}
	return answer
}

func (l *limits) resolve(all []quota.Resolved) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range all {
		if answer, ok := l.waiting[r.Ticket]; ok {
			delete(l.waiting, r.Ticket)
			answer <- r.Decision
		} else {
			l.early[r.Ticket] = r.Decision
		}
	}
}

// receive takes a datagram of another node.
func (l *limits) receive(data []byte) {
	select {
	case l.inbox <- data:
	default:
	}
}

const (
	membersEvery = 250 * time.Millisecond // membership is looked at, for round trips and incarnations
	recordsEvery = 10 * time.Second       // what long quotas were charged is told and saved
	leaveFor     = 100 * time.Millisecond // for the leases to go back
)

// run is the control loop. When ctx ends the leases go back to their homes, and
// it returns.
func (l *limits) run(ctx context.Context) {
	defer close(l.ended)
	defer l.save()
	var wg sync.WaitGroup
	defer wg.Wait()
	secretCtx, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { l.state.await(secretCtx, l.mesh) })
	refusals := newRefusals(l.mesh)
	wg.Go(func() { refusals.run(secretCtx) })
	wg.Go(func() { l.keepSaved(secretCtx) })

	due := time.NewTimer(0)
	defer due.Stop()
	members, records := time.NewTicker(membersEvery), time.NewTicker(recordsEvery)
	defer members.Stop()
	defer records.Stop()
	var out quota.Output
	for {
		select {
		case <-ctx.Done():
			l.leave(&out)
			return
		case data := <-l.inbox:
			l.take(data)
		case <-l.wake:
		case <-due.C:
		case <-l.state.changed:
			l.learn()
		case <-l.moved:
			l.look(refusals)
		case <-members.C:
			l.look(refusals)
		case <-records.C:
			l.tellRecords()
		}
		due.Reset(l.poll(&out) - l.now())
	}
}

// take processes what has come from others.
func (l *limits) take(first []byte) {
	now := l.now()
	for data := first; ; {
		// What is malformed or of strangers is counted by the engine.
		_ = l.engine.Receive(now, data)
		select {
		case data = <-l.inbox:
		default:
			return
		}
	}
}

// poll does what is due and returns when there is more.
func (l *limits) poll(out *quota.Output) (next time.Duration) {
	next = l.engine.Poll(l.now(), out)
	for _, d := range out.Datagrams {
		if name := l.nameOf(d.To); name != "" {
			l.mesh.sendLimits(name, d.Data)
		}
	}
	if len(out.Resolved) > 0 {
		l.resolve(out.Resolved)
	}
	return next
}

func (l *limits) nameOf(id quota.NodeID) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nodes[id]
}

// look takes the membership in.
func (l *limits) look(refusals *refusals) {
	all := l.mesh.limitMembers()
	members, nodes := make([]quota.Member, len(all)), make(map[quota.NodeID]string, len(all))
	var vanished []string
	for i, m := range all {
		if m.State == quota.Vanished {
			m.Refused = refusals.of(m.addr)
			vanished = append(vanished, m.addr)
		}
		members[i], nodes[m.ID] = m.Member, m.name
	}
	refusals.watch(vanished)
	l.mu.Lock()
	l.nodes = nodes
	l.mu.Unlock()
	l.engine.Members(l.now(), members)
}

// leave gives every lease back and reports what was charged, before this node
// leaves the mesh.
func (l *limits) leave(out *quota.Output) {
	l.engine.Leave(l.now())
	for end := l.now() + leaveFor; l.now() < end; {
		wait := min(max(l.poll(out)-l.now(), time.Millisecond), end-l.now())
		select {
		case data := <-l.inbox:
			l.take(data)
		case <-time.After(wait):
		}
	}
	l.tellRecords() // without what was leased and came back unspent
}

// learn processes what other nodes, or this one before its start, have charged.
func (l *limits) learn() {
	now, wall := l.now(), l.state.wall()
	for r := range l.state.fresh() {
		l.engine.Learn(now, wall, r)
	}
}

// tellRecords reports what was charged here, and has it kept.
func (l *limits) tellRecords() {
	news := l.engine.News(l.now(), l.state.wall(), nil)
	l.state.tell(news)
	l.state.prune(l.engine.Records(nil))
	if len(news) > 0 {
		l.mesh.pushLimits()
	}
	signal(l.fresh)
}

// keepSaved brings what is to be kept to disk until ctx ends. No lease waits for
// that: a disk may take longer than a lease lasts.
func (l *limits) keepSaved(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.fresh:
			l.save()
		}
	}
}

func (l *limits) save() {
	if err := l.state.save(); err != nil {
		l.log.Error().Err(err).Msg("quotas not saved, will try again")
	}
}

// signal wakes whoever waits on c.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// hexKey is a key as people see it.
func hexKey(k quota.Key) string {
	const digits = "0123456789abcdef"
	b := binary.BigEndian.AppendUint64(nil, uint64(k))
	text := make([]byte, 0, 16)
	for _, c := range b {
		text = append(text, digits[c>>4], digits[c&15])
	}
	return string(text)
}
