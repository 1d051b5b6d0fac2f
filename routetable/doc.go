// Package routetable holds the objects of a route file, their validator, the
// compiled table that requests are matched on, and the replicated store of both.
// It is pure: it reads no file, no clock and no network. What a file looks like
// is for routefile to know.
package routetable
