// Package failover decides which endpoint and which region a request goes to,
// and what a node has to know for that.
//
// An Endpoint is the live state of one address: requests in flight, latency,
// circuit breaker, stalls. A Balancer chooses among the endpoints of one
// upstream in one region. Checkers says which node asks which endpoint how it
// is, Verdicts and Loads are what nodes tell each other, a View is all that was
// told, Decide says what follows from it for all of them. Divide divides an
// upstream's requests among regions, Shedding says which to refuse when this
// node has no CPU left, a RetryBudget bounds what retries may add.
//
// What a node does with them, and how often: Suspect and Divide every 100 ms,
// TryDue and Check.Due for each endpoint as often, Decide and Heed when a
// verdict has come, Loads told each second, EjectOutliers each OutlierInterval.
//
// The package keeps no clock, starts no goroutine, logs nothing and sends
// nothing: now is an argument, randomness is an argument, and what is to be
// done is returned. Where the method was published, the source is named.
package failover
