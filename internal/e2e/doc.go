// Package e2e tests the program as its users meet it: real meshgw processes,
// real upstreams, the real serf CLI, on loopback. Its tests need nothing but Go.
package e2e
