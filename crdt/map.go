package crdt

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/encoding/protowire"
)

// A Refusal is why Merge or Delta refused its argument.
type Refusal struct{ kind, text string }

// Error implements error.
func (r *Refusal) Error() string { return r.text }

// Kind returns the refusal in one word, fit for a metric's label.
func (r *Refusal) Kind() string { return r.kind }

// Errors of Merge and Delta. A message is accepted or refused as a whole.
var (
	ErrMalformed   = &Refusal{"malformed", "malformed"}
	ErrTooMany     = &Refusal{"too_many", "more entries than allowed"}
	ErrTooLarge    = &Refusal{"too_big", "larger than allowed"}
	ErrTooFarAhead = &Refusal{"too_far_ahead", "version too far ahead"}
)

// Bounds limit what a Map takes from others, so that nothing from the wire can
// grow it without end.
type Bounds struct {
	Entries int // living keys
	Graves  int // deleted keys remembered so that they stay deleted
	Key     int // bytes
	Value   int // bytes
	Bytes   int // of all living values together; 0 = no bound but those above
}

// Versions are accepted up to firstVersions, and so much after the newest that is
// known: an owner must always be able to outbid what is forged in its name, and be
// accepted. A node that has just started accepts more, so that it can join a mesh in
// which that was tried. The owners' versions begin at 1<<32 for each time that
// they were started.
const (
	firstVersions = 1 << 56
	versionJump   = 1 << 32
)

// A Map is a replicated map of opaque values. Each key has one writer, its
// owner, whose versions count up; the highest version of a key wins, and should
// one version come with two values, the greater bytes do, so that all copies
// agree even when two nodes believe they own the same key. Anybody may Forget a
// key, which beats the value it forgets and nothing newer.
//
// A Map satisfies gossip.State but for its Merge, which also returns what changed.
// Its methods may be called from several goroutines at once.
type Map struct {
	bounds Bounds
	check  func(key string, value []byte) error

	mu      sync.Mutex // guards the rest
	entries map[string]entry
	living  int
	bytes   int                 // of living values
	newest  uint64              // version ever seen
	heard   bool                // something was merged
	news    []string            // keys whose entry has yet to be told, oldest first
	inNews  map[string]struct{} // the same keys
	digest  []byte              // nil when entries changed since it was made
}

type entry struct {
	version uint64
	gone    bool
	value   []byte // never written to again
	sum     uint32 // of value; tells apart two values that came with one version
}

func newEntry(version uint64, value []byte) entry {
	return entry{version: version, value: value, sum: uint32(xxhash.Sum64(value))} //nolint:gosec // the lower half will do
}

// beats reports whether e replaces o; a total order, so that merging is a join.
func (e entry) beats(o entry) bool {
	if c := cmp.Compare(e.version, o.version); c != 0 {
		return c > 0
	}
	if e.gone != o.gone {
		return e.gone
	}
	return bytes.Compare(e.value, o.value) > 0
}

// NewMap returns an empty Map. check refuses values that cannot be read here; it
// sees only values that came from others.
func NewMap(bounds Bounds, check func(key string, value []byte) error) *Map {
	return &Map{bounds: bounds, check: check, entries: map[string]entry{}, inNews: map[string]struct{}{}}
}

// Put writes value under key with a version above floor and above every version
// of the key seen so far, and reports whether the value is another than before.
// Putting the same value again changes nothing. value is kept.
func (m *Map) Put(key string, floor uint64, value []byte) (changed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.entries[key]
	if ok && !old.gone && old.version > floor && bytes.Equal(old.value, value) {
		return false
	}
	m.set(key, newEntry(max(floor, old.version)+1, value))
	return true
}

// Forget deletes key everywhere. A newer version of it, had its owner written
// one, survives.
func (m *Map) Forget(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.entries[key]; ok && !old.gone {
		m.set(key, entry{version: old.version, gone: true})
		m.dropGraves()
	}
}

// Get returns the value of key, which must not be written to.
func (m *Map) Get(key string) (value []byte, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[key]
	return e.value, ok && !e.gone
}

// Version returns the version of key, deleted or not; 0 for a key never seen.
func (m *Map) Version(key string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.entries[key].version
}

// All yields the living keys in order, and their values, as they were when it
// was called.
func (m *Map) All() iter.Seq2[string, []byte] {
	m.mu.Lock()
	snapshot := maps.Clone(m.entries)
	m.mu.Unlock()
	return func(yield func(string, []byte) bool) {
		for _, key := range slices.Sorted(maps.Keys(snapshot)) {
			if e := snapshot[key]; !e.gone && !yield(key, e.value) {
				return
			}
		}
	}
}

// set stores e, which beats what is there, as news.
func (m *Map) set(key string, e entry) {
	if old, ok := m.entries[key]; ok && !old.gone {
		m.living--
		m.bytes -= len(old.value)
	}
	if !e.gone {
		m.living++
		m.bytes += len(e.value)
	}
	m.entries[key] = e
	m.newest = max(m.newest, e.version)
	m.digest = nil
	if _, ok := m.inNews[key]; !ok {
		m.inNews[key] = struct{}{}
		m.news = append(m.news, key)
	}
}

// dropGraves keeps the greatest graves by (version, key): a choice that depends
// on the set alone, so that all copies make the same.
func (m *Map) dropGraves() {
	surplus := len(m.entries) - m.living - m.bounds.Graves
	if surplus <= 0 {
		return
	}
	var graves []string
	for key, e := range m.entries {
		if e.gone {
			graves = append(graves, key)
		}
	}
	slices.SortFunc(graves, func(a, b string) int {
		return cmp.Or(cmp.Compare(m.entries[a].version, m.entries[b].version), cmp.Compare(a, b))
	})
	for _, key := range graves[:surplus] {
		delete(m.entries, key)
	}
}

// Merge joins data, what Delta or Changes of another copy returned, and returns
// the keys whose entry is another than before. An error means that nothing was
// merged.
func (m *Map) Merge(data []byte) (changed []string, err error) {
	incoming, err := m.decode(data)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fits(incoming); err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(incoming)) {
		old, ok := m.entries[key]
		if e := incoming[key]; !ok || e.beats(old) {
			m.set(key, e)
			changed = append(changed, key)
		}
	}
	m.dropGraves()
	m.heard = true
	return changed, nil
}

// fits reports why incoming is more than is taken.
func (m *Map) fits(incoming map[string]entry) error {
	limit := max(uint64(firstVersions), m.newest+versionJump)
	if !m.heard {
		limit = 4 * firstVersions
	}
	grown, bytes := 0, 0
	for key, e := range incoming {
		if e.version > limit {
			return fmt.Errorf("version %d of %q, at most %d is believed: %w", e.version, key, limit, ErrTooFarAhead)
		}
		old, ok := m.entries[key]
		if !ok && !e.gone {
			grown++
		}
		if !ok || e.beats(old) {
			bytes += len(e.value) - len(old.value)
		}
	}
	switch {
	case grown > 0 && m.living+grown > m.bounds.Entries:
		return fmt.Errorf("%d keys: %w", m.living+grown, ErrTooMany)
	case bytes > 0 && m.bounds.Bytes > 0 && m.bytes+bytes > m.bounds.Bytes:
		return fmt.Errorf("%d bytes: %w", m.bytes+bytes, ErrTooLarge)
	}
	return nil
}

// Digest lists every key with its version: equal copies give equal digests.
func (m *Map) Digest() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.digest == nil {
		b := []byte{}
		for _, key := range slices.Sorted(maps.Keys(m.entries)) {
			e := m.entries[key]
			b = appendRecord(b, record{key: key, version: e.version, gone: e.gone, sum: e.sum})
		}
		m.digest = b
	}
	return m.digest
}

// Delta returns what is missing in the copy that digest is of, or may be older
// there; nil when that is nothing. A nil digest asks for everything.
func (m *Map) Delta(digest []byte) ([]byte, error) {
	theirs := map[string]record{}
	for r, err := range records(digest) {
		if err != nil {
			return nil, fmt.Errorf("read digest: %w", err)
		}
		if len(theirs) >= 2*(m.bounds.Entries+m.bounds.Graves) { // a peer's bounds may be wider
			return nil, fmt.Errorf("read digest: %w", ErrTooMany)
		}
		theirs[r.key] = r
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var b []byte
	for _, key := range slices.Sorted(maps.Keys(m.entries)) {
		e := m.entries[key]
		t, ok := theirs[key]
		same := t.version == e.version && t.gone == e.gone && t.sum == e.sum
		if !ok || e.version >= t.version && !same {
			b = appendRecord(b, e.record(key))
		}
	}
	return b, nil
}

// Changes returns what is news since the last call, oldest first, in at most
// limit bytes; nil when nothing is left. An entry too large for limit is left
// out and oversized is true.
func (m *Map) Changes(limit int) (data []byte, oversized bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.news) > 0 {
		key := m.news[0]
		if e, ok := m.entries[key]; ok {
			grown := appendRecord(data, e.record(key))
			switch {
			case len(grown) <= limit:
				data = grown
			case len(data) > 0:
				return data, oversized
			default:
				oversized = true
			}
		}
		m.news = m.news[1:]
		delete(m.inNews, key)
	}
	return data, oversized
}

// decode reads what Merge was given, all of it or nothing.
func (m *Map) decode(data []byte) (map[string]entry, error) {
	incoming := map[string]entry{}
	for r, err := range records(data) {
		if err != nil {
			return nil, err
		}
		switch {
		case len(r.key) > m.bounds.Key:
			return nil, fmt.Errorf("key of %d bytes: %w", len(r.key), ErrTooLarge)
		case len(r.value) > m.bounds.Value:
			return nil, fmt.Errorf("value of %d bytes: %w", len(r.value), ErrTooLarge)
		case len(incoming) >= m.bounds.Entries+m.bounds.Graves:
			return nil, ErrTooMany
		}
		e := entry{version: r.version, gone: true}
		if !r.gone {
			e = newEntry(r.version, bytes.Clone(r.value))
			if err := m.check(r.key, e.value); err != nil {
				return nil, fmt.Errorf("value of %q: %w", r.key, err)
			}
		}
		if old, ok := incoming[r.key]; !ok || e.beats(old) {
			incoming[r.key] = e
		}
	}
	return incoming, nil
}

func (e entry) record(key string) record {
	return record{key: key, version: e.version, gone: e.gone, value: e.value}
}

// A record is an entry on the wire: with its value in changes and deltas, with
// the sum of its value in digests. A message is a sequence of records, each a
// protobuf message in field 1; fields of a newer version are skipped.
type record struct {
	key     string
	version uint64
	gone    bool
	value   []byte
	sum     uint32
}

const (
	fieldRecord = 1

	fieldKey     = 1
	fieldVersion = 2
	fieldGone    = 3
	fieldValue   = 4
	fieldSum     = 5
)

func appendRecord(b []byte, r record) []byte {
	var m []byte
	m = protowire.AppendTag(m, fieldKey, protowire.BytesType)
	m = protowire.AppendString(m, r.key)
	m = protowire.AppendTag(m, fieldVersion, protowire.VarintType)
	m = protowire.AppendVarint(m, r.version)
	if r.gone {
		m = protowire.AppendTag(m, fieldGone, protowire.VarintType)
		m = protowire.AppendVarint(m, 1)
	}
	if len(r.value) > 0 {
		m = protowire.AppendTag(m, fieldValue, protowire.BytesType)
		m = protowire.AppendBytes(m, r.value)
	}
	if r.sum != 0 {
		m = protowire.AppendTag(m, fieldSum, protowire.Fixed32Type)
		m = protowire.AppendFixed32(m, r.sum)
	}
	b = protowire.AppendTag(b, fieldRecord, protowire.BytesType)
	return protowire.AppendBytes(b, m)
}

// records yields the records of data, and an error in place of the first that is
// malformed.
func records(data []byte) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		for len(data) > 0 {
			num, typ, n := protowire.ConsumeTag(data)
			if n < 0 {
				yield(record{}, ErrMalformed)
				return
			}
			size := protowire.ConsumeFieldValue(num, typ, data[n:])
			if size < 0 {
				yield(record{}, ErrMalformed)
				return
			}
			field := data[n : n+size]
			data = data[n+size:]
			if num != fieldRecord || typ != protowire.BytesType {
				continue
			}
			m, _ := protowire.ConsumeBytes(field)
			r, err := parseRecord(m)
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

func parseRecord(m []byte) (r record, err error) {
	for len(m) > 0 {
		num, typ, n := protowire.ConsumeTag(m)
		if n < 0 {
			return r, ErrMalformed
		}
		size := protowire.ConsumeFieldValue(num, typ, m[n:])
		if size < 0 {
			return r, ErrMalformed
		}
		field := m[n : n+size]
		m = m[n+size:]
		switch {
		case num == fieldKey && typ == protowire.BytesType:
			b, _ := protowire.ConsumeBytes(field)
			r.key = string(b)
		case num == fieldVersion && typ == protowire.VarintType:
			r.version, _ = protowire.ConsumeVarint(field)
		case num == fieldGone && typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(field)
			r.gone = v != 0
		case num == fieldValue && typ == protowire.BytesType:
			r.value, _ = protowire.ConsumeBytes(field)
		case num == fieldSum && typ == protowire.Fixed32Type:
			r.sum, _ = protowire.ConsumeFixed32(field)
		}
	}
	if r.key == "" || !utf8.ValidString(r.key) || r.version == 0 {
		return r, ErrMalformed
	}
	return r, nil
}
