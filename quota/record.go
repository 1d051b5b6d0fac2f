package quota

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// A Record is what must outlive a restart and a move of the home: what a home
// has charged of a key, for limits whose burst is more than a minute of rate,
// as the quotas of an hour or a day are. Of two records with the same Key, Home
// and Incarnation, the one with the higher Charged is the newer, and the only one
// to keep.
type Record struct {
	Key         Key
	Limit       uint64 // hash of the limit's name
	Home        NodeID
	Incarnation uint32
	Charged     int64     // by this home in this incarnation, in all
	Taken       int64     // of the burst, at the time At
	At          time.Time // on the home's wall clock, in seconds; it only refills
}

// same reports whether r and o are of the same key and home.
func (r *Record) same(o *Record) bool {
	return r.Key == o.Key && r.Home == o.Home && r.Incarnation == o.Incarnation
}

// missing is what of the burst is still taken at wall.
func (r *Record) missing(wall time.Time, l *Limit) float64 {
	return max(0, float64(r.Taken)-l.Rate*max(0, wall.Sub(r.At).Seconds()))
}

// clock ties the engine's time to the wall's, as far as it was told.
type clock struct {
	now  time.Duration
	wall time.Time
}

func (c clock) at(now time.Duration) time.Time { return c.wall.Add(now - c.now) }

// history holds the records of all homes that still say something, by key.
type history map[Key][]Record

// put keeps r if it is newer than what is known of its home, which it returns.
func (h history) put(r Record) (old Record, news bool) {
	rs := h[r.Key]
	for i := range rs {
		if rs[i].same(&r) {
			old = rs[i]
			if r.Charged <= old.Charged {
				return old, false
			}
			rs[i] = r
			return old, true
		}
	}
	h[r.Key] = append(rs, r)
	return old, true
}

// missing is what is taken of k's burst, by the record that says most.
func (h history) missing(k Key, wall time.Time, l *Limit) (most float64) {
	for i := range h[k] {
		most = max(most, h[k][i].missing(wall, l))
	}
	return most
}

// News appends to dst the records of what this node has charged as a home since
// the last call. wall is the wall clock's time at now.
func (e *Engine) News(now time.Duration, wall time.Time, dst []Record) []Record {
	e.loop.Lock()
	defer e.loop.Unlock()
	now -= e.epoch
	e.clock = clock{now, wall}
	for k := range e.news {
		h := e.homes[k]
		if h == nil {
			continue
		}
		s := e.side(now, k)
		h.advance(now, h.budget(&s))
		r := Record{
			Key: k, Limit: uint64(h.limit.id()), Home: e.self.id, Incarnation: e.self.incarnation,
			Charged: h.charged, Taken: int64(math.Round(h.limit.Burst - h.pool.tokens - h.disturbance().aside)), At: wall.Truncate(time.Second),
		}
		if _, ok := e.history.put(r); ok {
			dst = append(dst, r)
		}
	}
	clear(e.news)
	return dst
}

// Records appends to dst every record that still says something, of this node
// and of others.
func (e *Engine) Records(dst []Record) []Record {
	e.loop.Lock()
	defer e.loop.Unlock()
	for _, rs := range e.history {
		dst = append(dst, rs...)
	}
	return dst
}

// Learn processes a record, of this node's disk at its start or of another node,
// and reports whether it was news. What another home has charged is charged here
// too, once. wall is the wall clock's time at now; a record from its future
// counts as of now.
func (e *Engine) Learn(now time.Duration, wall time.Time, r Record) bool {
	e.loop.Lock()
	defer e.loop.Unlock()
	now -= e.epoch
	e.clock = clock{now, wall}
	l := e.limits[limitID(r.Limit)]
	if l == nil || !l.durable() || r.Home == e.self.id && r.Incarnation >= e.self.incarnation {
		return false
	}
	if r.At.After(wall) {
		r.At = wall
	}
	missing := r.missing(wall, l)
	if missing == 0 {
		return false
	}
	old, news := e.history.put(r)
	if h := e.homes[r.Key]; news && h != nil {
		s := e.side(now, r.Key)
		h.advance(now, h.budget(&s))
		h.pool.tokens = max(0, h.pool.tokens-min(missing, float64(r.Charged-old.Charged)))
	}
	return news
}

// remember fills a durable limit's new pool by the records, as soon as this node
// is the home by right: until then the true one has it. Such a pool is never cold
// after, as it would take hours to fill.
func (e *Engine) remember(now time.Duration, k Key, h *home, s *side) {
	if !h.disturbance().blank || s.acting {
		return
	}
	h.disturbed = nil
	h.pool = bucket{h.limit.Burst - float64(h.charged), now}
	if !e.clock.wall.IsZero() {
		h.pool.tokens -= e.history.missing(k, e.clock.at(now), h.limit)
	}
	h.pool.tokens = max(h.pool.tokens, 0)
	h.recount()
	h.divide(s)
}

// divide sets aside what of a durable limit's pool is for the other sides of a
// partition, and takes it back when they return: a burst of hours would else be
// there once on each side. What they spent comes with their records.
func (h *home) divide(s *side) {
	part, d := 1.0, h.disturbance()
	if !h.limit.Open {
		part = max(factor(s.share, h.limit.Isolated), epsilon)
	}
	if part == d.part {
		return
	}
	moved := max(h.pool.tokens, 0) * (1 - part/d.part)
	if part > d.part {
		moved = -d.aside * (part - d.part) / (1 - d.part)
	}
	h.pool.tokens -= moved
	h.disturb().aside += moved
	h.disturbed.part = part
}

// prune drops records that say nothing any more.
func (e *Engine) prune(now time.Duration) {
	wall := e.clock.at(now)
	for k, rs := range e.history {
		kept := rs[:0]
		for i := range rs {
			if l := e.limits[limitID(rs[i].Limit)]; l != nil && rs[i].missing(wall, l) > 0 {
				kept = append(kept, rs[i])
			}
		}
		if len(kept) == 0 {
			delete(e.history, k)
		} else {
			e.history[k] = kept
		}
	}
}

// ErrRecord is returned for bytes that are not a Record.
var ErrRecord = errors.New("malformed limits record")

const recordVersion = 1

// Append appends the bytes of r, for UnmarshalBinary.
func (r *Record) Append(b []byte) []byte {
	b = append(b, recordVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Key))
	b = binary.LittleEndian.AppendUint64(b, r.Limit)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Home))
	b = binary.LittleEndian.AppendUint32(b, r.Incarnation)
	b = binary.AppendUvarint(b, uint64(r.Charged))
	b = binary.AppendVarint(b, r.Taken)
	return binary.AppendVarint(b, r.At.Unix())
}

// UnmarshalBinary reads what Append wrote; anything else is ErrRecord.
func (r *Record) UnmarshalBinary(data []byte) error {
	d := decoder{rest: data}
	if d.byte() != recordVersion {
		return ErrRecord
	}
	got := Record{Key: Key(d.u64()), Limit: d.u64(), Home: NodeID(d.u64()), Incarnation: d.u32()}
	got.Charged = d.uvarint(seqMost)
	got.Taken = d.varint(amountMost)
	got.At = time.Unix(d.varint(1<<40), 0)
	if d.bad || len(d.rest) > 0 {
		return ErrRecord
	}
	*r = got
	return nil
}
