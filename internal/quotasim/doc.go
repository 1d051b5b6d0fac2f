// Command quotasim runs the limits engine of package quota, the real one, on a
// simulated mesh: many engines in one process, virtual time, a network that
// delays, repeats, reorders and loses datagrams, nodes that crash, join, part
// and meet again. It prints what was admitted beside what a central bucket would
// have admitted of the same requests, and beside how Skipper's swarm and
// Gubernator's global mode behave there, as Markdown.
//
//	go run ./internal/quotasim                 the acceptance table
//	go run ./internal/quotasim -scenarios      every scenario by itself
//	go run ./internal/quotasim -only hop       what has hop in its name
//
// The same seed gives the same result.
package main
