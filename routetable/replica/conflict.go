package replica

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/routetable"
)

// Conflict reports two different writes that replaced the same one: neither
// author had seen the other's. All nodes that hold the same history tell the
// same conflicts.
type Conflict struct {
	Kind, Name    string
	Winner, Loser crdt.Stamp
	WinnerData    json.RawMessage // nil = deleted
	LoserData     json.RawMessage // nil = deleted

	// Resolved says that the object was written again by somebody who had seen
	// both.
	Resolved bool
}

// Conflicts returns the conflicts among the changesets of the history.
func (s *Store) Conflicts() []Conflict { return s.snapshotState().conflicts() }

// fork is where writes of one object part: all replaced the same one.
type fork struct {
	routetable.ID
	replaced crdt.Stamp
}

// findConflicts finds the forks in the history, by the order of the winners.
func (s *state) findConflicts() []Conflict {
	if s.successive() {
		return nil // as nearly always: nobody wrote without having seen the rest
	}
	branches := map[fork][]write{}
	after := map[crdt.Stamp]map[string]uint64{}
	var parted []fork
	for _, c := range s.history {
		after[c.stamp] = c.after
		for _, w := range c.writes {
			f := fork{w.ID, w.replaced}
			if branches[f] = append(branches[f], w); len(branches[f]) == 2 {
				parted = append(parted, f)
			}
		}
	}
	var out []Conflict
	for _, f := range parted {
		winner := slices.MaxFunc(branches[f], func(a, b write) int { return tip(branches, a).Compare(tip(branches, b)) })
		seen := map[string]uint64{}
		if e := s.entries[f.ID]; e != nil {
			seen = after[e.stamp]
		}
		for _, loser := range branches[f] {
			if loser.stamp == winner.stamp || loser.deleted() == winner.deleted() && bytes.Equal(loser.data, winner.data) {
				continue
			}
			out = append(out, Conflict{
				Kind: f.Kind, Name: f.Name, Winner: winner.stamp, Loser: loser.stamp,
				WinnerData: winner.data, LoserData: loser.data,
				Resolved: seen[winner.stamp.Node] >= winner.stamp.Version && seen[loser.stamp.Node] >= loser.stamp.Version,
			})
		}
	}
	return out
}

// successive reports whether the author of each changeset in the history had seen
// all before it.
func (s *state) successive() bool {
	for i, c := range s.history {
		for _, before := range s.history[:i] {
			if c.after[before.stamp.Node] < before.stamp.Version {
				return false
			}
		}
	}
	return true
}

// tip is the newest write that goes back to w: the branch with the newest holds.
func tip(branches map[fork][]write, w write) crdt.Stamp {
	newest := w.stamp
	for _, next := range branches[fork{w.ID, w.stamp}] {
		if t := tip(branches, next); newest.Less(t) {
			newest = t
		}
	}
	return newest
}
