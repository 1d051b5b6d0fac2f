package routetable

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxName bounds the name of an object, in bytes.
const MaxName = 128

// Bounds of a table, so that nothing from a file or the wire can hurt.
const (
	maxList       = 1024 // elements of any one list of an object
	maxRegex      = 1024 // bytes of a pattern
	maxRegexSteps = 4096 // instructions it compiles to
	maxText       = 8 << 10
	maxRespond    = 64 << 10
	maxWeight     = 1_000_000
	maxCount      = 1 << 40 // of a rate or burst
)

// Validate finds every error of spec: those of each object by itself, then
// those between objects. Lines and columns are not known here; see File.
func Validate(spec *Spec) Problems { return ValidatePart(spec, spec.Objects()) }

// ValidatePart is Validate of a part of a table, with the errors between any objects
// of all.
func ValidatePart(part *Spec, all Objects) Problems {
	v := validator{}
	validateAll[Upstream](&v, "upstreams", part.Upstreams, v.upstream)
	validateAll[Route](&v, "routes", part.Routes, v.route)
	validateAll[Limit](&v, "limits", part.Limits, v.limit)
	validateAll[Tenant](&v, "tenants", part.Tenants, v.tenant)
	validateAll[Access](&v, "access", part.Access, v.access)
	v.table(all)
	v.shadows(part.Routes)
	return v.problems
}

// ValidateBetween finds the problems that lie between objects; see Problem.Between.
func ValidateBetween(all Objects) Problems {
	v := validator{}
	v.table(all)
	return v.problems
}

// table checks what lies between objects.
func (v *validator) table(all Objects) {
	v.references(all)
	v.identities(all.Tenants)
	v.patience(all)
}

// ValidateObject finds the errors of one object by itself.
func ValidateObject(o Object) Problems {
	v := validator{object: o.ID().String()}
	v.objectName(o.ID().Name)
	switch o := o.(type) {
	case *Upstream:
		v.upstream(o)
	case *Route:
		v.route(o)
	case *Limit:
		v.limit(o)
	case *Tenant:
		v.tenant(o)
	case *Access:
		v.access(o)
	}
	return v.problems
}

// validator collects the problems of a Spec. path and object say where it is.
type validator struct {
	problems Problems
	path     string // routes[0]
	object   string // route/orders
}

func validateAll[T any, P object[T]](v *validator, list string, objects []T, check func(P)) {
	first := make(map[string]int, len(objects))
	for i := range objects {
		o := P(&objects[i])
		id := o.ID()
		v.at(list, i, o)
		v.objectName(id.Name)
		if j, dup := first[id.Name]; dup {
			v.errorf("name", "%s %q is there already, as %s[%d]", id.Kind, id.Name, list, j)
		} else {
			first[id.Name] = i
		}
		check(o)
	}
}

func (v *validator) at(list string, i int, o Object) {
	v.path, v.object = item(list, i), o.ID().String()
}

// item is the field of one element of a list.
func item(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

func (v *validator) errorf(field, format string, args ...any) {
	v.report(Error, field, format, args)
}

// clashf reports an error that lies between objects: each may be sound by itself.
func (v *validator) clashf(field, format string, args ...any) {
	v.report(Error, field, format, args)
	v.problems[len(v.problems)-1].between = true
}

func (v *validator) warnf(field, format string, args ...any) {
	v.report(Warning, field, format, args)
}

func (v *validator) report(s Severity, field, format string, args []any) {
	path := v.path
	if path != "" && field != "" {
		path += "."
	}
	v.problems = append(v.problems, Problem{
		Severity: s, Path: path + field, Object: v.object, Message: fmt.Sprintf(format, args...),
	})
}

func (v *validator) objectName(name string) {
	if !IsName(name) {
		v.errorf("name", "expected a name of up to %d letters, digits, dots, dashes and underscores, got %q", MaxName, name)
	}
}

// bounded reports whether a list has a bearable length, which is checked before
// its elements are.
func (v *validator) bounded(field string, n int) bool {
	if n > maxList {
		v.errorf(field, "expected at most %d elements, got %d", maxList, n)
	}
	return n <= maxList
}

// some refuses an empty list where none at all means the default, which who writes
// it does not mean. Such fields are written even if empty, for a node to see.
func (v *validator) some(field string, list []string) {
	if list != nil && len(list) == 0 {
		v.errorf(field, "expected one element at least, or the key left out for the default")
	}
}

func (v *validator) between(field string, n, low, high int64) {
	if n < low || n > high {
		v.errorf(field, "expected %d to %d, got %d", low, high, n)
	}
}

// upTo bounds a number that is 0 where none was given.
func (v *validator) upTo(field string, n, high int64) {
	if n != 0 {
		v.between(field, n, 1, high)
	}
}

// oneOf refuses two of several things of which one is wanted.
func (v *validator) oneOf(field string, given []string, want ...string) {
	switch len(given) {
	case 1:
	case 0:
		v.errorf(field, "expected one of %s", strings.Join(want, ", "))
	default:
		v.errorf(field, "expected one of %s, got %s", strings.Join(want, ", "), strings.Join(given, " and "))
	}
}

func (v *validator) host(field, host string) {
	if !validHost(host) {
		v.errorf(field, "expected a host name or address without port, got %q", host)
	}
}

func (v *validator) pathIn(field, path string) {
	switch {
	case len(path) > maxText:
		v.errorf(field, "expected at most %d bytes, got %d", maxText, len(path))
	case !validPath(path):
		v.errorf(field, "expected a path from / without empty or dot segments and without a query, got %q", path)
	}
}

func (v *validator) headerName(field, name string) {
	if !isToken(name) {
		v.errorf(field, "expected a header name, got %q", name)
	}
}

func (v *validator) placeholders(field, text string, allowed []string) {
	if _, _, err := parts(text, allowed); err != nil {
		v.errorf(field, "%v", err)
	}
}

func (v *validator) fieldValue(field, value string) {
	if len(value) > maxText || !isFieldValue(value) {
		v.errorf(field, "expected up to %d bytes without control characters or outer spaces", maxText)
	}
}
