package ids

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"

	"github.com/meshgw/meshgw/routetable/canonical"
)

// Trace is the W3C trace context of a request.
type Trace struct {
	ID        [32]byte // lower-case hex
	Parent    []byte   // span id of the caller, in hex; nil = none
	Span      uint64   // span id of the present try, as sent to the next hop; 0 = none was sent
	Sampled   bool
	Continued bool // begun by the client, so its tracestate is passed on
}

// ReadTrace continues the client's trace, or begins one if traceparent is absent or
// malformed (W3C Trace Context, section 3.2). One that begins here is sampled if its
// id is below a bound: see SampledBelow.
func ReadTrace(traceparent []byte, below uint64) Trace {
	var t Trace
	if p := traceparent; len(p) >= 55 && p[2] == '-' && p[35] == '-' && p[52] == '-' &&
		isLowerHex(p[:2]) && isLowerHex(p[3:35]) && isLowerHex(p[36:52]) && isLowerHex(p[53:55]) &&
		string(p[:2]) != "ff" && (len(p) == 55 || string(p[:2]) != "00" && p[55] == '-') &&
		!allZero(p[3:35]) && !allZero(p[36:52]) {
		copy(t.ID[:], p[3:35])
		t.Parent = p[36:52]
		t.Sampled, t.Continued = canonical.Unhex(p[54])&1 == 1, true
		return t
	}
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], rand.Uint64())
	binary.BigEndian.PutUint64(raw[8:], rand.Uint64()|1) // never all zero
	hex.Encode(t.ID[:], raw[:])
	t.Sampled = binary.BigEndian.Uint64(raw[8:])>>1 < below
	return t
}

// SampledBelow returns the bound below which the last 63 bits of a sampled trace's
// id lie. OpenTelemetry's samplers use the same rule, so that all decide alike.
func SampledBelow(ratio float64) uint64 { return uint64(ratio * (1 << 63)) }

// AppendTraceparent appends the field's value for the next hop, with a new span id.
func (t *Trace) AppendTraceparent(dst []byte) []byte {
	var parent [8]byte
	t.Span = rand.Uint64() | 1
	binary.BigEndian.PutUint64(parent[:], t.Span)
	dst = append(dst, "00-"...)
	dst = append(dst, t.ID[:]...)
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, parent[:])
	if t.Sampled {
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
