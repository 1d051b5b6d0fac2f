package node

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/roster"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/replica"
)

// heedfulStore is the table as gossip fills it. It remembers why the last table
// that came was refused, for as long as none was taken since.
type heedfulStore struct {
	*replica.Store
	refused   atomic.Pointer[string] // nil = the last one was taken
	onRefusal func()                 // called when refused is another
}

// Merge implements gossip.State.
func (s *heedfulStore) Merge(data []byte) error {
	err := s.Store.Merge(data)
	if err == nil {
		if s.refused.Swap(nil) != nil {
			s.onRefusal()
		}
		return nil
	}
	why := "refused: " + err.Error()
	if wire, ok := errors.AsType[*replica.WireError](err); ok && wire.Reason == "format" {
		why = "older binary: " + err.Error()
	}
	if before := s.refused.Swap(&why); before == nil || *before != why {
		s.onRefusal()
	}
	return err
}

// held is what is held here and not served.
func (r *routes) held() []replica.Held { return r.serves.Load().held }

// heldOf is what of a table is not served: by the store, and for settings that
// the data plane cannot honour.
func heldOf(store *replica.Store, table *routetable.Table) []replica.Held {
	all := store.Held()
	for _, rule := range table.Rules() {
		if missing := dataplane.Unsupported(rule); len(missing) > 0 {
			all = append(all, replica.Held{
				Object: "route/" + rule.Name, Stamp: rule.Stamp,
				Reason: "it needs what this version cannot do: " + strings.Join(missing, ", "),
			})
		}
	}
	return all
}

// word is what this node tells the mesh of its table.
func (r *routes) word() roster.Routes {
	table, held := r.table(), r.held()
	word := roster.Routes{
		Version: table.Version(), Digest: table.Digest(), AppliedAt: r.appliedAt().UnixMilli(),
		Held: len(held), HeldReason: heldReason(held),
	}
	if refused := r.store.refused.Load(); refused != nil {
		word.Refused = shorten(*refused)
	}
	return word
}

// heldReason names one object and why it is held back, and how many more are.
// What another version of the program took says most about this one.
func heldReason(held []replica.Held) string {
	if len(held) == 0 {
		return ""
	}
	first, why := held[0], "held back"
	for _, h := range held {
		if h.Foreign {
			first, why = h, "older binary"
			break
		}
	}
	text := why + ": "
	if first.Object != "" {
		text += first.Object + ": "
	}
	text = shorten(text + first.Reason)
	if more := len(held) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}

// shorten cuts a text to what each node can tell each other one.
func shorten(text string) string {
	const limit = 240 // bytes; words travel with every change of load
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
