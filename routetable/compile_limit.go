package routetable

import (
	"strconv"
	"time"
)

func limitRule(l *Limit) *LimitRule {
	r := &LimitRule{
		Name: l.Name, Spec: l,
		Concurrency: l.Concurrency,
		PerNode:     l.Scope == "node",
		Isolated:    defaultIsolated,
		OpenAlone:   l.WhenIsolated == "open",
		XHeaders:    or(l.XHeaders, true),
	}
	r.N, r.Per, r.Burst = rate(l.Rate, l.Burst)
	for _, text := range l.Key {
		if part, ok := keyPart(text); ok && text != "none" {
			r.Key = append(r.Key, part)
		}
	}
	r.Wait, r.AutoWait, _ = limitWait(l.Wait)
	if part, err := strconv.ParseFloat(l.WhenIsolated, 64); err == nil {
		r.Isolated = part
	}
	return r
}

// rate returns the parameters of a bucket. Without a burst it holds a second's
// worth, at least 1; for rates per hour and day the whole N.
func rate(r *Rate, burst *int64) (n int64, per time.Duration, size int64) {
	if r == nil {
		return 0, 0, 0
	}
	size = max(1, r.N/int64(r.Per/time.Second))
	if r.Per >= time.Hour {
		size = max(1, r.N)
	}
	return r.N, r.Per, or(burst, size)
}

func tenantRule(t *Tenant) *TenantRule {
	r := &TenantRule{Name: t.Name, Spec: t, HasPriority: t.Priority != ""}
	r.Priority, _ = priority(t.Priority)
	if t.Limits != nil {
		r.N, r.Per, r.Burst = rate(t.Limits.Rate, t.Limits.Burst)
		r.Concurrency = t.Limits.Concurrency
	}
	return r
}
