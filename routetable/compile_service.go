package routetable

import (
	"cmp"
	"strings"
	"time"
)

// The defaults of a route file.
const (
	defaultWeight         = 100
	defaultConnect        = 500 * time.Millisecond
	defaultResponse       = 15 * time.Second
	defaultRequest        = 30 * time.Second
	defaultIdle           = 5 * time.Minute
	defaultFailures       = 5
	defaultOpenFor        = 30 * time.Second
	defaultMaxEjected     = 50
	defaultAttempts       = 2
	defaultRetryBudget    = 20
	defaultMaxConnections = 512
	defaultMaxPending     = 1024
	defaultMaxBody        = 10 << 20
	defaultMinCompress    = 1024
	defaultIsolated       = 0.5
)

func service(u *Upstream) *Service {
	protocol, _ := upstreamProtocol(u.Protocol)
	s := &Service{
		Name: u.Name, Spec: u,
		Endpoints: make([]Address, 0, len(u.Endpoints)),
		Protocol:  protocol,
		Failover:  true, Breaker: true,
		ConsecutiveFailures: defaultFailures,
		OpenFor:             defaultOpenFor,
		MaxEjectedPercent:   defaultMaxEjected,
		Timeouts:            timeouts(u.Timeouts, ServiceTimeouts{defaultConnect, defaultResponse, defaultRequest, defaultIdle}),
		MaxConnections:      cmp.Or(u.MaxConnections, defaultMaxConnections),
		MaxPending:          or(u.MaxPending, defaultMaxPending),
		Check:               healthCheck(u.HealthCheck),
	}
	for i := range u.Endpoints {
		a, err := parseAddress(u.Endpoints[i].URL)
		if err != nil {
			continue
		}
		a.Region, a.Weight = u.Endpoints[i].Region, or(u.Endpoints[i].Weight, defaultWeight)
		s.Endpoints = append(s.Endpoints, a)
	}
	if b := u.Balance; b != nil {
		s.Balance, _ = balancePolicy(b.Policy)
		s.Sticky = sticky(b.Sticky)
		s.Hash.ClientIP = b.Hash == nil && s.Balance == ConsistentHash
		if b.Hash != nil {
			s.Hash = *b.Hash
			s.Hash.Header = strings.ToLower(s.Hash.Header)
		}
	}
	if f := u.Failover; f != nil {
		s.Failover, s.Regions, s.Direct = or(f.Enabled, true), f.Regions, f.Via == "direct"
	}
	if u.TLS != nil {
		s.TLS = *u.TLS
	}
	if b := u.CircuitBreaker; b != nil {
		s.Breaker = or(b.Enabled, true)
		s.ConsecutiveFailures = cmp.Or(b.ConsecutiveFailures, defaultFailures)
		s.OpenFor = cmp.Or(time.Duration(b.OpenFor), defaultOpenFor)
	}
	if u.Outlier != nil {
		s.MaxEjectedPercent = or(u.Outlier.MaxEjectedPercent, defaultMaxEjected)
	}
	s.Attempts, s.RetryOn, s.RetryBudget = retries(u.Retries)
	return s
}

func sticky(s *Sticky) *Sticky {
	if s == nil {
		return nil
	}
	return &Sticky{Cookie: cmp.Or(s.Cookie, "meshgw-sticky"), MaxAge: s.MaxAge, SameSite: cmp.Or(s.SameSite, "lax")}
}

func retries(r *Retries) (attempts int, on RetryOn, budget int) {
	const usual = RetryConnectFailure | RetryReset | RetryStalled | Retry502 | Retry503 | Retry504
	if r == nil {
		return defaultAttempts, usual, defaultRetryBudget
	}
	for _, name := range r.On {
		bit, _ := retryOn(name)
		on |= bit
	}
	if r.On == nil {
		on = usual
	}
	return cmp.Or(r.Attempts, defaultAttempts), on, or(r.BudgetPercent, defaultRetryBudget)
}

func healthCheck(h *HealthCheck) *HealthCheck {
	if h == nil {
		return nil
	}
	return &HealthCheck{
		Path:           h.Path,
		GRPC:           h.GRPC,
		Interval:       cmp.Or(h.Interval, Duration(2*time.Second)),
		Timeout:        cmp.Or(h.Timeout, Duration(time.Second)),
		UnhealthyAfter: cmp.Or(h.UnhealthyAfter, 3),
		HealthyAfter:   cmp.Or(h.HealthyAfter, 2),
	}
}

// timeouts returns what t says over what base says.
func timeouts(t *Timeouts, base ServiceTimeouts) ServiceTimeouts {
	if t == nil {
		return base
	}
	return ServiceTimeouts{
		Connect:  time.Duration(or(t.Connect, Duration(base.Connect))),
		Response: time.Duration(or(t.Response, Duration(base.Response))),
		Request:  time.Duration(or(t.Request, Duration(base.Request))),
		Idle:     time.Duration(or(t.Idle, Duration(base.Idle))),
	}
}

// or returns *p, or otherwise what is the default.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
