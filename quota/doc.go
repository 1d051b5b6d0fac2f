// Package quota holds limits over a whole mesh of nodes without a store: so many
// requests a second, or so many at once, whichever nodes they land on.
//
// Every key (a limit and whom it counts) has a home: the first of its rendezvous
// order over the live nodes. The home keeps the one token bucket of the key. A
// node that uses the key reports what it admitted and how much is asked of it;
// the home answers with a lease: some tokens now, and a rate, for a short time.
// Between the two a node admits from its own bucket, so that no request waits
// for the network, but for limits too small to be split: there a request may be
// held for the one round trip that fetches its token.
//
// What a home leases leaves its pool. What a report shows as unspent comes back,
// what it shows as overspent becomes debt. Counters are cumulative, so that a
// message lost, late or repeated moves tokens between terms and never makes any.
// Leases end by themselves, first at the node and then at the home. Where nodes
// are missing, a side of the mesh holds itself to its part.
//
// The package is passive: time comes in as an argument, measured from any moment
// and on any clock of the node's own; datagrams and decisions go out. It keeps no
// clock, starts no goroutine and opens nothing. Tokens and rates are float64, as
// a limit of one a day leaves no integer unit small enough to be exact; what was
// admitted is counted in integers, so that nothing is ever lost by rounding.
//
// The files, in reading order: limit, decision, key; engine, table, index, take, poll; lease
// and demand (the node's side); home and grant (the home's side); slots (limits
// of requests in flight, both sides); view (who is there, and whose home is
// where), handover (to the next home); wire and outbox; record (what outlives a
// restart); headers; status.
package quota
