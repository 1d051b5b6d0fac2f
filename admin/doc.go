// Package admin is a node's admin API: status, routes, probes, metrics and a status
// page, on net/http.
//
// It knows the node by small interfaces: Node, Routes, Bans and Keys. Every request
// first passes guard: a listener on loopback admits local programs and the status
// page without a token, any other listener requires one.
package admin
