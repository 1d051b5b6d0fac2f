package gossip

import (
	"maps"
	"sync"
	"sync/atomic"
)

// stats counts what gossip does, since the start.
type stats struct {
	packetsIn, packetsOut         atomic.Uint64
	packetBytesIn, packetBytesOut atomic.Uint64
	streamBytesIn, streamBytesOut atomic.Uint64
	merged, dropped               atomic.Uint64
	pushesHeld                    atomic.Uint64
	syncs, syncsFailed            atomic.Uint64
	undecryptable                 atomic.Uint64
	datagramsUnsent               atomic.Uint64

	mu       sync.Mutex // guards refusals
	refusals map[Refusal]uint64
}

// A Refusal is a kind of rejected input from others.
type Refusal struct {
	What   string // a state's name, frame or stream
	Reason string
}

func (s *stats) refused(what, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusals == nil {
		s.refusals = map[Refusal]uint64{}
	}
	s.refusals[Refusal{what, reason}]++
}

// Stats are counters of what gossip has done since the start.
type Stats struct {
	PacketsIn, PacketsOut         uint64
	PacketBytesIn, PacketBytesOut uint64
	StreamBytesIn, StreamBytesOut uint64
	Merged                        uint64 // messages of states merged
	Dropped                       uint64 // for want of room in a queue; found again by repair
	PushesHeld                    uint64 // eager pushes left to the lazy rounds, over the rate
	Syncs, SyncsFailed            uint64 // exchanges with a copy that differed
	Undecryptable                 uint64 // packets without our key
	DatagramsUnsent               uint64 // to members that are not alive, or too long
	Refused                       map[Refusal]uint64
}

// Stats returns the present counters.
func (m *Mesh) Stats() Stats {
	s := &m.stats
	out := Stats{
		PacketsIn: s.packetsIn.Load(), PacketsOut: s.packetsOut.Load(),
		PacketBytesIn: s.packetBytesIn.Load(), PacketBytesOut: s.packetBytesOut.Load(),
		StreamBytesIn: s.streamBytesIn.Load(), StreamBytesOut: s.streamBytesOut.Load(),
		Merged: s.merged.Load(), Dropped: s.dropped.Load(), PushesHeld: s.pushesHeld.Load(),
		Syncs: s.syncs.Load(), SyncsFailed: s.syncsFailed.Load(), Undecryptable: s.undecryptable.Load(),
		DatagramsUnsent: s.datagramsUnsent.Load(),
		Refused:         map[Refusal]uint64{},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(out.Refused, s.refusals)
	return out
}
