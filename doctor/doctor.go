package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meshgw/meshgw/api"
)

// Round is what one node gathered from all.
type Round struct {
	Node    string    // that asked
	Now     time.Time // by its clock
	Answers []Answer
	Silent  []Silent
}

// Answer is the facts of a node, with when it was asked and had answered by the
// clock of who asked.
type Answer struct {
	Facts
	Asked, Answered time.Time
}

// Silent is a node that did not answer, and what gossip had told of it before.
type Silent struct {
	Name, Region string
	Status       string // as Serf has it
	Reason       string
	Descriptors  float64 // share of its file descriptors in use; 0 = unknown
}

// Judge goes through the checklist.
func Judge(r Round) api.Diagnosis {
	slices.SortFunc(r.Answers, func(a, b Answer) int { return cmp.Compare(a.Node, b.Node) })
	d := api.Diagnosis{
		Node: r.Node, Time: r.Now, OK: true, Nodes: []string{}, Unanswered: []api.Unanswered{},
		Checks: []api.Check{r.routes(), r.upstreams(), r.members(), r.load(), r.failures(), r.certificates(), r.traffic()},
	}
	for _, a := range r.Answers {
		d.Nodes = append(d.Nodes, a.Node)
	}
	for _, s := range r.Silent {
		d.Unanswered = append(d.Unanswered, api.Unanswered{Node: s.Name, Reason: s.Reason})
	}
	for i := range d.Checks {
		c := &d.Checks[i]
		c.OK = len(c.Findings) == 0
		d.OK = d.OK && c.OK
		c.Findings, c.Notes = bounded(c.Findings), bounded(c.Notes)
	}
	return d
}

// mostFindings of a line are shown: who has more looks into the first ones.
const mostFindings = 20

// bounded is never nil, and says how many it leaves out.
func bounded(all []api.Finding) []api.Finding {
	if more := len(all) - mostFindings; more > 0 {
		all = append(all[:mostFindings:mostFindings], api.Finding{What: fmt.Sprintf("and %d more", more), Next: all[mostFindings].Next})
	}
	for i := range all {
		if all[i].Nodes == nil {
			all[i].Nodes = []string{}
		}
	}
	return append([]api.Finding{}, all...)
}

// groups collects findings that are alike but for the node.
type groups[K comparable] struct {
	keys  []K
	nodes map[K][]string
	since map[K]time.Time
}

func (g *groups[K]) add(key K, node string, since time.Time) {
	if g.nodes == nil {
		g.nodes, g.since = map[K][]string{}, map[K]time.Time{}
	}
	if _, known := g.nodes[key]; !known {
		g.keys = append(g.keys, key)
	}
	if !slices.Contains(g.nodes[key], node) {
		g.nodes[key] = append(g.nodes[key], node)
	}
	if before := g.since[key]; !since.IsZero() && (before.IsZero() || since.Before(before)) {
		g.since[key] = since
	}
}

// of counts things, in the singular or plural.
func of(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// list names some and counts the rest.
func list(names []string) string {
	const most = 6
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

func short(digest string) string { return digest[:min(len(digest), 12)] }

// agrees picks the verb for n.
func agrees(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
