//go:build nextversion

package gossip

import (
	"github.com/hashicorp/memberlist"
	"google.golang.org/protobuf/encoding/protowire"
)

// With the build tag nextversion this is a binary of a version to come, for tests
// of meshes of both: every frame has a field that this version does not know, and
// there are frames of a state that it does not have. See roster too.

const fieldNext = 100

func appendNext(b []byte) []byte {
	return protowire.AppendString(protowire.AppendTag(b, fieldNext, protowire.BytesType), "next")
}

func (m *Mesh) speakNext(peer memberlist.Address) {
	m.send(peer, frame{state: "next", data: []byte("news")}.encode())
}
