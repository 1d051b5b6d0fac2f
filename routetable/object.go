package routetable

import (
	"cmp"
	"slices"
	"strings"

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

// Kinds returns the kinds of objects, in the order of a route file.
func Kinds() []string { return []string{KindUpstream, KindRoute, KindLimit, KindTenant, KindAccess} }

// ID names an object.
type ID struct{ Kind, Name string }

// ParseID reads KIND/NAME, as String writes it. Whether there is such a kind it does
// not ask.
func ParseID(text string) ID {
	kind, name, _ := strings.Cut(text, "/")
	return ID{kind, name}
}

// String returns KIND/NAME.
func (id ID) String() string { return id.Kind + "/" + id.Name }

// Compare orders by kind, then name.
func (id ID) Compare(o ID) int {
	return cmp.Or(strings.Compare(id.Kind, o.Kind), strings.Compare(id.Name, o.Name))
}

// Object is an *Upstream, *Route, *Limit, *Tenant or *Access.
type Object interface {
	ID() ID
}

// NewObject returns an empty object of that kind; nil where there is no such kind.
func NewObject(kind string) Object {
	switch kind {
	case KindUpstream:
		return new(Upstream)
	case KindRoute:
		return new(Route)
	case KindLimit:
		return new(Limit)
	case KindTenant:
		return new(Tenant)
	case KindAccess:
		return new(Access)
	}
	return nil
}

// ID implements Object.
func (u *Upstream) ID() ID { return ID{KindUpstream, u.Name} }

// ID implements Object.
func (r *Route) ID() ID { return ID{KindRoute, r.Name} }

// ID implements Object.
func (l *Limit) ID() ID { return ID{KindLimit, l.Name} }

// ID implements Object.
func (t *Tenant) ID() ID { return ID{KindTenant, t.Name} }

// ID implements Object.
func (a *Access) ID() ID { return ID{KindAccess, a.Name} }

// object is a pointer to one.
type object[T any] interface {
	*T
	Object
}

// Objects are those of a table, by kind.
type Objects struct {
	Upstreams []*Upstream
	Routes    []*Route
	Stamps    []crdt.Stamp // of the changesets that wrote the Routes; none where that is not known
	Limits    []*Limit
	Tenants   []*Tenant
	Access    []*Access
}

// Add appends an object to those of its kind.
func (os *Objects) Add(o Object) {
	switch o := o.(type) {
	case *Upstream:
		os.Upstreams = append(os.Upstreams, o)
	case *Route:
		os.Routes = append(os.Routes, o)
	case *Limit:
		os.Limits = append(os.Limits, o)
	case *Tenant:
		os.Tenants = append(os.Tenants, o)
	case *Access:
		os.Access = append(os.Access, o)
	}
}

// All yields every object, by kind as in a route file.
func (os *Objects) All(yield func(Object) bool) {
	_ = each(os.Upstreams, yield) && each(os.Routes, yield) && each(os.Limits, yield) && each(os.Tenants, yield) &&
		each(os.Access, yield)
}

func each[P Object](list []P, yield func(Object) bool) bool {
	return !slices.ContainsFunc(list, func(p P) bool { return !yield(p) })
}

// Objects returns the objects of s as they are written, not copied.
func (s *Spec) Objects() Objects {
	return Objects{
		Upstreams: pointers[Upstream](s.Upstreams), Routes: pointers[Route](s.Routes),
		Limits: pointers[Limit](s.Limits), Tenants: pointers[Tenant](s.Tenants),
		Access: pointers[Access](s.Access),
	}
}

func pointers[T any, P object[T]](objects []T) []P {
	out := make([]P, len(objects))
	for i := range objects {
		out[i] = &objects[i]
	}
	return out
}

// Add appends a copy of an object to those of its kind.
func (s *Spec) Add(o Object) {
	switch o := o.(type) {
	case *Upstream:
		s.Upstreams = append(s.Upstreams, *o)
	case *Route:
		s.Routes = append(s.Routes, *o)
	case *Limit:
		s.Limits = append(s.Limits, *o)
	case *Tenant:
		s.Tenants = append(s.Tenants, *o)
	case *Access:
		s.Access = append(s.Access, *o)
	}
}

// sorted returns the objects of s that bad does not hold, each kind by name, each
// name once.
func (s *Spec) sorted(bad map[ID]bool) Objects {
	return Objects{
		Upstreams: byName[Upstream](s.Upstreams, bad), Routes: byName[Route](s.Routes, bad),
		Limits: byName[Limit](s.Limits, bad), Tenants: byName[Tenant](s.Tenants, bad),
		Access: byName[Access](s.Access, bad),
	}
}

// byName returns pointers to the objects that bad does not hold, sorted by
// name, the first of each name.
func byName[T any, P object[T]](objects []T, bad map[ID]bool) []P {
	out := make([]P, 0, len(objects))
	for i := range objects {
		p := P(&objects[i])
		if len(bad) == 0 || !bad[p.ID()] {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b P) int { return strings.Compare(a.ID().Name, b.ID().Name) })
	return slices.CompactFunc(out, func(a, b P) bool { return a.ID() == b.ID() })
}
