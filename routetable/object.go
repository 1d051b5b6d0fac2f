package routetable

import (
	"encoding/binary"
	"iter"
	"slices"

	"github.com/meshgw/meshgw/crdt"
)

// The kinds of objects, in the order of a route file.
const (
	KindUpstream = "upstream"
	KindRoute    = "route"
	KindLimit    = "limit"
	KindTenant   = "tenant"
	KindAccess   = "access"
)

// anObject is an Upstream, Route, Limit, Tenant or Access.
type anObject interface {
	kind() string
	name() string
}

// object is a pointer to one.
type object[T any] interface {
	*T
	anObject
}

func (*Upstream) kind() string { return KindUpstream }
func (*Route) kind() string    { return KindRoute }
func (*Limit) kind() string    { return KindLimit }
func (*Tenant) kind() string   { return KindTenant }
func (*Access) kind() string   { return KindAccess }

func (u *Upstream) name() string { return u.Name }
func (r *Route) name() string    { return r.Name }
func (l *Limit) name() string    { return l.Name }
func (t *Tenant) name() string   { return t.Name }
func (a *Access) name() string   { return a.Name }

// lists is objects by kind.
type lists struct {
	upstreams []*Upstream
	routes    []*Route
	stamps    []crdt.Stamp // of the changesets that wrote the routes; none where that is not known
	limits    []*Limit
	tenants   []*Tenant
	access    []*Access
}

// lists returns the objects of s as they are written.
func (s *Spec) lists() lists {
	return lists{
		upstreams: pointers[Upstream](s.Upstreams), routes: pointers[Route](s.Routes),
		limits: pointers[Limit](s.Limits), tenants: pointers[Tenant](s.Tenants),
		access: pointers[Access](s.Access),
	}
}

func pointers[T any, P object[T]](objects []T) []P {
	out := make([]P, len(objects))
	for i := range objects {
		out[i] = &objects[i]
	}
	return out
}

func (l *lists) add(o anObject) {
	switch o := o.(type) {
	case *Upstream:
		l.upstreams = append(l.upstreams, o)
	case *Route:
		l.routes = append(l.routes, o)
	case *Limit:
		l.limits = append(l.limits, o)
	case *Tenant:
		l.tenants = append(l.tenants, o)
	case *Access:
		l.access = append(l.access, o)
	}
}

// all returns every object, by kind as in a route file.
func (l *lists) all(yield func(anObject) bool) {
	_ = each(l.upstreams, yield) && each(l.routes, yield) && each(l.limits, yield) && each(l.tenants, yield) &&
		each(l.access, yield)
}

// sorted returns the objects of s that bad does not hold by kind/name, each kind
// by name, each name once.
func (s *Spec) sorted(bad map[string]bool) lists {
	return lists{
		upstreams: byName[Upstream](s.Upstreams, bad), routes: byName[Route](s.Routes, bad),
		limits: byName[Limit](s.Limits, bad), tenants: byName[Tenant](s.Tenants, bad),
		access: byName[Access](s.Access, bad),
	}
}

// objects returns every object, sorted by kind, as in a route file, and name.
func (s *Spec) objects() iter.Seq[anObject] {
	sorted := s.sorted(nil)
	return sorted.all
}

func each[P anObject](list []P, yield func(anObject) bool) bool {
	return !slices.ContainsFunc(list, func(p P) bool { return !yield(p) })
}

// appendContent appends one object as a digest takes it, unambiguously.
func appendContent(b []byte, kind, name string, data []byte) []byte {
	b = append(binary.BigEndian.AppendUint64(b, uint64(len(kind))), kind...)
	b = append(binary.BigEndian.AppendUint64(b, uint64(len(name))), name...)
	return append(binary.BigEndian.AppendUint64(b, uint64(len(data))), data...)
}
