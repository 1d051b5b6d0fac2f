// Package node puts one gateway together: it is the only package that sees all
// parts, the only one that starts goroutines which outlive a call, and the one
// that knows in which order things start and stop.
package node
