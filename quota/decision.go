package quota

import "time"

// Verdict is what becomes of a request.
type Verdict uint8

// The verdicts.
const (
	Allow Verdict = iota // counted already
	Deny                 // nothing was taken
	Wait                 // the answer comes out of Poll, at the latest after Decision.Until
)

// String returns the verdict in the words of the metrics.
func (v Verdict) String() string {
	switch v {
	case Allow:
		return "allow"
	case Deny:
		return "deny"
	default:
		return "wait"
	}
}

// An Ask is one limit that a request must pass.
type Ask struct {
	Limit *Limit
	Key   Key
	Cost  int64 // tokens or slots; below 1 counts as 1
}

// cost is what the ask takes.
func (a *Ask) cost() int64 { return max(1, a.Cost) }

// MaxAsks is the most limits that one request can be held to.
const MaxAsks = 8

// Ticket names a waiting request; 0 names none.
type Ticket uint64

// A Decision is the answer to one request. It describes the limit that refused it or,
// where none did, the one with the least left.
type Decision struct {
	Verdict    Verdict
	Flush      bool          // there is something to send: call Poll now, earlier than it asked for
	Degraded   bool          // decided without the home, or with nodes missing
	First      bool          // nothing was admitted by this key of a rate before
	Limit      *Limit        // nil when the request is held to nothing
	Remaining  int64         // tokens the client may count on, an estimate of the whole mesh
	Reset      time.Duration // until the bucket is full again
	RetryAfter time.Duration // when refused: how long until a retry may succeed
	Ticket     Ticket        // when waiting
	Until      time.Duration // when waiting: the latest moment of the answer, in the caller's time
}

// Resolved is the answer to a request that waited: Allow or Deny.
type Resolved struct {
	Ticket   Ticket
	Decision Decision
}
