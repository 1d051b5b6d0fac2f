package dataplane

import (
	"bytes"
	"sync/atomic"
	"time"

	"github.com/meshgw/meshgw/quota"
	"github.com/meshgw/meshgw/routetable"
)

// liveLimit is a limit of a plan.
type liveLimit struct {
	name   string
	quotas []*quota.Limit // one for the rate, one for the slots, or either
	key    []routetable.KeyPart
	policy []byte // its members of RateLimit-Policy
	legacy bool   // is sent in X-RateLimit fields too
	counts *limitCounts
}

// limitCounts is what a limit keeps from one table to the next.
type limitCounts struct{ allowed, refused atomic.Uint64 }

// liveTenant is a tenant with its limit.
type liveTenant struct {
	*routetable.TenantRule
	limit *liveLimit // nil = nothing
}

// LimitStatus counts the decisions of this node by a limit.
type LimitStatus struct {
	Name             string  // tenant/NAME for the limits of a tenant
	Allowed, Refused uint64  // requests, since the limit came into the table
	Rate             float64 // requests/s of one key; 0 = it has none
}

// Limits returns the limits of the table, those of tenants last.
func (s *Server) Limits() []LimitStatus {
	p := s.plan.Load()
	all := make([]LimitStatus, len(p.limits))
	for i, l := range p.limits {
		all[i] = LimitStatus{l.name, l.counts.allowed.Load(), l.counts.refused.Load(), 0}
		for _, q := range l.quotas {
			all[i].Rate += q.Rate // of at most one
		}
	}
	return all
}

// tenantIsolated is the when_isolated of tenants' limits, the same as the default of
// others.
const tenantIsolated = 0.5

// TenantLimit returns the name of the limit of a tenant, as in LimitStatus and in
// answers to clients.
func TenantLimit(tenant string) string { return "tenant/" + tenant }

// limits makes the limits of p, taking over the counts of old, and configures the
// limiter.
func (s *Server) limits(p, old *plan) {
	before := map[string]*liveLimit{}
	if old != nil {
		for _, l := range old.limits {
			before[l.name] = l
		}
	}
	for _, r := range p.table.Limits() {
		p.limits = append(p.limits, newLimit(before[r.Name], r.Key, quota.Limit{
			Name: r.Name, Hold: hold(r), Local: r.PerNode, Isolated: r.Isolated, Open: r.OpenAlone,
		}, r))
	}
	for _, t := range p.table.Tenants() {
		live := &liveTenant{TenantRule: t}
		if t.N > 0 || t.Concurrency > 0 {
			name := TenantLimit(t.Name)
			live.limit = newLimit(before[name], nil, quota.Limit{Name: name, Hold: quota.HoldAuto, Isolated: tenantIsolated},
				&routetable.LimitRule{N: t.N, Per: t.Per, Burst: t.Burst, Concurrency: t.Concurrency, XHeaders: true})
			p.limits = append(p.limits, live.limit)
		}
		p.tenants = append(p.tenants, live)
	}
	if s.cfg.Limiter == nil {
		return
	}
	var quotas []*quota.Limit
	for _, l := range p.limits {
		quotas = append(quotas, l.quotas...)
	}
	s.cfg.Limiter.Configure(quotas)
}

func hold(r *routetable.LimitRule) time.Duration {
	if r.AutoWait {
		return quota.HoldAuto
	}
	return r.Wait
}

// newLimit makes a limit with the amounts of r and the other settings of base. It
// takes over the counts and the unchanged quotas of old, which may be nil.
func newLimit(old *liveLimit, key []routetable.KeyPart, base quota.Limit, r *routetable.LimitRule) *liveLimit {
	l := &liveLimit{name: base.Name, key: key, counts: &limitCounts{}, legacy: r.XHeaders}
	if old != nil {
		l.counts = old.counts
	}
	if r.N > 0 {
		q := base
		q.Rate, q.Burst, q.Window = float64(r.N)/r.Per.Seconds(), float64(r.Burst), r.Per
		l.quotas = append(l.quotas, kept(old, q))
	}
	if r.Concurrency > 0 {
		q := base
		q.Slots = int64(r.Concurrency)
		l.quotas = append(l.quotas, kept(old, q))
	}
	var policies [][]byte
	for _, q := range l.quotas {
		policies = append(policies, q.AppendPolicy(nil))
	}
	l.policy = bytes.Join(policies, []byte(", "))
	return l
}

// kept returns the quota of old that equals q, else q.
func kept(old *liveLimit, q quota.Limit) *quota.Limit {
	if old != nil {
		for _, was := range old.quotas {
			if *was == q {
				return was
			}
		}
	}
	return &q
}
