// Package roster is what each node tells of itself: region, weight, addresses,
// load, the table version it serves. Every node holds a copy of every node's
// word. A node's word is scoped to its incarnation, a number that counts its
// starts: what an earlier incarnation said cannot come back.
//
// A Roster is a gossip.State. It keeps no clock and sends nothing.
package roster
