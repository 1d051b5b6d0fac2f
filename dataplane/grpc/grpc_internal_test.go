package grpc

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"
)

const limit = 24 * time.Hour

func TestParseTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1H": time.Hour, "20M": 20 * time.Minute, "3S": 3 * time.Second, "99999999m": limit, "5u": 5 * time.Microsecond,
		"7n": 7, "99999999H": limit, "0S": 0,
	} {
		if got, ok := ParseTimeout([]byte(text), limit); !ok || got != want {
			t.Errorf("%s: %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "S", "1", "1s", "-1S", "+1S", "1.5S", "123456789S", "1 S"} {
		if got, ok := ParseTimeout([]byte(text), limit); ok {
			t.Errorf("%q was taken for %v", text, got)
		}
	}
}

// What is written is read again, cut off below by less than one part in a hundred
// thousand: the next coarser unit still has six digits.
func FuzzTimeout(f *testing.F) {
	for _, d := range []time.Duration{-1, 0, 1, 99_999_999, 100_000_000, time.Second, time.Hour, limit} {
		f.Add(int64(d))
	}
	f.Fuzz(func(t *testing.T, n int64) {
		d := min(time.Duration(n), limit)
		text := AppendTimeout(nil, d)
		got, ok := ParseTimeout(text, limit)
		if want := max(d, 1); !ok || got > want || want-got > want/100_000 {
			t.Fatalf("%v became %s, read as %v", d, text, got)
		}
	})
}

func TestParseStatus(t *testing.T) {
	for text, want := range map[string]Status{"0": OK, "14": Unavailable, "16": Unauthenticated, "17": Unknown, "x": Unknown, "-1": Unknown, "": Unknown, "999999999999": Unknown} {
		got := ParseStatus([]byte(text))
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
		if again := ParseStatus(got.Append(nil)); again != got {
			t.Errorf("%s is written as %s", got, again)
		}
	}
}

func TestContentType(t *testing.T) {
	for text, want := range map[string]bool{
		"application/grpc": true, "Application/GRPC+proto": true, "application/grpc;x=y": true,
		"application/grpc-web": false, "application/json": false, "application/grp": false, "": false,
	} {
		if got := IsContentType([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// However a body is cut into pieces, the same longest message is found.
func FuzzMessages(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x02ab\x00\x00\x00\x00\x00"), 3)
	f.Add([]byte("\x01\xff\xff\xff\xff"), 1)
	f.Fuzz(func(t *testing.T, body []byte, size int) {
		want := int64(0)
		for rest := body; len(rest) >= 5; {
			n := int64(binary.BigEndian.Uint32(rest[1:]))
			want = max(want, n)
			rest = rest[5+min(n, int64(len(rest)-5)):]
		}
		var whole, cut Messages
		if got := whole.Longest(body); got != want {
			t.Fatalf("whole: %d, want %d", got, want)
		}
		got := int64(0)
		for r := bytes.NewReader(body); r.Len() > 0; {
			piece := make([]byte, min(max(1, size), r.Len()))
			r.Read(piece)
			got = max(got, cut.Longest(piece))
		}
		if got != want {
			t.Fatalf("in pieces: %d, want %d", got, want)
		}
	})
}

func FuzzReadHealth(f *testing.F) {
	for _, s := range []string{"\x00\x00\x00\x00\x02\x08\x01", "\x00\x00\x00\x00\x02\x08\x02", "\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x05\x12\x01a\x08\x01", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, framed []byte) {
		if IsServing(framed) && !bytes.Contains(framed, []byte{8, serving}) && !bytes.Contains(framed, []byte{0x88}) {
			t.Fatalf("%q is taken for well", framed)
		}
	})
}
