// Package e2e tests the program as its users meet it: real meshgw processes,
// real upstreams, the real serf CLI, on loopback. Its tests need nothing but Go.
//
// Tests that wait for most of their time run beside each other (t.Parallel); those
// that measure, or want all of the machine, run alone.
package e2e
