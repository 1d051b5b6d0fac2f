package gossip

import (
	"encoding/binary"
	"errors"
	"net"
)

// What memberlist seals begins with the version of how, which its seal does not
// cover: 1 is what it writes, 0 an older one with padding inside. One of ours,
// repeated with a 0 in its place, opens, and memberlist panics over padding that is
// not there; likewise over a sealed stream with nothing in it. Anybody who has seen
// one packet could end every node. So nothing but version 1 reaches memberlist.
const (
	sealVersion  = 1
	sealOverhead = 1 + 12 + 16 // version, nonce, tag
)

// mayBeSealed reports whether a packet looks like one that memberlist sealed. (A
// label, which it may begin with instead, we have none of.)
func mayBeSealed(packet []byte) bool {
	return len(packet) > sealOverhead && packet[0] == sealVersion
}

// A sealed stream of memberlist begins with a type, a length and the version.
const (
	sealedStream = 10
	sealedHead   = 1 + 4 + 1
)

var errNotSealed = errors.New("not sealed")

// sealedConn is a stream of memberlist's in a mesh with a keyring. It lets only a
// sealed message in, of which there is one each way.
type sealedConn struct {
	net.Conn
	refused func(what, reason string) // nil = nobody counts
	head    [sealedHead]byte
	have    int
}

// Read implements net.Conn.
func (c *sealedConn) Read(b []byte) (int, error) {
	if c.have == sealedHead {
		return c.Conn.Read(b)
	}
	n, err := c.Conn.Read(b[:min(len(b), sealedHead-c.have)])
	c.have += copy(c.head[c.have:], b[:n])
	if !c.sound() {
		if c.refused != nil {
			c.refused("stream", "not_sealed")
		}
		return 0, errNotSealed
	}
	return n, err
}

// sound reports whether what is there of the head is as it should be.
func (c *sealedConn) sound() bool {
	switch {
	case c.have > 0 && c.head[0] != sealedStream:
		return false
	case c.have < sealedHead:
		return true
	}
	return binary.BigEndian.Uint32(c.head[1:]) > sealOverhead && c.head[5] == sealVersion
}
