// Command quotasim runs the limits engine of package quota, the real one, on a
// simulated mesh: many engines in one process, virtual time, a network that
// delays, repeats, reorders and loses datagrams, nodes that crash, join, part
// and meet again. What was admitted is measured against what a central bucket
// would have admitted of the same requests, and printed as Markdown.
//
//	go run ./internal/quotasim                 the acceptance table
//	go run ./internal/quotasim -scenarios      every scenario by itself
//	go run ./internal/quotasim -only hop       the demands that have hop in their text
//
// The same seed gives the same result.
package main
