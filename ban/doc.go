// Package ban keeps the addresses and networks of clients that are banned for a
// time. A List is replicated. Each node counts down the remaining time of a ban by
// itself, so that differing clocks neither extend nor shorten it. A Set is the
// present bans, prepared for lookups on the request path.
//
// The package keeps no clock and sends nothing.
package ban
