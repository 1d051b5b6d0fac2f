// Command chaos injects faults into meshes of real processes, and measures what
// they cost.
//
// A scenario is a file of scripts/chaos.d: one step a line, in order, and after
// "-- NAME --" the files that it uses. Each node and endpoint is a process in a
// network namespace of its own, on one bridge. Cuts and losses are nftables rules
// where packets arrive; delay is a relay of our own, since not every kernel has
// netem. So it needs root, iproute2 and nftables.
//
//	scripts/chaos --list
//	scripts/chaos node-kill one-way-cut
//
// scripts/chaos --help lists the steps. In files, $NAME is the address of the node
// or endpoint NAME.
package main
