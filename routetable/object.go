package routetable

import (
	"encoding/binary"
	"iter"
	"slices"
)

// The kinds of objects, in the order of a route file.
const (
	kindUpstream = "upstream"
	kindRoute    = "route"
	kindLimit    = "limit"
	kindTenant   = "tenant"
	kindAccess   = "access"
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

func (*Upstream) kind() string { return kindUpstream }
func (*Route) kind() string    { return kindRoute }
func (*Limit) kind() string    { return kindLimit }
func (*Tenant) kind() string   { return kindTenant }
func (*Access) kind() string   { return kindAccess }

func (u *Upstream) name() string { return u.Name }
func (r *Route) name() string    { return r.Name }
func (l *Limit) name() string    { return l.Name }
func (t *Tenant) name() string   { return t.Name }
func (a *Access) name() string   { return a.Name }

// sorted is objects by kind, each kind by name, each name once.
type sorted struct {
	upstreams []*Upstream
	routes    []*Route
	limits    []*Limit
	tenants   []*Tenant
	access    []*Access
}

// sorted returns the objects of s that bad does not hold, by kind/name.
func (s *Spec) sorted(bad map[string]bool) sorted {
	return sorted{
		upstreams: byName[Upstream](s.Upstreams, bad), routes: byName[Route](s.Routes, bad),
		limits: byName[Limit](s.Limits, bad), tenants: byName[Tenant](s.Tenants, bad),
		access: byName[Access](s.Access, bad),
	}
}

// objects gives every object, sorted by kind, as in a route file, and name.
func (s *Spec) objects() iter.Seq[anObject] {
	all := s.sorted(nil)
	return func(yield func(anObject) bool) {
		_ = each(all.upstreams, yield) && each(all.routes, yield) && each(all.limits, yield) && each(all.tenants, yield) &&
			each(all.access, yield)
	}
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
