// Package ban keeps who may not ask for a while: addresses and networks of
// clients. A List is replicated; every node counts the time that a ban has left
// by itself, so that clocks which differ neither lengthen nor shorten it. A Set is
// what is banned now, made ready for the request path.
//
// The package keeps no clock and sends nothing.
package ban
