package routetable_test

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// forged gives a message of a node z with one object of a newer version.
func forged(t *testing.T, version uint64) []byte {
	t.Helper()
	field := func(num protowire.Number, parts ...[]byte) []byte {
		var body []byte
		for _, p := range parts {
			body = append(body, p...)
		}
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), body)
	}
	number := func(num protowire.Number, n uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), n)
	}
	stamp := [][]byte{number(1, version), field(2, []byte("z"))}
	entry := field(1,
		field(1, []byte("route")), field(2, []byte("future")), field(3, stamp...),
		field(6, []byte(`{"name":"future","hologram":true}`)), field(99, []byte("hologram")))
	return append(number(1, 1), field(2, field(1, stamp...), field(7, entry))...)
}
