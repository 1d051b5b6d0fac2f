// Package gossip joins a node to the mesh and keeps what nodes share the same
// on all of them. It embeds Serf through its agent package, so that the stock
// serf CLI works, and carries any number of States over Serf's own pool and
// port: small changes are pushed at once to a few random peers and passed on at
// first receipt, digests are compared as repair, and what does not fit a packet
// is fetched over a sealed stream.
//
// It moves keys and bytes; what they mean is the States' affair.
package gossip
