package replica

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meshgw/meshgw/crdt"
)

// The wire format: protobuf messages without a schema file, so that a newer
// version can add fields. The numbers below never change.
//
//	message  1 format  2 changeset*  3 state
//	state    1 entry*  2 seen*  3 floor  4 changeset*  5 base*  6 whole  7 current*
//	entry    1 kind  2 name  3 stamp  4 replaced  5 source  6 data (absent = deleted)
//	stamp    1 version  2 node        (seen and base are stamps too)
//	changeset 1 stamp  2 after*  3 author  4 message  5 at (ns since 1970)  6 rollback  7 write*
//	write    1 entry  2 before
//	current  packed numbers of those writes of the changeset before it that are entries too
//	digest   1 format  2 seen*  3 sum  4 floor
const wireFormat = 1

// Bounds of what is read from the wire.
const (
	maxWire     = 256 << 20 // bytes of a whole message
	maxObject   = 256 << 10 // bytes of one object
	maxNote     = 4 << 10   // bytes of an author, message or source
	maxJump     = 1 << 32   // versions ahead of the newest seen
	maxFirst    = 1 << 48   // versions, for a node that has seen none
	maxWaiting  = 256       // changesets whose predecessors are missing,
	maxHolding  = 32 << 20  // and their bytes
	maxNews     = 256       // changesets to pass on
	shortSum    = 16        // bytes of a digest's sum
	maxNodeName = 256
)

// WireError says why bytes of another node or of a snapshot were refused whole.
// Reason is one of a few words, fit for a metric's label.
type WireError struct {
	Reason string // truncated, utf8, too_big, too_far_ahead, format, checksum, invalid
	Detail string
}

// Kind is Reason, as gossip asks for it.
func (e *WireError) Kind() string { return e.Reason }

// Error returns reason and detail.
func (e *WireError) Error() string {
	return "route table message refused: " + e.Reason + ": " + e.Detail
}

var errUnknownKind = errors.New("unknown kind of object")

func refuse(reason, format string, args ...any) error {
	return &WireError{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// walk calls field for every field of a message. Only the values of the two
// wire types in use are read; others are for newer versions and skipped.
func walk(data []byte, field func(num protowire.Number, value []byte, n uint64, raw []byte) error) error {
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return refuse("truncated", "%v", protowire.ParseError(n))
		}
		size := protowire.ConsumeFieldValue(num, typ, data[n:])
		if size < 0 {
			return refuse("truncated", "%v", protowire.ParseError(size))
		}
		raw := data[:n+size]
		var value []byte
		var number uint64
		switch typ {
		case protowire.BytesType:
			value, _ = protowire.ConsumeBytes(data[n:])
		case protowire.VarintType:
			number, _ = protowire.ConsumeVarint(data[n:])
		}
		if err := field(num, value, number, raw); err != nil {
			return err
		}
		data = data[n+size:]
	}
	return nil
}

// count counts the fields of that number, as far as data can be read.
func count(data []byte, field protowire.Number) (n int) {
	_ = walk(data, func(num protowire.Number, _ []byte, _ uint64, _ []byte) error {
		if num == field {
			n++
		}
		return nil
	})
	return n
}

func readText(dst *string, value []byte, limit int) error {
	if len(value) > limit {
		return refuse("too_big", "text of %d bytes", len(value))
	}
	if !utf8.Valid(value) {
		return refuse("utf8", "%q", value)
	}
	*dst = string(value)
	return nil
}

func appendMessage(b []byte, num protowire.Number, body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), body)
}

func appendText(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func appendNumber(b []byte, num protowire.Number, n uint64) []byte {
	if n == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), n)
}

func appendStamp(b []byte, num protowire.Number, s crdt.Stamp) []byte {
	if s.IsZero() {
		return b
	}
	body := make([]byte, 0, 64) // as a rule it stays on the stack, here and below
	return appendMessage(b, num, appendText(appendNumber(body, 1, s.Version), 2, s.Node))
}

func readStamp(s *crdt.Stamp, data []byte) error {
	err := walk(data, func(num protowire.Number, value []byte, n uint64, _ []byte) error {
		switch num {
		case 1:
			s.Version = n
		case 2:
			return readText(&s.Node, value, maxNodeName)
		}
		return nil
	})
	if err == nil && (s.Version == 0 || s.Node == "") {
		err = refuse("invalid", "stamp %s", s)
	}
	return err
}

func appendSeen(b []byte, num protowire.Number, seen map[string]uint64) []byte {
	for _, node := range slices.Sorted(maps.Keys(seen)) {
		b = appendStamp(b, num, crdt.Stamp{Version: seen[node], Node: node})
	}
	return b
}

func readSeen(seen map[string]uint64, data []byte) error {
	var s crdt.Stamp
	if err := readStamp(&s, data); err != nil {
		return err
	}
	if seen[s.Node] = max(seen[s.Node], s.Version); len(seen) > maxAuthors {
		return refuse("too_big", "more than %d authors", maxAuthors)
	}
	return nil
}
