// Package sim plays whole meshes of real nodes in virtual time, over a network
// and disks that fail, and checks what the mesh promises. It is all tests.
//
// One seed is one scenario: how many nodes, and a list of steps, each drawn from
// its own generator: edits, deletions, rollbacks, loss, delay, cuts, slow hosts,
// deaths, damaged disks, restarts, jumps of clocks. After the steps all faults
// end, and the mesh has to be whole again.
//
// What must hold always, at every node as long as it lives: its table's version
// never goes back; the table is a set of whole changesets; what it acknowledged
// is in it, or was overtaken by a newer write. In the end: all see all, all
// tables and snapshots on disk are equal byte by byte, every acknowledged edit
// is in the history, every refused one is not, and each object is as the newest
// write to it says. Only an edit whose every copy on disk was destroyed may be
// missing. And what all nodes admit of a limit adds up to it.
//
// A seed fixes the scenario and not the order in which goroutines run: a failure
// may need several runs to be seen again.
//
//	go test ./internal/sim                                      some seeds
//	MESHGW_SEEDS=1000 go test -run Seeds -timeout 30m ./internal/sim
//	MESHGW_FROM=17 MESHGW_SEEDS=1 go test -run 'Seeds$' -count 20 ./internal/sim
//
// Disks are directories below TMPDIR; a TMPDIR in memory makes it faster.
package sim
