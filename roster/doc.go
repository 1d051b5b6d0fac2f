// Package roster is what each node reports of itself: region, weight, addresses,
// load, the table version it serves. Every node has a copy of the reports of all
// nodes. A report belongs to an incarnation, a number that counts the starts of a
// node: reports of earlier incarnations cannot replace it.
//
// A Roster is a gossip.State. It keeps no clock and sends nothing.
package roster
