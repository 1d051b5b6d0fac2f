package quota

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// A datagram is a header and entries up to its end:
//
//	header   u8 version, u64 node, u32 incarnation
//	entry    u8 kind and flags, u64 key, then by kind
//	REPORT   u64 limit, seq, base, count-base, demand, want, [claim], [born]
//	RELEASE  u64 limit, seq, base, count-base, [born]
//	LEASE    seq, count, tokens, rate, deny, u8 level
//	RELEASED seq, count
//	RECALL
//	HANDOVER u64 limit, seq, missing
//
// Fixed integers are little-endian, the others uvarints: tokens, rates,
// demands and what is missing in thousandths (tokens zig-zag), deny in milliseconds, level in
// 255ths. What is leased is rounded down, what refuses is rounded up. Counters
// are cumulative: any of the reports, in any order, any number of times, come to
// the same.

const (
	wireVersion = 1
	headerSize  = 13

	// MaxDatagram is the most bytes of one datagram.
	MaxDatagram = 1372
	entryMost   = 96      // bytes of the longest entry
	packetCost  = 28 + 2  // what IP, UDP and the mesh's own bytes add to each
	countMost   = 1 << 40 // admitted and unacknowledged: beyond it a report is a lie
	amountMost  = 1 << 50 // of thousandths
	seqMost     = 1 << 60
)

type kind byte

const (
	kindReport kind = 1 + iota
	kindRelease
	kindLease
	kindReleased
	kindRecall
	kindHandover

	kindMask    = 0x0f
	flagHungry  = 0x10 // REPORT: starving. LEASE: saturated
	flagClaim   = 0x20
	flagBorn    = 0x40
	flagUnknown = 0x80
)

// ErrMalformed is returned for a datagram of which nothing was used.
var ErrMalformed = errors.New("malformed limits datagram")

// report is REPORT and RELEASE.
type report struct {
	Key         Key
	Limit       limitID
	Seq         int64
	Born        int64 // when the entry was made, until it is first answered; else 0
	Base, Count int64
	Demand      float64 // tokens/s
	Claim       float64 // tokens/s leased by another home
	Want        int64
	Starving    bool
	Release     bool
}

// grant is LEASE and RELEASED. It repeats the report's Count, which is charged.
type grant struct {
	Key        Key
	Seq, Count int64
	Tokens     float64
	Rate       float64
	Deny       time.Duration
	Level      float64 // of the pool, 0..1
	Saturated  bool
	Released   bool
}

// header identifies the sender; the gossip port does not.
type header struct {
	node        NodeID
	incarnation uint32
}

func (h header) append(b []byte) []byte {
	b = append(b, wireVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.node))
	return binary.LittleEndian.AppendUint32(b, h.incarnation)
}

func (r *report) append(b []byte) []byte {
	k := byte(kindReport)
	if r.Release {
		k = byte(kindRelease)
	}
	if r.Starving {
		k |= flagHungry
	}
	if r.Claim > 0 {
		k |= flagClaim
	}
	if r.Born > 0 {
		k |= flagBorn
	}
	b = binary.LittleEndian.AppendUint64(append(b, k), uint64(r.Key))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Limit))
	b = binary.AppendUvarint(b, uint64(r.Seq))
	b = binary.AppendUvarint(b, uint64(r.Base))
	b = binary.AppendUvarint(b, uint64(r.Count-r.Base))
	if !r.Release {
		b = binary.AppendUvarint(b, uint64(math.Round(min(r.Demand*1000, amountMost))))
		b = binary.AppendUvarint(b, uint64(r.Want))
	}
	if r.Claim > 0 {
		b = binary.AppendUvarint(b, uint64(min(r.Claim*1000, amountMost)))
	}
	if r.Born > 0 {
		b = binary.AppendUvarint(b, uint64(r.Born))
	}
	return b
}

func (g *grant) append(b []byte) []byte {
	k := byte(kindLease)
	if g.Released {
		k = byte(kindReleased)
	}
	if g.Saturated {
		k |= flagHungry
	}
	b = binary.LittleEndian.AppendUint64(append(b, k), uint64(g.Key))
	b = binary.AppendUvarint(b, uint64(g.Seq))
	b = binary.AppendUvarint(b, uint64(g.Count))
	if g.Released {
		return b
	}
	b = binary.AppendVarint(b, int64(math.Floor(max(min(g.Tokens*1000+epsilon, amountMost), -amountMost))))
	b = binary.AppendUvarint(b, uint64(min(g.Rate*1000+epsilon, amountMost)))
	b = binary.AppendUvarint(b, uint64((g.Deny+time.Millisecond-1)/time.Millisecond))
	return append(b, byte(g.Level*255))
}

func appendRecall(b []byte, k Key) []byte {
	return binary.LittleEndian.AppendUint64(append(b, byte(kindRecall)), uint64(k))
}

func (h *handover) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(append(b, byte(kindHandover)), uint64(h.Key))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Limit))
	b = binary.AppendUvarint(b, uint64(h.Seq))
	return binary.AppendUvarint(b, uint64(math.Round(min(h.Missing*1000, amountMost))))
}

// message is one entry of a datagram.
type message struct {
	kind     kind
	report   report   // REPORT, RELEASE
	grant    grant    // LEASE, RELEASED
	key      Key      // RECALL
	handover handover // HANDOVER
}

// decode reads a datagram into msgs. A kind of a later version ends it early;
// anything malformed voids it whole.
func decode(data []byte, msgs []message) (header, []message, error) {
	d := decoder{rest: data}
	if d.byte() != wireVersion {
		return header{}, nil, ErrMalformed
	}
	h := header{node: NodeID(d.u64()), incarnation: d.u32()}
	for len(d.rest) > 0 && !d.bad {
		m, ok := d.message()
		if !ok {
			break
		}
		msgs = append(msgs, m)
	}
	if d.bad {
		return header{}, nil, ErrMalformed
	}
	return h, msgs, nil
}

// decoder reads values off the front; bad is set by the first that is not there.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) message() (m message, known bool) {
	k := d.byte()
	m.kind = kind(k & kindMask)
	if m.kind < kindReport || m.kind > kindHandover || k&flagUnknown != 0 {
		return m, false
	}
	key := Key(d.u64())
	switch m.kind {
	case kindReport, kindRelease:
		m.report = d.report(k, key)
	case kindLease, kindReleased:
		m.grant = d.grant(k, key)
	case kindHandover:
		m.handover = handover{Key: key, Limit: limitID(d.u64()), Seq: d.uvarint(seqMost), Missing: float64(d.uvarint(amountMost)) / 1000}
	default:
		m.key = key
	}
	return m, true
}

func (d *decoder) report(k byte, key Key) report {
	r := report{Key: key, Limit: limitID(d.u64()), Starving: k&flagHungry != 0, Release: k&kindMask == byte(kindRelease)}
	r.Seq = d.uvarint(seqMost)
	r.Base = d.uvarint(seqMost)
	r.Count = r.Base + d.uvarint(countMost)
	if !r.Release {
		r.Demand = float64(d.uvarint(amountMost)) / 1000
		r.Want = d.uvarint(countMost)
	}
	if k&flagClaim != 0 {
		r.Claim = float64(d.uvarint(amountMost)) / 1000
	}
	if k&flagBorn != 0 {
		r.Born = d.uvarint(seqMost)
	}
	return r
}

func (d *decoder) grant(k byte, key Key) grant {
	g := grant{Key: key, Saturated: k&flagHungry != 0, Released: k&kindMask == byte(kindReleased)}
	g.Seq = d.uvarint(seqMost)
	g.Count = d.uvarint(2 * seqMost)
	if g.Released {
		return g
	}
	g.Tokens = float64(d.varint(amountMost)) / 1000
	g.Rate = float64(d.uvarint(amountMost)) / 1000
	g.Deny = time.Duration(d.uvarint(int64(time.Hour/time.Millisecond))) * time.Millisecond
	g.Level = float64(d.byte()) / 255
	return g
}

func (d *decoder) take(n int) []byte {
	if d.bad || len(d.rest) < n {
		d.bad = true
		return make([]byte, 8)[:n]
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) byte() byte  { return d.take(1)[0] }
func (d *decoder) u32() uint32 { return binary.LittleEndian.Uint32(d.take(4)) }
func (d *decoder) u64() uint64 { return binary.LittleEndian.Uint64(d.take(8)) }

// uvarint reads an integer of at most most.
func (d *decoder) uvarint(most int64) int64 {
	v, n := binary.Uvarint(d.rest)
	if d.bad || n <= 0 || v > uint64(most) {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return int64(v)
}

// varint reads a signed integer of at most most either way.
func (d *decoder) varint(most int64) int64 {
	v, n := binary.Varint(d.rest)
	if d.bad || n <= 0 || v > most || v < -most {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}
