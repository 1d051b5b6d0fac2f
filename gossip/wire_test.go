package gossip

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/hashicorp/memberlist"
	"pgregory.net/rapid"
)

func TestFramesReadBackAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := frame{eager: rapid.Bool().Draw(t, "eager")}
		switch rapid.IntRange(0, 2).Draw(t, "what") {
		case 0:
			f.service = rapid.StringN(1, 10, 20).Draw(t, "service")
			f.data = rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "datagram")
		case 1:
			f.state = rapid.StringN(1, 10, 20).Draw(t, "state")
			f.data = rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "data")
		default:
			f.holder = "10.0.0.1:7946"
			for range rapid.IntRange(1, 4).Draw(t, "hashes") {
				f.hashes = append(f.hashes, hash{rapid.StringN(1, 10, 20).Draw(t, "of"), rapid.Uint64().Draw(t, "sum")})
			}
		}
		b := f.encode()
		if b[0] != ours {
			t.Fatalf("first byte %x", b[0])
		}
		got, err := decodeFrame(b[1:])
		if err != nil || !reflect.DeepEqual(got, f) {
			t.Fatalf("got %+v, %v; want %+v", got, err, f)
		}
	})
}

// A change of these bytes is a change of the protocol.
func TestFrameOnTheWire(t *testing.T) {
	got := frame{eager: true, state: "routes", data: []byte{1, 2}, holder: "h:1", hashes: []hash{{"routes", 5}}}.encode()
	want := []byte("\xf0\x01\x08\x01\x12\x06routes\x1a\x02\x01\x02\x22\x03h:1\x2a\x11\x0a\x06routes\x11\x05\x00\x00\x00\x00\x00\x00\x00")
	if !bytes.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	got = frame{service: "limits", data: []byte{1, 2}}.encode()
	if want = []byte("\xf0\x01\x32\x06limits\x1a\x02\x01\x02"); !bytes.Equal(got, want) {
		t.Errorf("datagram: got  %q\nwant %q", got, want)
	}
}

func TestTrailerRidesBehindSerfsPart(t *testing.T) {
	serfPart := []byte("serf's own")
	f := frame{holder: "10.0.0.1:7946", hashes: []hash{{"routes", 1}, {"nodes", 2}}}
	blob := appendTrailer(serfPart, f)
	first, second := splitTrailer(blob)
	if !bytes.Equal(first, serfPart) {
		t.Errorf("Serf's part: %q", first)
	}
	if got, err := decodeFrame(append([]byte{wireVersion}, second...)); err != nil || !reflect.DeepEqual(got, f) {
		t.Errorf("ours: %+v, %v", got, err)
	}
	if first, second := splitTrailer(serfPart); !bytes.Equal(first, serfPart) || second != nil {
		t.Errorf("a stock agent's: %q, %q", first, second)
	}
}

func FuzzHear(f *testing.F) {
	f.Add(frame{eager: true, state: "routes", data: []byte{1}}.encode()[1:])
	f.Add(frame{service: "limits", data: []byte{1}}.encode()[1:])
	f.Add(frame{holder: "10.0.0.1:7946", hashes: []hash{{"routes", 1}}}.encode()[1:])
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeFrame(b)
		if err != nil {
			return
		}
		again, err := decodeFrame(got.encode()[1:])
		if got.data == nil || got.service != "" {
			got.state = "" // says nothing without data, or beside a service
		}
		if got.data == nil {
			got.service = ""
		}
		if got.holder == "" {
			got.hashes = nil
		}
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("got %+v, %v; want %+v", again, err, got)
		}
	})
}

func FuzzTrailer(f *testing.F) {
	f.Add(appendTrailer([]byte("x"), frame{holder: "h", hashes: []hash{{"routes", 1}}}))
	f.Fuzz(func(t *testing.T, blob []byte) {
		first, second := splitTrailer(blob)
		if second == nil && !bytes.Equal(first, blob) || len(first)+len(second) > len(blob) {
			t.Errorf("%q, %q of %q", first, second, blob)
		}
	})
}

func FuzzSyncAndWho(f *testing.F) {
	f.Add(encodeSync(syncMessage{state: "routes", digest: []byte{1}, delta: []byte{2}}))
	f.Add(appendWho(who{name: "n", id: "i", instance: "x", holder: "h"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decodeSync(b); err == nil {
			if again, err := decodeSync(encodeSync(s)); err != nil || !reflect.DeepEqual(again, s) {
				t.Errorf("got %+v, want %+v", again, s)
			}
		}
		if w, err := decodeWho(b); err == nil {
			if again, err := decodeWho(appendWho(w)); err != nil || again != w {
				t.Errorf("got %+v, want %+v", again, w)
			}
		}
	})
}

func keyring(t *testing.T, keys ...string) *memberlist.Keyring {
	t.Helper()
	var raw [][]byte
	for _, k := range keys {
		raw = append(raw, bytes.Repeat([]byte(k), 32))
	}
	kr, err := memberlist.NewKeyring(raw, raw[0])
	if err != nil {
		t.Fatal(err)
	}
	return kr
}
