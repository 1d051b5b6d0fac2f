package routetable

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func (v *validator) upstream(u *Upstream) {
	if _, known := upstreamProtocol(u.Protocol); !known {
		v.errorf("protocol", "expected http1, h2c or h2, got %q", u.Protocol)
	}
	v.endpoints(u)
	v.balance(u.Balance)
	v.failover(u.Failover)
	v.healthCheck(u)
	v.upstreamTLS(u)
	if b := u.CircuitBreaker; b != nil {
		v.upTo("circuit_breaker.consecutive_failures", int64(b.ConsecutiveFailures), 1_000_000)
		v.atMost("circuit_breaker.open_for", time.Duration(b.OpenFor), time.Hour)
	}
	if o := u.Outlier; o != nil && o.MaxEjectedPercent != nil {
		v.between("outlier.max_ejected_percent", int64(*o.MaxEjectedPercent), 0, 100)
	}
	v.timeouts(u.Timeouts)
	if t := u.Timeouts; t != nil && t.Request == nil && or(t.Response, 0) > Duration(defaultRequest) {
		v.warnf("timeouts.response", "is longer than request, which is %v unless it is given, too", defaultRequest)
	}
	v.retries(u.Retries)
	v.upTo("max_connections", int64(u.MaxConnections), 1_000_000)
	if u.MaxPending != nil {
		v.between("max_pending", int64(*u.MaxPending), 0, 1_000_000)
	}
}

func (v *validator) endpoints(u *Upstream) {
	if len(u.Endpoints) == 0 {
		v.warnf("endpoints", "none given: requests will be answered 503")
	}
	if !v.bounded("endpoints", len(u.Endpoints)) {
		return
	}
	type place struct{ url, region string }
	seen, weight := map[place]bool{}, 0
	for i, e := range u.Endpoints {
		field := func(name string) string { return fmt.Sprintf("endpoints[%d].%s", i, name) }
		a, err := parseAddress(e.URL)
		switch protocol, _ := upstreamProtocol(u.Protocol); {
		case err != nil || len(e.URL) > maxText:
			v.errorf(field("url"), "%v, got %q", errAddress, e.URL)
		case protocol == H2C && a.TLS:
			v.errorf(field("url"), "h2c is HTTP/2 in clear, for http:// only; h2 is for https://, got %q", e.URL)
		case protocol == H2 && !a.TLS:
			v.errorf(field("url"), "h2 is HTTP/2 over TLS, for https:// only; h2c is for http://, got %q", e.URL)
		}
		if e.Region != "" && !IsName(e.Region) {
			v.errorf(field("region"), "expected the name of a region, got %q", e.Region)
		}
		w := or(e.Weight, defaultWeight)
		v.between(field("weight"), int64(w), 0, maxWeight)
		weight += w
		p := place{strings.TrimRight(e.URL, "/"), e.Region}
		if seen[p] {
			v.errorf(field("url"), "%s is there already in the same region", e.URL)
		}
		seen[p] = true
	}
	if len(u.Endpoints) > 0 && weight == 0 {
		v.warnf("endpoints", "all have weight 0: requests will be answered 503")
	}
	if why := u.Alone(); why != "" {
		v.warnf("endpoints", "%s, so requests cannot fail over", why)
	}
}

func (v *validator) balance(b *Balance) {
	if b == nil {
		return
	}
	policy, known := balancePolicy(b.Policy)
	if !known {
		v.errorf("balance.policy", "expected %s, got %q", balanceWords, b.Policy)
		return
	}
	v.sticky(b.Sticky)
	if policy != ConsistentHash {
		if b.Hash != nil {
			v.errorf("balance.hash", "is for the policy consistent_hash only")
		}
		return
	}
	if b.Hash == nil {
		return // the client's address
	}
	var given []string
	for _, way := range []struct {
		name string
		set  bool
	}{{"header", b.Hash.Header != ""}, {"cookie", b.Hash.Cookie != ""}, {"client_ip", b.Hash.ClientIP}, {"path", b.Hash.Path}} {
		if way.set {
			given = append(given, way.name)
		}
	}
	v.oneOf("balance.hash", given, "header", "cookie", "client_ip", "path")
	if b.Hash.Header != "" {
		v.headerName("balance.hash.header", b.Hash.Header)
	}
	if b.Hash.Cookie != "" && !isToken(b.Hash.Cookie) {
		v.errorf("balance.hash.cookie", "expected the name of a cookie, got %q", b.Hash.Cookie)
	}
}

func (v *validator) sticky(s *Sticky) {
	if s == nil {
		return
	}
	if s.Cookie != "" && !isToken(s.Cookie) {
		v.errorf("balance.sticky.cookie", "expected the name of a cookie, got %q", s.Cookie)
	}
	if s.MaxAge != 0 && s.MaxAge < Duration(time.Second) {
		v.errorf("balance.sticky.max_age", "expected at least 1s, got %s", text(s.MaxAge))
	}
	if !slices.Contains([]string{"", "lax", "strict", "none"}, s.SameSite) {
		v.errorf("balance.sticky.same_site", "expected lax, strict or none, got %q", s.SameSite)
	}
}

func (v *validator) failover(f *Failover) {
	if f == nil {
		return
	}
	if f.Via != "" && f.Via != "mesh" && f.Via != "direct" {
		v.errorf("failover.via", "expected mesh or direct, got %q", f.Via)
	}
	if !v.bounded("failover.regions", len(f.Regions)) {
		return
	}
	for i, region := range f.Regions {
		field := item("failover.regions", i)
		if !IsName(region) {
			v.errorf(field, "expected the name of a region, got %q", region)
		}
		if slices.Contains(f.Regions[:i], region) {
			v.errorf(field, "%s is there already", region)
		}
	}
}

func (v *validator) healthCheck(u *Upstream) {
	h := u.HealthCheck
	switch {
	case h == nil:
		return
	case h.GRPC != nil:
		v.grpcCheck(u)
	default:
		v.checkedPath(h.Path)
	}
	all := healthCheck(h)
	if all.Timeout > all.Interval {
		v.errorf("health_check.timeout", "%s is longer than the interval, %s", text(all.Timeout), text(all.Interval))
	}
	if h.Interval != 0 && h.Interval < Duration(100*time.Millisecond) {
		v.errorf("health_check.interval", "expected at least 100ms, got %s", text(h.Interval))
	}
	v.upTo("health_check.unhealthy_after", int64(h.UnhealthyAfter), 100)
	v.upTo("health_check.healthy_after", int64(h.HealthyAfter), 100)
}

func (v *validator) checkedPath(target string) {
	path, _, _ := strings.Cut(target, "?")
	v.pathIn("health_check.path", path)
	if !isFieldValue(target) || strings.ContainsAny(target, " #") {
		v.errorf("health_check.path", "expected a path and maybe a query, got %q", target)
	}
}

func (v *validator) grpcCheck(u *Upstream) {
	h := u.HealthCheck
	if h.Path != "" {
		v.errorf("health_check.grpc", "expected path or grpc, got both")
	}
	if protocol, known := upstreamProtocol(u.Protocol); known && protocol == HTTP1 {
		v.errorf("health_check.grpc", "is for upstreams with protocol: h2c or h2")
	}
	if len(h.GRPC.Service) > 256 {
		v.errorf("health_check.grpc.service", "expected at most 256 bytes")
	}
}

func (v *validator) upstreamTLS(u *Upstream) {
	if u.TLS == nil {
		return
	}
	if (u.TLS.Cert == "") != (u.TLS.Key == "") {
		v.errorf("tls", "expected both cert and key, or neither")
	}
	if u.TLS.ServerName != "" {
		v.host("tls.server_name", u.TLS.ServerName)
	}
	if !slices.ContainsFunc(u.Endpoints, func(e Endpoint) bool { return strings.HasPrefix(strings.TrimPrefix(e.URL, srvPrefix), "https://") }) {
		v.warnf("tls", "no endpoint is https://")
	}
}

// timeouts refuses pairs of which the shorter can never be waited for.
func (v *validator) timeouts(t *Timeouts) {
	if t == nil {
		return
	}
	for _, d := range []struct {
		name string
		v    *Duration
	}{{"connect", t.Connect}, {"response", t.Response}, {"request", t.Request}, {"idle", t.Idle}} {
		v.atMost("timeouts."+d.name, time.Duration(or(d.v, 0)), 24*time.Hour)
	}
	if longer(t.Response, t.Request) {
		v.errorf("timeouts.response", "%s for one try is longer than request, %s for all", text(*t.Response), text(*t.Request))
	}
	if longer(t.Connect, t.Response) {
		v.errorf("timeouts.connect", "%s is longer than response, %s", text(*t.Connect), text(*t.Response))
	}
	if longer(t.Connect, t.Request) {
		v.errorf("timeouts.connect", "%s is longer than request, %s", text(*t.Connect), text(*t.Request))
	}
}

// longer reports whether both are given and on, and a is the longer.
func longer(a, b *Duration) bool { return or(a, 0) > 0 && or(b, 0) > 0 && *a > *b }

func (v *validator) atMost(field string, d, limit time.Duration) {
	if d < 0 || d > limit {
		v.errorf(field, "expected at most %s, got %s", text(Duration(limit)), text(Duration(d)))
	}
}

func text(d Duration) string {
	b, _ := d.MarshalText()
	return string(b)
}

func (v *validator) retries(r *Retries) {
	if r == nil {
		return
	}
	v.upTo("retries.attempts", int64(r.Attempts), 10)
	if r.BudgetPercent != nil {
		v.between("retries.budget_percent", int64(*r.BudgetPercent), 0, 100)
	}
	v.some("retries.on", r.On)
	if !v.bounded("retries.on", len(r.On)) {
		return
	}
	for i, word := range r.On {
		if _, known := retryOn(word); !known {
			v.errorf(item("retries.on", i), "expected %s, got %q", retryWords, word)
		}
	}
}
