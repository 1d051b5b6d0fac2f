// Package failover decides which endpoint and which region a request goes to,
// and what a node has to know for that.
//
// An Endpoint is the live state of one address: requests in flight, latency,
// circuit breaker, stalls. A Balancer chooses among the endpoints of one
// upstream in one region. Checks say which node asks which endpoint how it is,
// Verdicts what nodes told each other of it, Decide what follows from that for
// all of them. Spill divides an upstream's requests among regions, Shedding
// says which to refuse when this node has no CPU left, a RetryBudget bounds
// what retries may add.
//
// The package keeps no clock, starts no goroutine, logs nothing and sends
// nothing: now is an argument, randomness is an argument, and what is to be
// done is returned. Where the method was published, the source is named.
package failover
