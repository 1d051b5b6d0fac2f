package replica

import (
	"bytes"
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meshgw/meshgw/crdt"
)

// Digest says what has been seen of each node's changesets, and a sum of all.
func (s *Store) Digest() []byte {
	return s.snapshotState().digest
}

// Delta returns what is held here and missing at the owner of digest; see
// gossip.State.
func (s *Store) Delta(theirs []byte) ([]byte, error) {
	st := s.snapshotState()
	if theirs == nil {
		if len(st.seen) == 0 && len(st.entries) == 0 {
			return nil, nil
		}
		return st.appendWhole(messageHeader()), nil
	}
	d, err := readDigest(theirs)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(theirs, st.digest) {
		return nil, nil
	}
	lacking := false
	for node, version := range st.seen {
		lacking = lacking || d.seen[node] < version
	}
	switch {
	case d.floor.Less(st.floor):
		return st.appendWhole(messageHeader()), nil // objects may have to go there
	case lacking:
		return st.retold.to(theirs, func() []byte {
			wanted := func(stamp crdt.Stamp) bool { return d.seen[stamp.Node] < stamp.Version }
			return st.appendPart(messageHeader(), wanted, d.seen, false)
		}), nil
	case maps.Equal(d.seen, st.seen):
		// Same changesets, other content: a node lost its disk and wrote again.
		return st.appendWhole(messageHeader()), nil
	}
	return nil, nil // they are ahead
}

// Changes returns the changesets that became news here; see gossip.State.
func (s *Store) Changes(limit int) (data []byte, oversized bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	oversized, s.unsent = s.unsent, false
	header := messageHeader()
	b := slices.Clip(header)
	for len(s.news) > 0 {
		size := protowire.SizeTag(2) + protowire.SizeBytes(len(s.news[0].raw))
		if len(header)+size > limit {
			oversized = true // it can only be fetched
		} else if len(b)+size > limit {
			break
		} else {
			b = appendMessage(b, 2, s.news[0].raw)
		}
		s.news = s.news[1:]
	}
	if len(b) == len(header) {
		return nil, oversized
	}
	return b, oversized
}

// Merge joins a Delta or Changes of another node; see gossip.State. What is
// refused is refused whole, with a *WireError.
func (s *Store) Merge(data []byte) error {
	s.merging.Lock()
	defer s.merging.Unlock()
	m, err := s.snapshotState().reader().message(data)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := uint64(maxFirst) - 1
	if newest := s.state.newest().Version; newest > 0 {
		limit = newest + maxJump
	}
	if newest := m.newest(); newest > limit {
		return refuse("too_far_ahead", "version %d, at most %d is believed", newest, limit)
	}
	return s.merge(m, 2)
}

// merge joins m, unless that leads to more than times what a table may have. The
// caller holds mu.
func (s *Store) merge(m message, times int) error {
	next, changed := s.state.clone(), false
	var news []*changeset
	var lost []*entry
	partly := false
	if p := m.part; p != nil && next.coversAll(p.base) {
		known := s.state.history
		changed, lost = next.join(p.state, p.whole)
		for _, c := range next.history {
			if _, old := slices.BinarySearchFunc(known, c, (*changeset).compare); !old {
				news = append(news, c)
			}
		}
		partly = changed && len(news) == 0
	}
	for _, c := range m.changesets {
		switch {
		case next.waiting[c.stamp] != nil:
		case next.coversAll(c.after):
			if next.apply(c) {
				news, changed = append(news, c), true
			}
		case next.mayWait(c):
			next.waiting[c.stamp] = c
			news, changed = append(news, c), true
		}
	}
	if !next.release() && !changed {
		return nil
	}
	if err := next.bounded(times); err != nil {
		return err
	}
	s.lost = append(s.lost, lost...)
	s.unsent = s.unsent || partly
	s.tell(news)
	s.publish(next.seal(), nil)
	return nil
}

// tell queues changesets for Changes. What is too much is for peers to fetch.
func (s *Store) tell(news []*changeset) {
	s.news = append(s.news, news...)
	if n := len(s.news) - maxNews; n > 0 {
		s.news, s.unsent = slices.Clone(s.news[n:]), true
	}
}
