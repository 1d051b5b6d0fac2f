package routetable

import "time"

// Service is a compiled Upstream: defaults applied, addresses parsed. It is
// never written to; tables that have the same Upstream share it.
type Service struct {
	Name string
	Spec *Upstream // as written

	Endpoints []Address // in the order written

	Protocol Protocol // spoken to the endpoints

	Balance BalancePolicy
	Hash    Hash    // for ConsistentHash
	Sticky  *Sticky // every field set but MaxAge; nil = no sticky sessions

	Failover bool     // whether requests may leave the region
	Regions  []string // where to, in order; none = nearest by round trip
	Direct   bool     // go to the other region's endpoints, not through a gateway there

	Check *HealthCheck // every field set; nil = passive signals only
	TLS   UpstreamTLS

	Breaker             bool // whether the circuit breaker acts
	ConsecutiveFailures int
	OpenFor             time.Duration
	MaxEjectedPercent   int

	Timeouts       ServiceTimeouts
	Attempts       int // tries in all
	RetryOn        RetryOn
	RetryBudget    int // percent of requests
	MaxConnections int // per endpoint
	MaxPending     int // requests waiting for a connection; 0 = none may wait
}

// ServiceTimeouts bound the stages of a request; 0 = no bound.
type ServiceTimeouts struct {
	Connect  time.Duration // to an open connection
	Response time.Duration // of one try, to the response header
	Request  time.Duration // all tries, to the response header
	Idle     time.Duration // between bytes of a stream
}

// Protocol is what endpoints are spoken to in.
type Protocol uint8

// The protocols of a route file.
const (
	HTTP1 Protocol = iota // HTTP/1.1
	H2C                   // HTTP/2 in clear, with prior knowledge
	H2                    // HTTP/2 over TLS
)

// BalancePolicy is how a Service's endpoint is chosen.
type BalancePolicy uint8

// The policies of a route file.
const (
	LeastRequest BalancePolicy = iota // of two chosen at random, the one with fewer in flight
	RoundRobin
	Random
	ConsistentHash
	EWMA
)

// RetryOn is a set of reasons to try again.
type RetryOn uint8

// The reasons of a route file.
const (
	RetryConnectFailure RetryOn = 1 << iota
	RetryReset
	RetryStalled
	Retry500
	Retry502
	Retry503
	Retry504
)

// Has reports whether all reasons of want are in r.
func (r RetryOn) Has(want RetryOn) bool { return r&want == want }
