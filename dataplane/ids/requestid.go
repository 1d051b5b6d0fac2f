package ids

import (
	"encoding/hex"
	"math/rand/v2"
	"time"
)

// AppendRequestID appends a UUIDv7 (RFC 9562, section 5.7), which sorts by time.
func AppendRequestID(dst []byte, now time.Time) []byte {
	ms, a, b := uint64(now.UnixMilli()), rand.Uint64(), rand.Uint64()
	id := [16]byte{
		byte(ms >> 40), byte(ms >> 32), byte(ms >> 24), byte(ms >> 16), byte(ms >> 8), byte(ms),
		0x70 | byte(a>>8)&0x0f, byte(a), 0x80 | byte(b>>56)&0x3f, byte(b >> 48),
		byte(b >> 40), byte(b >> 32), byte(b >> 24), byte(b >> 16), byte(b >> 8), byte(b),
	}
	for i, part := range [][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

// ValidRequestID reports whether a client's id may be kept: 1 to 128 bytes of
// [A-Za-z0-9._-].
func ValidRequestID(id []byte) bool {
	for _, c := range id {
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return len(id) > 0 && len(id) <= 128
}
