package node

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshgw/meshgw/routetable"
)

// listenersKnown are the names of listeners that a node has, or may have: ok is
// false where one of a version that does not tell is among them.
func (n *Node) listenersKnown() (names []string, ok bool) {
	names = n.cfg.Listen.Names()
	for _, word := range n.roster.Nodes() {
		if word.ID == n.identity.ID {
			continue
		}
		if word.Listeners == "" {
			return nil, false
		}
		names = append(names, strings.Split(word.Listeners, ",")...)
	}
	slices.Sort(names)
	return slices.Compact(names), true
}

// unheard warns of listeners that routes name and no node of the mesh has.
func (n *Node) unheard(routes []routetable.Route) (warnings routetable.Problems) {
	known, ok := n.listenersKnown()
	for i := range routes {
		for j, name := range routes[i].Listeners {
			if ok && !slices.Contains(known, name) {
				warnings = append(warnings, routetable.Problem{
					Severity: routetable.Warning, Path: fmt.Sprintf("routes[%d].listeners[%d]", i, j), Object: "route/" + routes[i].Name,
					Message: fmt.Sprintf("no node has a listener %q: there are %s", name, strings.Join(known, ", ")),
				})
			}
		}
	}
	return warnings
}

// lacks returns what tells of a rule what it needs and cannot have now: of this node,
// or, of its listeners, anywhere. Until it has, it answers nobody, or admits nobody
// that way.
func (n *Node) lacks() func(*routetable.Rule) []string {
	known, ok := n.listenersKnown()
	return func(rule *routetable.Rule) []string {
		all := n.credentials.lacks(rule)
		for _, a := range rule.Auth {
			if a.MTLS != nil && !n.cfg.Listen.AsksClients() {
				all = append(all, "auth admits nobody by mtls: this node has no listen.https.client_ca")
			}
		}
		named := rule.Spec.Listeners
		if ok && len(named) > 0 && !slices.ContainsFunc(named, func(name string) bool { return slices.Contains(known, name) }) {
			all = append(all, "no node has a listener "+strings.Join(named, " or "))
		}
		return all
	}
}
