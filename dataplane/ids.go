package dataplane

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"time"

	"github.com/meshgw/meshgw/dataplane/message"
)

// appendRequestID appends a UUIDv7 (RFC 9562, section 5.7), which sorts by time.
func appendRequestID(dst []byte, now time.Time) []byte {
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

// validRequestID reports whether a client's id may be kept: 1 to 128 bytes of
// [A-Za-z0-9._-].
func validRequestID(id []byte) bool {
	for _, c := range id {
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return len(id) > 0 && len(id) <= 128
}

// trace is the W3C trace context of a request.
type trace struct {
	id        [32]byte // lower-case hex
	parent    []byte   // span id of the caller, in hex; nil = none
	span      uint64   // span id of the present try, as sent to the next hop; 0 = none was sent
	sampled   bool
	continued bool // begun by the client, so its tracestate is passed on
}

// readTrace continues the client's trace, or begins one if traceparent is absent or
// malformed (W3C Trace Context, section 3.2). One that begins here is sampled if its
// id is below a bound: see sampledBelow.
func readTrace(traceparent []byte, below uint64) trace {
	var t trace
	if p := traceparent; len(p) >= 55 && p[2] == '-' && p[35] == '-' && p[52] == '-' &&
		isLowerHex(p[:2]) && isLowerHex(p[3:35]) && isLowerHex(p[36:52]) && isLowerHex(p[53:55]) &&
		string(p[:2]) != "ff" && (len(p) == 55 || string(p[:2]) != "00" && p[55] == '-') &&
		!allZero(p[3:35]) && !allZero(p[36:52]) {
		copy(t.id[:], p[3:35])
		t.parent = p[36:52]
		t.sampled, t.continued = message.Unhex(p[54])&1 == 1, true
		return t
	}
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], rand.Uint64())
	binary.BigEndian.PutUint64(raw[8:], rand.Uint64()|1) // never all zero
	hex.Encode(t.id[:], raw[:])
	t.sampled = binary.BigEndian.Uint64(raw[8:])>>1 < below
	return t
}

// sampledBelow returns the bound below which the last 63 bits of a sampled trace's
// id lie. OpenTelemetry's samplers use the same rule, so that all decide alike.
func sampledBelow(ratio float64) uint64 { return uint64(ratio * (1 << 63)) }

// appendTraceparent appends the field's value for the next hop, with a new span id.
func (t *trace) appendTraceparent(dst []byte) []byte {
	var parent [8]byte
	t.span = rand.Uint64() | 1
	binary.BigEndian.PutUint64(parent[:], t.span)
	dst = append(dst, "00-"...)
	dst = append(dst, t.id[:]...)
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, parent[:])
	if t.sampled {
		return append(dst, "-01"...)
	}
	return append(dst, "-00"...)
}

func isLowerHex(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != '0' {
			return false
		}
	}
	return true
}
