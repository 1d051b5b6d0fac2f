package gossip

// A State is a value of which every node of the mesh holds a copy: routes,
// nodes, health, quota consumption. gossip carries its bytes and does not know
// what they mean.
//
// Merge must be a join: commutative, associative and idempotent, so that for
// any order, grouping, loss or repetition of the same data all copies end up
// equal. All methods may be called from several goroutines at once, and none
// may block on the network, on a timer or on another State.
type State interface {
	// Digest says compactly what is held here. Equal contents give equal
	// digests, and a peer can tell from it what its owner lacks.
	Digest() []byte

	// Delta returns, encoded for Merge, what is held here and missing at the
	// owner of digest; nil when that is nothing. A nil digest asks for
	// everything. An error means digest was malformed.
	Delta(digest []byte) ([]byte, error)

	// Changes returns, encoded for Merge in at most limit bytes, what became
	// news here since the last call, whether written here or merged; nil when
	// nothing is left. News that does not fit into limit by itself is dropped
	// from the changes and oversized is true: peers are then told that there
	// is something to fetch by Delta.
	Changes(limit int) (data []byte, oversized bool)

	// Merge joins data, a Delta or Changes of another node. What is news here
	// becomes part of the next Changes and so travels on. data is not kept. An
	// error means that data was malformed and nothing was merged.
	Merge(data []byte) error
}
