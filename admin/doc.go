// Package admin is a node's admin listener: status, routes, probes, metrics and
// a status page, on net/http.
//
// It says what the node knows and passes on what is asked of it; the node
// satisfies its two small interfaces. Before anything is answered, guard
// decides who asks: on loopback without a token only what is plainly a local
// program or the node's own page, elsewhere only the holder of a token.
package admin
