package quota

import (
	"encoding/binary"
	"math/bits"
)

// A Key is a limit and whom it counts, hashed. It is never a raw name: keys
// travel, and names are the clients' own business.
type Key uint64

// Secret is the 16 random bytes of a mesh under which keys are hashed, so that
// nobody outside can choose names that collide or tell who is limited.
type Secret [16]byte

// Key hashes subject, whom l counts, with SipHash-2-4 (Aumasson and Bernstein,
// 2012). It does not allocate.
func (s *Secret) Key(l *Limit, subject []byte) Key {
	h := newHash(s)
	h.word(uint64(l.id()))
	return Key(h.finish(subject, 8))
}

// sip is the state of a SipHash-2-4.
type sip struct{ v0, v1, v2, v3 uint64 }

func newHash(s *Secret) sip {
	k0, k1 := binary.LittleEndian.Uint64(s[:8]), binary.LittleEndian.Uint64(s[8:])
	return sip{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573}
}

func (h *sip) round() {
	h.v0 += h.v1
	h.v1 = bits.RotateLeft64(h.v1, 13) ^ h.v0
	h.v0 = bits.RotateLeft64(h.v0, 32)
	h.v2 += h.v3
	h.v3 = bits.RotateLeft64(h.v3, 16) ^ h.v2
	h.v0 += h.v3
	h.v3 = bits.RotateLeft64(h.v3, 21) ^ h.v0
	h.v2 += h.v1
	h.v1 = bits.RotateLeft64(h.v1, 17) ^ h.v2
	h.v2 = bits.RotateLeft64(h.v2, 32)
}

func (h *sip) word(m uint64) {
	h.v3 ^= m
	h.round()
	h.round()
	h.v0 ^= m
}

// finish hashes the last bytes; before is how many were hashed already.
func (h *sip) finish(data []byte, before int) uint64 {
	total := len(data) + before
	for ; len(data) >= 8; data = data[8:] {
		h.word(binary.LittleEndian.Uint64(data))
	}
	var last [8]byte
	copy(last[:], data)
	last[7] = byte(total)
	h.word(binary.LittleEndian.Uint64(last[:]))
	h.v2 ^= 0xff
	for range 4 {
		h.round()
	}
	return h.v0 ^ h.v1 ^ h.v2 ^ h.v3
}
