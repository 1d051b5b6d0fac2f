package routetable

import (
	"encoding/binary"
	"hash"
	"iter"
	"slices"
)

// The kinds of objects, in the order of a route file.
const (
	kindUpstream = "upstream"
	kindRoute    = "route"
	kindLimit    = "limit"
	kindTenant   = "tenant"
)

// anObject is an Upstream, Route, Limit or Tenant.
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

func (u *Upstream) name() string { return u.Name }
func (r *Route) name() string    { return r.Name }
func (l *Limit) name() string    { return l.Name }
func (t *Tenant) name() string   { return t.Name }

// objects gives every object, sorted by kind, as in a route file, and name.
func (s *Spec) objects() iter.Seq[anObject] {
	return func(yield func(anObject) bool) {
		_ = each(byName[Upstream](s.Upstreams, nil), yield) &&
			each(byName[Route](s.Routes, nil), yield) &&
			each(byName[Limit](s.Limits, nil), yield) &&
			each(byName[Tenant](s.Tenants, nil), yield)
	}
}

func each[P anObject](list []P, yield func(anObject) bool) bool {
	return !slices.ContainsFunc(list, func(p P) bool { return !yield(p) })
}

// writeContent adds one object to a digest, unambiguously.
func writeContent(h hash.Hash, kind, name string, data []byte) {
	var length [8]byte
	for _, part := range [][]byte{[]byte(kind), []byte(name), data} {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write(part)
	}
}
