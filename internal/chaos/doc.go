// Command chaos breaks a mesh on purpose and measures what that costs.
//
// A scenario is a file of scripts/chaos.d: a line a step, in order, and after
// "-- NAME --" the files that it uses. Each node and endpoint is a process in a
// network namespace of its own, on one bridge. Cuts and losses are rules of
// nftables where the packets arrive; delay is a relay of ours, since not every
// kernel has netem. So it needs root, iproute2 and nftables.
//
//	scripts/chaos --list
//	scripts/chaos node-kill one-way-cut
//
// The steps are told by scripts/chaos --help. In files $NAME is the address of
// the node or endpoint NAME.
package main
