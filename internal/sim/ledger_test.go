package sim

import (
	"fmt"
	"slices"
	"sync"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/routetable"
)

// changeset is what one edit wrote, as a node told it.
type changeset struct {
	stamp   crdt.Stamp
	message string          // names the edit, whatever its stamp
	routes  map[string]bool // by name: written, or else deleted
}

func changesetOf(id, message string, changes []api.Change) (*changeset, error) {
	stamp, err := crdt.ParseStamp(id)
	if err != nil {
		return nil, fmt.Errorf("id of %s: %w", message, err)
	}
	c := &changeset{stamp: stamp, message: message, routes: map[string]bool{}}
	for _, change := range changes {
		if change.Kind == "route" {
			c.routes[change.Name] = change.Op != api.OpDelete
		}
	}
	return c, nil
}

// ledger is all that is known of the edits, from outside.
type ledger struct {
	mu      sync.Mutex // guards the rest
	limit   int        // of edits, so that nodes remember all of them
	edits   int
	known   map[crdt.Stamp][]*changeset // several where a node lost its disk and wrote its old stamp anew
	acked   map[string]*changeset       // by message
	refused map[string]error            // by message
	excused map[string]bool             // acked, and every disk that had it destroyed
}

func newLedger() *ledger {
	return &ledger{
		limit: 45, known: map[crdt.Stamp][]*changeset{}, acked: map[string]*changeset{},
		refused: map[string]error{}, excused: map[string]bool{},
	}
}

// next names a new edit; it reports false when there were enough of them.
func (l *ledger) next() (message string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.edits++
	return fmt.Sprintf("edit %d", l.edits), l.edits <= l.limit
}

func (l *ledger) learn(c *changeset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.ContainsFunc(l.known[c.stamp], func(k *changeset) bool { return k.message == c.message }) {
		l.known[c.stamp] = append(l.known[c.stamp], c)
	}
}

func (l *ledger) acknowledge(c *changeset) {
	l.learn(c)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[c.message] = c
}

func (l *ledger) refuse(message string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused[message] = err
}

// explain says what of table no set of whole changesets explains; nil when it is
// sound. must are changesets that have to be in it.
func (l *ledger) explain(table *routetable.Table, must []*changeset) error {
	have := map[string]crdt.Stamp{}
	for _, r := range table.Rules() {
		have[r.Name] = r.Stamp
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, stamp := range have {
		versions := l.known[stamp]
		if len(versions) == 0 {
			return fmt.Errorf("route %s is of %s, which nobody wrote", name, stamp)
		}
		var err error
		if !slices.ContainsFunc(versions, func(c *changeset) bool { err = l.whole(have, c); return err == nil }) {
			return err
		}
	}
	for _, c := range must {
		if err := l.whole(have, c); err != nil {
			return fmt.Errorf("acknowledged here: %w", err)
		}
	}
	return nil
}

// whole reports what of c is neither among the routes that a table has nor
// overtaken.
func (l *ledger) whole(have map[string]crdt.Stamp, c *changeset) error {
	for name, written := range c.routes {
		stamp, there := have[name]
		switch {
		case there && stamp.Less(c.stamp):
			return fmt.Errorf("%s (%s) changed route %s, which is still of %s", c.message, c.stamp, name, stamp)
		case there && !written && stamp == c.stamp && len(l.known[stamp]) == 1:
			return fmt.Errorf("%s (%s) deleted route %s, which is there", c.message, c.stamp, name)
		case !there && written && !l.deletedAfter(name, c.stamp):
			return fmt.Errorf("%s (%s) wrote route %s, which is missing though nobody deleted it since", c.message, c.stamp, name)
		}
	}
	return nil
}

func (l *ledger) deletedAfter(name string, after crdt.Stamp) bool {
	for stamp, versions := range l.known {
		if stamp.Less(after) {
			continue
		}
		for _, c := range versions {
			if written, touched := c.routes[name]; touched && !written {
				return true
			}
		}
	}
	return false
}
