// Package failover decides which endpoint and which region a request goes to, and
// what a node has to know for that.
//
// An Endpoint is the live state of one address: requests in flight, latency,
// circuit breaker, stalls. A Balancer chooses among the endpoints of one upstream
// in one region. Checkers assigns health checks to nodes; Verdicts and Loads are
// what nodes report to each other, a View is all that was reported, and Decide
// derives the state of an endpoint from it. Divide divides an upstream's requests
// among regions, Shedding says which requests to refuse when this node is out of
// CPU, a RetryBudget bounds retries.
//
// How a node uses them: Suspect and Divide every 100 ms; TryDue and Check.Due for
// each endpoint as often; Decide and Heed when a verdict has arrived; Loads are
// sent every second; EjectOutliers runs every OutlierInterval.
//
// The package keeps no clock, starts no goroutine, logs nothing and sends nothing:
// now and randomness are arguments, and what is to be done is returned. Published
// methods are named where they are used.
package failover
