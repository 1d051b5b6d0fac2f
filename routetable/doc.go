// Package routetable holds the route file, its validator, the compiled table
// that requests are matched on, and the replicated store of both. It is pure:
// it reads no file, no clock and no network.
package routetable
