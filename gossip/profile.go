package gossip

import (
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"
)

// A Profile adapts the timing of gossip to a network.
type Profile string

// The profiles. The intervals of LAN spread news fast and keep the failure
// detector patient: shorter probes turn a starved CPU into a storm of false
// suspicions.
const (
	Local Profile = "local" // one machine
	LAN   Profile = "lan"
	WAN   Profile = "wan" // one pool over several regions
)

type pace struct {
	gossipInterval              time.Duration
	probeInterval, probeTimeout time.Duration
	suspicionMult               int
	pushPullInterval            time.Duration
	repairInterval              time.Duration // of hashes to one random peer
	leavePropagate              time.Duration
	rejoinMissing, rejoinNone   time.Duration
	helloTimeout                time.Duration
}

func (p Profile) pace() (pace, error) {
	lan := pace{
		gossipInterval: 100 * time.Millisecond,
		probeInterval:  time.Second, probeTimeout: 500 * time.Millisecond,
		suspicionMult:    4,
		pushPullInterval: 15 * time.Second,
		repairInterval:   2 * time.Second,
		leavePropagate:   time.Second,
		rejoinMissing:    2 * time.Second, rejoinNone: 15 * time.Second,
		helloTimeout: time.Second,
	}
	switch p {
	case LAN, "":
	case Local:
		lan.gossipInterval = 50 * time.Millisecond
		lan.probeInterval, lan.probeTimeout = 500*time.Millisecond, 200*time.Millisecond
		lan.leavePropagate = 300 * time.Millisecond
	case WAN:
		lan.gossipInterval = 200 * time.Millisecond
		lan.probeInterval, lan.probeTimeout = 2*time.Second, time.Second
		lan.suspicionMult = 5
		lan.pushPullInterval = 30 * time.Second
		lan.leavePropagate = 3 * time.Second
		lan.helloTimeout = 2 * time.Second
	default:
		return pace{}, fmt.Errorf("profile %q: want local, lan or wan", p)
	}
	return lan, nil
}

// tune applies the pace to Serf's configuration.
func (p pace) tune(sc *serf.Config) {
	mc := memberlist.DefaultLANConfig()
	mc.GossipInterval, mc.GossipNodes = p.gossipInterval, 4
	mc.ProbeInterval, mc.ProbeTimeout = p.probeInterval, p.probeTimeout
	mc.SuspicionMult = p.suspicionMult
	mc.PushPullInterval = p.pushPullInterval
	mc.TCPTimeout = p.helloTimeout + p.probeTimeout
	mc.HandoffQueueDepth = 4096
	// A name whose address has died may come back elsewhere at once: who may
	// use a name is settled before anybody joins, by asking its holder. 0 would
	// mean never.
	mc.DeadNodeReclaimTime = time.Millisecond
	sc.MemberlistConfig = mc

	sc.ProtocolVersion = 5
	sc.LeavePropagateDelay = p.leavePropagate
	sc.BroadcastTimeout = 2 * time.Second
	sc.ReconnectInterval = 10 * time.Second
	sc.ReconnectTimeout = 72 * time.Hour
	sc.TombstoneTimeout = 24 * time.Hour
	sc.QueueCheckInterval = 5 * time.Second
	sc.MinQueueDepth = 4096
}
