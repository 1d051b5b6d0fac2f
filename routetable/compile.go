package routetable

import (
	"slices"

	"github.com/meshgw/meshgw/crdt"
)

// Compile makes spec ready to serve. It gives the same table whatever the order
// of spec's objects. An object with an error of its own is left out of the
// table; a route whose upstream is missing is in it, and Broken. The problems
// are those of Validate. spec must not change afterwards.
func Compile(spec *Spec) (*Table, Problems) {
	problems := Validate(spec)
	sound := spec.sorted(faulty(problems))
	return new(Table).Next(sound, crdt.Stamp{}, Digest(canonicalJSON(sound))), problems
}

// compiler builds one Table. What old has of the same objects is taken from it.
type compiler struct {
	*Table
	old *Table

	// What most rules have, held once.
	alone map[string][]Target // of one upstream, with its timeouts
	none  *conditions
}

// Next compiles the table that comes after t, of objects that have passed the checks
// of their own fields, each kind sorted by name. What t has of the same objects is
// taken from it: they never change, so what was made of one holds in every table
// where what it refers to is the same. stamp and digest are what the methods of those
// names return.
func (t *Table) Next(o Objects, stamp crdt.Stamp, digest string) *Table {
	c := compiler{
		Table: &Table{
			stamp: stamp, digest: digest,
			serviceByName: make(map[string]*Service, len(o.Upstreams)), limitByName: make(map[string]*LimitRule, len(o.Limits)),
			rules: make([]*Rule, 0, len(o.Routes)),
		},
		old: t, alone: make(map[string][]Target, len(o.Upstreams)), none: new(conditions),
	}
	for _, u := range o.Upstreams {
		s := t.serviceByName[u.Name]
		if s == nil || s.Spec != u {
			s = service(u)
		}
		c.services = append(c.services, s)
		c.serviceByName[u.Name] = s
		c.alone[u.Name] = []Target{{s, defaultWeight, s.Timeouts}}
	}
	for i, l := range o.Limits {
		r := t.limitByName[l.Name]
		if r == nil || r.Spec != l || r.Index != i {
			r = limitRule(l)
			r.Index = i
		}
		c.limits = append(c.limits, r)
		c.limitByName[l.Name] = r
	}
	for i, tenant := range o.Tenants {
		r := tenantRule(tenant)
		r.Index = i
		c.tenants = append(c.tenants, r)
	}
	c.tenantBy = indexTenants(c.tenants)
	c.access = accessRule(o.Access)
	changed := c.makeRules(o.Routes, o.Stamps)
	c.hosts = indexHosts(c.rules, changed, t.hosts)
	return c.Table
}

// makeRules takes the rules that old has over, makes the others, and returns those
// that only one of the tables has. Both lists are sorted by name.
func (c *compiler) makeRules(routes []*Route, stamps []crdt.Stamp) (changed []*Rule) {
	old := c.old.rules
	for i, route := range routes {
		for len(old) > 0 && old[0].Name < route.Name {
			changed, old = append(changed, old[0]), old[1:]
		}
		if len(old) > 0 && old[0].Spec == route && c.resolvesAlike(route) {
			c.rules, old = append(c.rules, old[0]), old[1:]
			continue
		}
		r := c.rule(route)
		r.Index = -1
		if stamps != nil {
			r.Stamp = stamps[i]
		}
		c.rules, changed = append(c.rules, r), append(changed, r)
	}
	c.number()
	return append(changed, old...)
}

// number gives each rule without an index one that no other has. Those of the old
// table keep theirs.
func (c *compiler) number() {
	taken := make([]bool, max(len(c.rules), c.old.places))
	for _, r := range c.rules {
		if r.Index >= 0 {
			taken[r.Index] = true
		}
	}
	free := 0
	for _, r := range c.rules {
		if r.Index < 0 {
			for taken[free] {
				free++
			}
			r.Index = free
			free++
		}
		c.places = max(c.places, r.Index+1)
	}
}

// resolvesAlike reports whether all that a route refers to is as in the old table.
func (c *compiler) resolvesAlike(r *Route) bool {
	upstream := func(name string) bool { return c.serviceByName[name] == c.old.serviceByName[name] }
	return upstream(r.Upstream) && (r.Mirror == nil || upstream(r.Mirror.Upstream)) &&
		!slices.ContainsFunc(r.Split, func(s Split) bool { return !upstream(s.Upstream) }) &&
		!slices.ContainsFunc(r.Limits, func(name string) bool { return c.limitByName[name] != c.old.limitByName[name] })
}

// faulty returns the objects that have errors. What refers to a missing object has
// none of its own.
func faulty(problems Problems) map[ID]bool {
	bad := map[ID]bool{}
	for i := range problems {
		if p := &problems[i]; p.Severity == Error && p.Object != "" && !p.between {
			bad[ParseID(p.Object)] = true
		}
	}
	return bad
}
