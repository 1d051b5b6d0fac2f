// Package crdt has what the replicated states have in common: Lamport timestamps,
// which order writes without clocks, and a map of opaque values, each with the
// timestamp of its last write, whose merge is commutative, associative and
// idempotent. It keeps no clock, and holds no lock while calling out.
package crdt
