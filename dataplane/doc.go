// Package dataplane takes requests in, decides by the published table what
// becomes of them, and carries them to their upstreams and back.
//
// A request passes match, admit, balance and forward, then observe; the files
// are named after the steps. They work on an Exchange, which knows no HTTP
// library: h1.go is the front that speaks HTTP/1.1 to clients on fasthttp, h2.go
// the one that speaks HTTP/2 on net/http, to which connections are handed that
// open with it, and client.go speaks HTTP/1.1 to endpoints over pooled
// connections of its own, since a gateway has to know what was written, read
// early answers and cut off what was cut off. To endpoints that speak HTTP/2
// h2call.go speaks it, again over net/http's framing.
//
// Nothing that two parsers could read differently is sent on, in either
// direction: it is refused with 400, 501 or 505 to clients, with 502 for
// endpoints, and the connection is closed. The one canonical host and path that
// a request is matched on is the one that is forwarded.
//
// What belongs to an endpoint (breaker, counters, connections) carries over
// from table to table as long as upstream and URL stay.
package dataplane
