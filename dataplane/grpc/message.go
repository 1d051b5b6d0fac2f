package grpc

import "encoding/binary"

// prefixLength is how many bytes stand before each message: whether it is
// compressed, and its length.
const prefixLength = 5

// Messages follows the messages in a body that comes in pieces. The zero value is
// ready for the first piece.
type Messages struct {
	prefix [prefixLength]byte
	have   int   // bytes of prefix
	left   int64 // bytes of the message to come
}

// Longest returns the length, in bytes, of the longest message whose prefix ends
// in piece; 0 if there is none.
func (m *Messages) Longest(piece []byte) (longest int64) {
	for len(piece) > 0 {
		if m.left > 0 {
			n := min(m.left, int64(len(piece)))
			m.left -= n
			piece = piece[n:]
			continue
		}
		n := copy(m.prefix[m.have:], piece)
		m.have += n
		piece = piece[n:]
		if m.have == prefixLength {
			m.have = 0
			m.left = int64(binary.BigEndian.Uint32(m.prefix[1:]))
			longest = max(longest, m.left)
		}
	}
	return longest
}
