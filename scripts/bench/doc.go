//go:build linux

// Bench measures meshgw beside other proxies on one machine, and prints tables in
// Markdown. See docs/performance.md for how to read them.
//
// The proxy under test has a core of its own; the load and the upstreams have
// another. Subjects take turns in each round, a round begins with another one each
// time, and ratios are taken within a round: so what else the machine does bears
// on all alike. The CPU is that of the whole process and its children.
//
// The program plays all parts: it starts itself again as the upstream (backend),
// as the load of a fixed rate (open) and as the clients that do nothing (hold).
// Load without a fixed rate is wrk's, in HTTP/2 h2load's.
package main
