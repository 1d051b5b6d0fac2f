package telemetry

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// The bounds of a Ring where none are given.
const (
	DefaultRecords = 100_000
	DefaultBytes   = 64 << 20
)

// Ring keeps the records of the last requests. Errors and slow requests are
// kept apart and for longer, so that a flood of ordinary requests does not
// displace them. It is sharded by request id, so that requests seldom contend
// for a lock, and allocates memory as needed. It is safe for concurrent use.
type Ring struct {
	seed    maphash.Seed
	shards  [shards]shard
	dropped atomic.Uint64
}

const shards = 16

type shard struct {
	mu             sync.Mutex // guards the rest
	ordinary, kept journal
	_              [64]byte // the next shard's lock is on another cache line
}

// NewRing returns a ring of at most about so many records and bytes, a quarter
// of both for records that are kept longer; 0 means the default.
func NewRing(records, bytes int) *Ring {
	if records == 0 {
		records = DefaultRecords
	}
	if bytes == 0 {
		bytes = DefaultBytes
	}
	r := &Ring{seed: maphash.MakeSeed()}
	for i := range r.shards {
		r.shards[i].ordinary = newJournal(records/shards, bytes/shards*3/4)
		r.shards[i].kept = newJournal(records/shards/4, bytes/shards/4)
	}
	return r
}

// Add adds a copy of r, to be kept longer if keep is set. scratch is working
// memory, and is returned for the next call.
func (g *Ring) Add(r *Record, keep bool, scratch []byte) []byte {
	scratch = r.append(scratch[:0])
	sum := maphash.Bytes(g.seed, r.RequestID)
	s := &g.shards[sum%shards]
	s.mu.Lock()
	j := &s.ordinary
	if keep {
		j = &s.kept
	}
	fits := j.add(sum, scratch)
	s.mu.Unlock()
	if !fits {
		g.dropped.Add(1)
	}
	return scratch
}

// Find returns the records of a request, oldest first. There may be several: a
// node may forward a request to itself, and a client may reuse an id.
func (g *Ring) Find(requestID string) []Record {
	sum := maphash.String(g.seed, requestID)
	s := &g.shards[sum%shards]
	var found []Record
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range [...]*journal{&s.ordinary, &s.kept} {
		for data := range j.all(sum) {
			if r, err := decode(data); err == nil && string(r.RequestID) == requestID {
				found = append(found, r)
			}
		}
	}
	return found
}

// Kept yields the records that are kept longer of requests since since, in no
// particular order.
func (g *Ring) Kept(since time.Time) func(yield func(Record) bool) {
	return func(yield func(Record) bool) {
		for i := range g.shards {
			for _, r := range g.shards[i].keptSince(since) {
				if !yield(r) {
					return
				}
			}
		}
	}
}

func (s *shard) keptSince(since time.Time) (some []Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for data := range s.kept.all(0) {
		if began(data) < since.UnixNano() {
			continue
		}
		if r, err := decode(data); err == nil {
			some = append(some, r)
		}
	}
	return some
}

// Dropped returns how many records were too large to keep.
func (g *Ring) Dropped() uint64 { return g.dropped.Load() }

// Len returns how many records are kept.
func (g *Ring) Len() (n int) {
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		n += s.ordinary.records + s.kept.records
		s.mu.Unlock()
	}
	return n
}

// journal is a queue of records in chunks of memory; the oldest chunk makes room
// for the newest.
type journal struct {
	chunks     []chunk // oldest first
	size       int     // of a chunk
	maxChunks  int
	maxRecords int
	records    int
}

type chunk struct {
	data    []byte // of records: length of what follows, sum of the id, content
	records int
}

const (
	headSize    = 4 + 8
	largeChunk  = 64 << 10
	leastChunks = 8
)

func newJournal(records, bytes int) journal {
	size := max(4<<10, min(largeChunk, bytes/leastChunks))
	return journal{size: size, maxChunks: max(2, bytes/size), maxRecords: max(1, records)}
}

// add appends a record, and reports whether it fits at all.
func (j *journal) add(sum uint64, data []byte) bool {
	need := headSize + len(data)
	if need > j.size {
		return false
	}
	last := len(j.chunks) - 1
	if last < 0 || len(j.chunks[last].data)+need > j.size {
		j.chunks = append(j.chunks, chunk{data: j.room()})
		last = len(j.chunks) - 1
	}
	c := &j.chunks[last]
	c.data = binary.LittleEndian.AppendUint32(c.data, uint32(8+len(data)))
	c.data = binary.LittleEndian.AppendUint64(c.data, sum)
	c.data = append(c.data, data...)
	c.records++
	j.records++
	return true
}

// room returns memory for another chunk: the oldest one's, where there are
// enough.
func (j *journal) room() []byte {
	if len(j.chunks) < j.maxChunks && j.records < j.maxRecords || len(j.chunks) < 2 {
		return make([]byte, 0, j.size)
	}
	oldest := j.chunks[0]
	j.records -= oldest.records
	j.chunks = append(j.chunks[:0], j.chunks[1:]...)
	return oldest.data[:0]
}

// all yields the content of the records with that sum, oldest first; 0 stands
// for any.
func (j *journal) all(sum uint64) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for _, c := range j.chunks {
			for rest := c.data; len(rest) > 0; {
				size := 4 + int(binary.LittleEndian.Uint32(rest))
				if s := binary.LittleEndian.Uint64(rest[4:]); (s == sum || sum == 0) && !yield(rest[headSize:size]) {
					return
				}
				rest = rest[size:]
			}
		}
	}
}
