// Package dataplane accepts requests, decides by the published table what becomes
// of them, and proxies them to upstreams and back.
//
// A request passes enter (identify, match, admit), limit, forward, answer and finish,
// the steps of Server.handle; the files are named after them, and ARCHITECTURE.md has
// the way of a request through all. They work on an Exchange, which knows no HTTP
// library:
//
//   - to clients, h1.go speaks HTTP/1.1 with fasthttp's parser, and h2.go speaks
//     HTTP/2 with net/http, which gets the connections that open with it;
//   - to endpoints, try.go speaks HTTP/1.1 and h2call.go HTTP/2, both over
//     connections of package upstream.
//
// Whatever two parsers could read differently is rejected, in either direction:
// with 400, 501 or 505 to clients, with 502 for endpoints, and the connection is
// closed. A request is forwarded with the very host and path, in canonical form,
// that it was matched by.
//
// The live state of an endpoint (breaker, counters, connections) is carried over
// from one table to the next as long as upstream and URL stay the same.
//
// The packages below this one do one job each and know nothing of exchanges:
// upstream has the connections to endpoints, discovery finds their addresses in DNS,
// message is the syntax of HTTP, grpc what a proxy has to know of gRPC, compress
// compresses answers, ids makes request ids and trace contexts, socket is the layer
// between connections and the kernel, edgetls has the certificates of listeners, and
// proxyproto reads who the client behind a load balancer is.
package dataplane
