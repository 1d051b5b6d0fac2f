//go:build nextversion

package roster

import "google.golang.org/protobuf/encoding/protowire"

// With the build tag nextversion a node tells of itself what this version does not
// know, and shows beside the build of a peer that it has heard the same of it.

const fieldNext = 100

func appendNext(b []byte) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, fieldNext, protowire.VarintType), 1)
}

func (n *Node) setNext(num protowire.Number) {
	if num == fieldNext {
		n.Build += " of the next version"
	}
}
