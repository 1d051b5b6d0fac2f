package sim

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/crdt"
)

// settle ends all faults and holds the mesh to what it promises then.
func (w *world) settle() {
	w.story.tell("all faults end")
	w.calm()
	for _, m := range w.machines {
		m.mendDisk()
		m.slow = 0
		m.at().Slow(0)
		m.off = false
	}
	clear(w.cuts)
	w.recut()
	for _, m := range w.machines {
		if m.boot == nil {
			w.raise(m)
		}
	}
	if !w.within(20*time.Second, "all see all", w.wholeViews) ||
		!w.within(5*time.Second, "all tables are equal", w.equalTables) ||
		!w.within(10*time.Second, "all disks are equal", w.equalDisks) ||
		!w.within(5*time.Second, "all know what all serve", w.noDrift) {
		return
	}
	w.finalHistory()
}

// wholeViews says who does not see all nodes where they are.
func (w *world) wholeViews() error {
	for _, m := range w.machines {
		if ready, why := m.boot.node.Ready(); !ready {
			return fmt.Errorf("%s is not ready: %s", m.name, why)
		}
		at, all := map[string]string{}, m.boot.node.Mesh().Members
		for _, member := range all {
			if member.Status == api.MemberAlive {
				at[member.Node.Name] = member.Address
			}
		}
		for _, o := range w.machines {
			if want := net.JoinHostPort(o.ip, gossipPort); at[o.name] != want {
				return fmt.Errorf("%s sees %s at %q, not at %s; of %+v", m.name, o.name, at[o.name], want, all)
			}
		}
		if len(at) != len(w.machines) {
			return fmt.Errorf("%s sees %d nodes alive, not %d", m.name, len(at), len(w.machines))
		}
	}
	return nil
}

func (w *world) equalTables() error {
	first := w.machines[0].boot.node.Table()
	for _, m := range w.machines[1:] {
		if table := m.boot.node.Table(); table.Stamp() != first.Stamp() || table.Digest() != first.Digest() {
			return fmt.Errorf("%s serves %s %.12s, %s serves %s %.12s", w.machines[0].name, first.Stamp(), first.Digest(), m.name, table.Stamp(), table.Digest())
		}
	}
	return nil
}

// equalDisks says who would start from another table.
func (w *world) equalDisks() error {
	var first []byte
	for i, m := range w.machines {
		data := m.stored().Snapshot()
		if i == 0 {
			first = data
		} else if !bytes.Equal(data, first) {
			return fmt.Errorf("%s and %s hold different snapshots, %d and %d bytes", w.machines[0].name, m.name, len(first), len(data))
		}
	}
	return nil
}

// noDrift says who believes that somebody serves another table than it does.
func (w *world) noDrift() error {
	for _, m := range w.machines {
		table := m.boot.node.Table()
		for _, member := range m.boot.node.Mesh().Members {
			if r := member.Routes; r.Version != table.Version() || r.Digest != table.Digest() {
				return fmt.Errorf("%s believes that %s serves %d %.12s", m.name, member.Node.Name, r.Version, r.Digest)
			}
		}
		if status := m.boot.node.Status(); len(status.Drift.Nodes) > 0 || status.Isolated {
			return fmt.Errorf("%s sees drift %+v, isolated %v", m.name, status.Drift.Nodes, status.Isolated)
		}
	}
	return nil
}

// finalHistory holds what is remembered against what was answered, and what is
// served against what is remembered.
func (w *world) finalHistory() {
	m := w.machines[rand.New(rand.NewPCG(w.scenario.seed, 0)).IntN(len(w.machines))]
	history, err := m.boot.history()
	if err != nil {
		w.story.fail("%s does not tell its history: %v", m.name, err)
		return
	}
	there := map[string]bool{}
	for _, c := range history {
		there[c.message] = true
	}
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	for message := range w.ledger.acked {
		if !there[message] && !w.ledger.excused[message] {
			w.story.fail("%s was acknowledged and is not in the history of %s", message, m.name)
		}
	}
	for message := range w.ledger.refused {
		if there[message] {
			w.story.fail("%s was refused and is in the history of %s", message, m.name)
		}
	}
	if err := m.servesNewest(history); err != nil {
		w.story.fail("%s: %v", m.name, err)
	}
}

// servesNewest replays history: of each route the newest write must be served,
// and nothing that was deleted since. Two writes of one stamp, of a node that
// lost its disk between, may win either way.
func (m *machine) servesNewest(history []*changeset) error {
	slices.SortFunc(history, func(a, b *changeset) int { return a.stamp.Compare(b.stamp) })
	type end struct {
		stamp              crdt.Stamp
		written, ambiguous bool
	}
	ends := map[string]end{}
	for _, c := range history {
		for name, written := range c.routes {
			old, seen := ends[name]
			ends[name] = end{c.stamp, written, seen && old.stamp == c.stamp}
		}
	}
	served := map[string]crdt.Stamp{}
	for _, r := range m.boot.node.Table().Rules() {
		served[r.Name] = r.Stamp
	}
	var errs []error
	for name, e := range ends {
		stamp, there := served[name]
		if !e.ambiguous && (there != e.written || there && stamp != e.stamp) {
			errs = append(errs, fmt.Errorf("route %s was last touched by %s (written: %v), served is %q", name, e.stamp, e.written, stamp))
		}
		delete(served, name)
	}
	for name, stamp := range served {
		errs = append(errs, fmt.Errorf("route %s of %s is served and in no history", name, stamp))
	}
	return errors.Join(errs...)
}
