package failover

import "time"

// Kind is the kind of outcome of a try at an endpoint.
type Kind uint8

// The kinds of outcome. All between OK and Canceled count as failures.
const (
	OK            Kind = iota // an answer that says nothing against the endpoint, 4xx and 500 included
	ConnectFailed             // no connection; nothing was sent
	Reset                     // the connection broke before the answer was whole
	TimedOut                  // no answer in time
	Unavailable               // the endpoint answered 502, 503 or 504
	Stalled                   // given up because the endpoint was silent while its siblings answered
	Canceled                  // given up for reasons of the client's: says nothing of the endpoint
)

// Failed reports whether k counts against the endpoint.
func (k Kind) Failed() bool { return k != OK && k != Canceled }

// String returns k as in the access log.
func (k Kind) String() string {
	switch k {
	case OK:
		return "ok"
	case ConnectFailed:
		return "connect_failure"
	case Reset:
		return "reset"
	case TimedOut:
		return "timeout"
	case Unavailable:
		return "unavailable"
	case Stalled:
		return "stalled"
	case Canceled:
		return "canceled"
	}
	return "unknown"
}

// Outcome is the outcome of a try for its endpoint.
type Outcome struct {
	Kind Kind
	// Latency is the time from Begin to the response header, or to the
	// failure; 0 if it was not measured.
	Latency time.Duration
	// Answered says that Answer was called for this try: End then counts its
	// outcome only if it is a failure, such as a body cut short.
	Answered bool
	// Later says that the header tells nothing of how it went, as in gRPC, where
	// trailers do: Answer then leaves the breaker as it is, unless it waits for a
	// sign of life, and End counts the outcome.
	Later bool
}
