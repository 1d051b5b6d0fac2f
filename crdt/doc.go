// Package crdt holds what replicated states have in common: Lamport stamps that
// order writes without clocks, and a map of opaque values, each owned by a
// stamp, that merges the same way whatever the order, grouping or repetition of
// what arrives. It keeps no clock and takes no lock that a caller could hold.
package crdt
