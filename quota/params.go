package quota

import "time"

// What the simulation settled on; internal/quotasim shows what they give.
const (
	leaseTTL  = 1500 * time.Millisecond // life of a lease, from the sending of the report that it answers
	graceTTL  = 50 * time.Millisecond   // a home waits so much longer, so that a lease ends first at its node
	minGap    = 20 * time.Millisecond   // between two urgent reports of a key
	slowAfter = 500 * time.Millisecond  // between two reports of a key that has plenty
	demandTau = 200 * time.Millisecond  // over which demand is averaged
	soonAgain = 20 * time.Millisecond   // without another request a key needs no lease, if much is left
	idleTicks = 3                       // periods without a request until a lease goes back

	headroom     = 0.5   // what a lease adds to demand while there is enough for all;
	plenty       = 0.125 // while no more than this part of the limit is asked for,
	wideHeadroom = 3.0   // so much, which need not be asked for anew in each period
	unleased     = 0.05  // of the rate, when there is not: left in the pool for those who wake up
	coldBurst    = 1.0   // of the burst: what all nodes together may admit unasked
	fewUnasked   = 8.0   // tokens: a node that has no more for itself asks at every first request
	negligible   = 0.01  // of its part of the rate: a node may use so much of a key that it rarely uses, and not tell
	slowRefill   = 10.0  // seconds from empty to full: beyond, a burst is not guessed at
	poolShares   = 2.0   // a report gets so many fair shares of the pool, but
	poolMost     = 0.75  // never more of it than this
	debtSpan     = 2.0   // seconds of rate that a debt may grow to

	minHold      = 25 * time.Millisecond // a held request waits at least so long,
	maxHold      = 500 * time.Millisecond
	keyWaiters   = 64   // requests held at once per key,
	crowdWaiters = 1024 // where there is most likely enough for them,
	allWaiters   = 4096 // and per node

	missedMost  = 16               // reports without an answer until another home is tried, for one leaseTTL
	silentMost  = 30 * time.Second // so long a silent node's part is held back: membership may take 25 s to see half of a mesh vanish
	doubtFor    = 10 * time.Second // between two nodes of one side that are seen to vanish
	forgetParty = 60 * time.Second // a home forgets a node that long after it fell silent or gave back
	keepIdle    = 30 * time.Second // a key that nobody uses is forgotten that long after, or up to 10 s later,
	keepHome    = 5 * time.Second  // and by its home so much sooner, if all of its burst is there
	forgetKey   = 60 * time.Second // a node gives up telling a home that never answers

	handoverAgain = 300 * time.Millisecond  // after the first, a handover is sent a second time,
	handoverLast  = 1200 * time.Millisecond // and then a third
	handoversMost = 1 << 14                 // of one change of the mesh, and
	handedMost    = 8                       // of one key that are told from their repetitions

	forgetVanished = 10 * time.Minute // a vanished node stops holding back its part,
	forgetRefused  = time.Minute      // sooner where its address says that nobody is there

	coalesce = 2 * time.Millisecond  // urgent entries wait so long for company
	wheelDiv = 10 * time.Millisecond // periodic ones
)

// Config is what an Engine is told once. The zero value of all but Self and
// Incarnation means the default.
type Config struct {
	Self        NodeID
	Incarnation uint32 // grows with every start of the same node

	SyncEvery    time.Duration // between two reports of a busy key; default 100 ms, at most 1 s
	MaxKeys      int           // keys tracked at once, as a node and as a home each; default 200,000
	EgressBudget int           // bytes per second sent, headers included; default 256 KiB
	Shards       int           // a power of two; default 256
}

// withDefaults fills in what was left out.
func (c Config) withDefaults() Config {
	if c.SyncEvery <= 0 {
		c.SyncEvery = 100 * time.Millisecond
	}
	c.SyncEvery = min(c.SyncEvery, time.Second)
	if c.MaxKeys <= 0 {
		c.MaxKeys = 200_000
	}
	if c.EgressBudget <= 0 {
		c.EgressBudget = 256 << 10
	}
	if c.Shards <= 0 {
		c.Shards = 256
	}
	return c
}
