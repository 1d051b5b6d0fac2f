package routetable

import (
	"slices"
	"strings"

	"github.com/meshgw/meshgw/crdt"
)

// Table is a compiled Spec. It never changes; all methods may be
// called from several goroutines at once, and what they return is read only.
type Table struct {
	stamp    crdt.Stamp
	digest   string
	rules    []*Rule
	services []*Service
	limits   []*LimitRule
	tenants  []*TenantRule
	access   AccessRule

	places        int // see Places
	serviceByName map[string]*Service
	limitByName   map[string]*LimitRule
	tenantBy      tenantIndex
	hosts         hostIndex
}

// Rules returns all rules, sorted by name.
func (t *Table) Rules() []*Rule { return t.rules }

// Places is more than any Rule.Index: what a list by index needs.
func (t *Table) Places() int { return t.places }

// Rule returns the rule of that name, or nil.
func (t *Table) Rule(name string) *Rule {
	i, found := slices.BinarySearchFunc(t.rules, name, func(r *Rule, name string) int { return strings.Compare(r.Name, name) })
	if !found {
		return nil
	}
	return t.rules[i]
}

// Services returns all services, sorted by name.
func (t *Table) Services() []*Service { return t.services }

// Limits returns all limits, sorted by name; LimitRule.Index is the place in it.
func (t *Table) Limits() []*LimitRule { return t.limits }

// Tenants returns all tenants, sorted by name; TenantRule.Index is the place in
// it.
func (t *Table) Tenants() []*TenantRule { return t.tenants }

// Access returns which clients are admitted at all.
func (t *Table) Access() *AccessRule { return &t.access }

// Service returns the service of that name, or nil.
func (t *Table) Service(name string) *Service { return t.serviceByName[name] }

// Stamp names the newest changeset in the table; zero when there is none.
func (t *Table) Stamp() crdt.Stamp { return t.stamp }

// Version is Stamp's version.
func (t *Table) Version() uint64 { return t.stamp.Version }

// Digest is the SHA-256, in lower-case hex, of all objects in canonical form:
// equal content has equal digests on all nodes, whoever wrote it and when.
func (t *Table) Digest() string { return t.digest }
