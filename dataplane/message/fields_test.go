package message

import (
	"bytes"
	"testing"
)

func FuzzParseFields(f *testing.F) {
	for _, s := range []string{"A: b\r\n\r\n", "Connection: close, x\r\nTE: trailers\r\n\r\n", "\r\n", "A : b\r\n\r\n", "A: b\n\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		fields, err := ParseFields(nil, block)
		if err != nil {
			return
		}
		var b []byte
		for i := range fields {
			b = AppendField(b, fields[i].Name, fields[i].Value)
		}
		again, err := ParseFields(nil, append(b, "\r\n"...))
		if err != nil || len(again) != len(fields) {
			t.Fatalf("%q is not read again as %q: %v", block, b, err)
		}
		for i := range fields {
			if !bytes.Equal(again[i].Name, fields[i].Name) || !bytes.Equal(again[i].Value, fields[i].Value) || again[i].ID != fields[i].ID {
				t.Fatalf("%q became %q", fields[i].Name, again[i].Name)
			}
		}
	})
}
