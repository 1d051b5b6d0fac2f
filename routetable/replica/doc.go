// Package replica is one node's copy of the route table: edits, their history, and
// how copies become the same again.
//
// What is written is one changeset, which becomes visible whole. Lamport timestamps
// decide what wins, and both sides of a conflict stay in the history. Copies are
// compared by digest, and a delta holds what one of them lacks; joining is associative,
// commutative and idempotent, so that it does not matter how often or in which order
// what comes. The package is pure: it sends nothing and keeps nothing on disk, which
// is for gossip and node.
package replica
