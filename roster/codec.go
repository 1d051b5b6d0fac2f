package roster

import (
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meshgw/meshgw/crdt"
)

// A Node travels as a protobuf message of scalars: its fields in the order and
// with the numbers of this list. A number is never used again for something
// else; what a newer node says besides is skipped here and passed on as it came.
func (n *Node) fields() []any {
	return []any{
		1: &n.Name, 2: &n.Incarnation, 3: &n.Region, 4: &n.Zone, 5: &n.Weight, 6: &n.Build, 7: &n.StartedAt, 8: (*string)(&n.Phase),
		9: &n.Listen.HTTP, 10: &n.Listen.HTTPS, 11: &n.Listen.Mesh, 12: &n.Listen.Admin, 13: &n.Listen.Gossip, 14: &n.Listen.RPC,
		15: &n.Load.CPU, 16: &n.Load.Inflight, 17: &n.Load.RequestsPerSecond,
		18: &n.Routes.Version, 19: &n.Routes.Digest, 20: &n.Routes.AppliedAt,
		21: &n.Routes.Held, 22: &n.Routes.HeldReason, 23: &n.Routes.Refused,
		24: &n.Load.Descriptors, 25: &n.Listeners,
	}
}

func encode(n Node) []byte {
	var b []byte
	for i, field := range n.fields() {
		num := protowire.Number(i)
		switch v := field.(type) {
		case *string:
			if *v != "" {
				b = protowire.AppendTag(b, num, protowire.BytesType)
				b = protowire.AppendString(b, *v)
			}
		case *float64:
			if *v != 0 {
				b = protowire.AppendTag(b, num, protowire.Fixed32Type)
				b = protowire.AppendFixed32(b, math.Float32bits(float32(*v)))
			}
		default:
			if u := number(field); u != 0 {
				b = protowire.AppendTag(b, num, protowire.VarintType)
				b = protowire.AppendVarint(b, u)
			}
		}
	}
	return appendNext(b)
}

func number(field any) uint64 {
	switch v := field.(type) {
	case *int:
		return uint64(*v)
	case *int64:
		return uint64(*v)
	case *uint32:
		return uint64(*v)
	case *uint64:
		return *v
	}
	return 0
}

func decode(id string, b []byte) (Node, error) {
	n := Node{ID: id}
	fields := n.fields()
	for len(b) > 0 {
		num, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return Node{}, crdt.ErrMalformed
		}
		value := b[size:]
		if size = protowire.ConsumeFieldValue(num, typ, value); size < 0 {
			return Node{}, crdt.ErrMalformed
		}
		b = value[size:]
		if int(num) >= len(fields) {
			n.setNext(num)
			continue
		}
		if err := set(fields[num], typ, value[:size]); err != nil {
			return Node{}, fmt.Errorf("field %d: %w", num, err)
		}
	}
	return n, nil
}

// set stores value in field, whose Go type says which wire type it must have.
func set(field any, typ protowire.Type, value []byte) error {
	switch v := field.(type) {
	case *string:
		s, _ := protowire.ConsumeString(value)
		if typ != protowire.BytesType || !utf8.ValidString(s) {
			return crdt.ErrMalformed
		}
		*v = s
		return nil
	case *float64:
		u, _ := protowire.ConsumeFixed32(value)
		f := float64(math.Float32frombits(u))
		if typ != protowire.Fixed32Type || math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
			return crdt.ErrMalformed
		}
		*v = f
		return nil
	}
	u, _ := protowire.ConsumeVarint(value)
	if typ != protowire.VarintType {
		return crdt.ErrMalformed
	}
	switch v := field.(type) {
	case *int:
		*v = int(min(u, math.MaxInt32))
	case *int64:
		*v = int64(min(u, math.MaxInt64))
	case *uint32:
		*v = uint32(min(u, math.MaxUint32))
	case *uint64:
		*v = u
	}
	return nil
}
