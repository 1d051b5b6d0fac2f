package dataplane

import (
	"bytes"
	"encoding/json"
	"io"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/routetable"
)

func FuzzTextOfTheAccessLineReadsAsZerologs(f *testing.F) {
	for _, text := range []string{"", "/a/b", `/"\`, "/\x00\x1f\x7f\n", "/ü\u2028<&>", "/\xff\xc3("} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var event bytes.Buffer
		log := zerolog.New(&event)
		log.Log().Bytes("path", text).Send()
		ours := append(appendText([]byte(`{"path":`), text), '}')
		var got, want struct{ Path *string }
		if err := json.Unmarshal(ours, &got); err != nil || got.Path == nil {
			t.Fatalf("%q: %v", ours, err)
		}
		if err := json.Unmarshal(event.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		if *got.Path != *want.Path {
			t.Errorf("%q, zerolog has %q", *got.Path, *want.Path)
		}
	})
}

func TestMillisecondsAreToldAsShortAsTheyCanBe(t *testing.T) {
	for _, d := range []time.Duration{0, 999, time.Microsecond, 10 * time.Microsecond, 7514 * time.Microsecond, 7 * time.Millisecond, 7500 * time.Microsecond, time.Hour + 90*time.Microsecond} {
		want := strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', -1, 64)
		if got := string(appendMilliseconds(nil, d)); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func BenchmarkAccessLine(b *testing.B) {
	s := &Server{lines: zerolog.New(io.Discard).With().Str("node", "n").Str("region", "eu").Logger()}
	x := &Exchange{
		Method: []byte("GET"), Host: []byte("api.example.com"), Path: []byte("/v1/orders/17"), RequestID: []byte("01a221ba-56be-7196-ac84-4d9c68051b90"),
		Protocol: "HTTP/1.1", Client: netip.MustParseAddr("192.0.2.7"), scratch: &scratch{}, rule: &liveRule{Rule: &routetable.Rule{Name: "orders"}},
	}
	copy(x.trace.ID[:], "d6ace10a6f97546a502787bbac6eb9cb")
	b.ReportAllocs()
	for b.Loop() {
		s.writeLine(x, nil, 7514*time.Microsecond)
	}
}
