package gossip

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"

	"google.golang.org/protobuf/encoding/protowire"
)

// ours is the first byte of a gossip message that is not Serf's, whose types are
// 0..9 (serf messages.go). The second is the version of what follows.
const (
	ours        = 0xF0
	wireVersion = 1
)

// Bounds of a frame that is read: ours fit a packet.
const (
	maxHeard  = 8 << 10 // bytes
	maxHashes = 64      // a mesh has five states
)

var errMalformed = errors.New("malformed")

// A frame is one of our messages: news of a state, a datagram to a service, or
// hashes of the digests of states that can be had at an address. On the wire it
// is a protobuf message.
type frame struct {
	eager   bool   // push it on at once if it is news
	state   string // with data: which state
	service string // with data, instead of state: whom the datagram is for
	data    []byte // changes of that state, or the datagram
	holder  string // with hashes: who has them, as IP and port
	hashes  []hash
}

// A hash is the hash of a state's digest.
type hash struct {
	state string
	sum   uint64
}

const (
	fieldEager    = 1
	fieldState    = 2
	fieldData     = 3
	fieldHolder   = 4
	fieldHash     = 5
	fieldDatagram = 6 // the service that data is for

	fieldHashState = 1
	fieldHashSum   = 2
)

func (f frame) encode() []byte {
	b := []byte{ours, wireVersion}
	if f.eager {
		b = protowire.AppendVarint(protowire.AppendTag(b, fieldEager, protowire.VarintType), 1)
	}
	if f.data != nil {
		if f.service != "" {
			b = protowire.AppendString(protowire.AppendTag(b, fieldDatagram, protowire.BytesType), f.service)
		} else {
			b = protowire.AppendString(protowire.AppendTag(b, fieldState, protowire.BytesType), f.state)
		}
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldData, protowire.BytesType), f.data)
	}
	return appendNext(f.appendHashes(b))
}

func (f frame) appendHashes(b []byte) []byte {
	if f.holder == "" {
		return b
	}
	b = protowire.AppendString(protowire.AppendTag(b, fieldHolder, protowire.BytesType), f.holder)
	for _, h := range f.hashes {
		m := protowire.AppendString(protowire.AppendTag(nil, fieldHashState, protowire.BytesType), h.state)
		m = protowire.AppendFixed64(protowire.AppendTag(m, fieldHashSum, protowire.Fixed64Type), h.sum)
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldHash, protowire.BytesType), m)
	}
	return b
}

// decodeFrame reads what follows the first byte. The frame points into b.
func decodeFrame(b []byte) (f frame, err error) {
	if len(b) == 0 || b[0] != wireVersion {
		return f, errors.New("unknown version")
	}
	for field, err := range wireFields(b[1:]) {
		if err != nil {
			return frame{}, err
		}
		switch field.num {
		case fieldEager:
			f.eager = field.number != 0
		case fieldState:
			f.state = string(field.bytes)
		case fieldDatagram:
			f.service = string(field.bytes)
		case fieldData:
			f.data = field.bytes
		case fieldHolder:
			f.holder = string(field.bytes)
			if _, err := netip.ParseAddrPort(f.holder); err != nil {
				return frame{}, fmt.Errorf("holder: %w", errMalformed)
			}
		case fieldHash:
			h, err := decodeHash(field.bytes)
			if err != nil {
				return frame{}, err
			}
			if f.hashes = append(f.hashes, h); len(f.hashes) > maxHashes {
				return frame{}, fmt.Errorf("more than %d hashes: %w", maxHashes, errMalformed)
			}
		}
	}
	return f, nil
}

func decodeHash(b []byte) (h hash, err error) {
	for field, err := range wireFields(b) {
		if err != nil {
			return hash{}, err
		}
		switch field.num {
		case fieldHashState:
			h.state = string(field.bytes)
		case fieldHashSum:
			h.sum = field.number
		}
	}
	return h, nil
}

// A wireField is one field of a protobuf message: a number or bytes.
type wireField struct {
	num    protowire.Number
	number uint64
	bytes  []byte
}

// wireFields yields the fields of b, or an error where it is malformed. Groups,
// which we never write, are skipped.
func wireFields(b []byte) iter.Seq2[wireField, error] {
	return func(yield func(wireField, error) bool) {
		for len(b) > 0 {
			num, typ, n := protowire.ConsumeTag(b)
			if n < 0 {
				yield(wireField{}, fmt.Errorf("tag: %w", errMalformed))
				return
			}
			size := protowire.ConsumeFieldValue(num, typ, b[n:])
			if size < 0 {
				yield(wireField{}, fmt.Errorf("field %d: %w", num, errMalformed))
				return
			}
			f, value := wireField{num: num}, b[n:n+size]
			switch typ {
			case protowire.VarintType:
				f.number, _ = protowire.ConsumeVarint(value)
			case protowire.Fixed64Type:
				f.number, _ = protowire.ConsumeFixed64(value)
			case protowire.BytesType:
				f.bytes, _ = protowire.ConsumeBytes(value)
			}
			if !yield(f, nil) {
				return
			}
			b = b[n+size:]
		}
	}
}

// Serf reads one msgpack object of a push/pull blob and ignores what follows it.
// So our hashes ride behind Serf's part, with their length and a mark at the end:
// a stock agent reads its part of ours, and we read the whole of a stock agent's.
const trailerMark = "MGW1"

func appendTrailer(serfPart []byte, f frame) []byte {
	b := append(make([]byte, 0, len(serfPart)+256), serfPart...)
	b = f.appendHashes(b)
	n := uint32(len(b) - len(serfPart))
	return append(protowire.AppendFixed32(b, n), trailerMark...)
}

// splitTrailer returns Serf's part of blob and ours, nil when there is none.
func splitTrailer(blob []byte) (serfPart, ourPart []byte) {
	end := len(blob) - len(trailerMark) - 4
	if end < 0 || string(blob[end+4:]) != trailerMark {
		return blob, nil
	}
	n, _ := protowire.ConsumeFixed32(blob[end:])
	if uint64(n) > uint64(end) {
		return blob, nil
	}
	return blob[:end-int(n)], blob[end-int(n) : end]
}
