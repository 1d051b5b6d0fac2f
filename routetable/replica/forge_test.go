package replica_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// forged returns a message of a node z with one object of a newer version.
func forged(t *testing.T, version uint64) []byte {
	t.Helper()
	return forge(version, 0, "future", `{"name":"future","hologram":true}`)
}

// forgedObject returns one of an object of so many bytes.
func forgedObject(t *testing.T, version uint64, name string, size int) []byte {
	t.Helper()
	return forge(version, 0, name, `{"name":"`+name+`","hologram":"`+strings.Repeat("x", size)+`"}`)
}

// forgedAfter returns one that follows a changeset which never was.
func forgedAfter(t *testing.T, version uint64, name string, size int) []byte {
	t.Helper()
	return forge(version, version-1, name, `{"name":"`+name+`","hologram":"`+strings.Repeat("x", size)+`"}`)
}

func forge(version, after uint64, name, object string) []byte {
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
	var seen []byte
	if after > 0 {
		seen = field(2, number(1, after), field(2, []byte("nobody")))
	}
	entry := field(1,
		field(1, []byte("route")), field(2, []byte(name)), field(3, stamp...),
		field(6, []byte(object)), field(99, []byte("hologram")))
	return append(number(1, 1), field(2, field(1, stamp...), seen, field(7, entry))...)
}
