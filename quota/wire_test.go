package quota

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func drawReport(t *rapid.T) report {
	base := rapid.Int64Range(0, 1<<50).Draw(t, "base")
	r := report{
		Key: Key(rapid.Uint64().Draw(t, "key")), Limit: limitID(rapid.Uint64().Draw(t, "limit")),
		Seq: rapid.Int64Range(1, seqMost).Draw(t, "seq"), Base: base, Count: base + rapid.Int64Range(0, countMost).Draw(t, "count"),
		Born: rapid.Int64Range(0, seqMost).Draw(t, "born"), Claim: float64(rapid.Int64Range(0, 1<<30).Draw(t, "claim")),
		Starving: rapid.Bool().Draw(t, "starving"), Release: rapid.Bool().Draw(t, "release"),
	}
	if !r.Release {
		r.Demand = float64(rapid.Int64Range(0, 1<<30).Draw(t, "demand"))
		r.Want = rapid.Int64Range(1, countMost).Draw(t, "want")
	}
	return r
}

// P12
func TestReportsComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := rapid.SliceOf(rapid.Custom(drawReport)).Draw(rt, "reports")
		data := header{7, 3}.append(nil)
		for i := range want {
			before := len(data)
			if data = want[i].append(data); len(data)-before > entryMost {
				rt.Fatalf("an entry of %d bytes", len(data)-before)
			}
		}
		h, msgs, err := decode(data, nil)
		if err != nil || h != (header{7, 3}) || len(msgs) != len(want) {
			rt.Fatalf("%+v, %d entries, %v", h, len(msgs), err)
		}
		for i := range want {
			if msgs[i].report != want[i] {
				rt.Errorf("%+v, want %+v", msgs[i].report, want[i])
			}
		}
	})
}

func TestGrantsAreRoundedAgainstTheNode(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := grant{
			Key: 5, Seq: 9, Count: rapid.Int64Range(0, seqMost).Draw(rt, "count"),
			Tokens: rapid.Float64Range(-1e6, 1e6).Draw(rt, "tokens"), Rate: rapid.Float64Range(0, 1e6).Draw(rt, "rate"),
			Deny: time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(rt, "deny")), Level: rapid.Float64Range(0, 1).Draw(rt, "level"),
			Saturated: rapid.Bool().Draw(rt, "saturated"),
		}
		_, msgs, err := decode(want.append(header{1, 1}.append(nil)), nil)
		if err != nil || len(msgs) != 1 {
			rt.Fatal(err)
		}
		got := msgs[0].grant
		const milli = 0.001 + 2e-9
		if got.Tokens > want.Tokens+1e-8 || got.Tokens < want.Tokens-milli || got.Rate > want.Rate+1e-8 || got.Rate < want.Rate-milli ||
			got.Deny < want.Deny || got.Deny > want.Deny+time.Millisecond || got.Level > want.Level || got.Level < want.Level-1./255-1e-9 ||
			got.Count != want.Count || got.Saturated != want.Saturated {
			rt.Errorf("%+v, want %+v", got, want)
		}
	})
}

// The bytes are a promise to older nodes.
func TestWireBytesDoNotChange(t *testing.T) {
	data := header{node: 0x0102030405060708, incarnation: 9}.append(nil)
	r := report{Key: 1, Limit: 2, Seq: 3, Base: 4, Count: 9, Demand: 1.5, Want: 6, Claim: 2, Born: 7, Starving: true}
	data = r.append(data)
	g := grant{Key: 1, Seq: 3, Count: 9, Tokens: -1.5, Rate: 2, Deny: 5 * time.Millisecond, Level: 1, Saturated: true}
	data = g.append(data)
	data = (&grant{Key: 1, Seq: 3, Count: 9, Released: true}).append(data)
	data = appendRecall(data, 1)
	data = (&handover{Key: 1, Limit: 2, Seq: 3, Missing: 1.5}).append(data)
	want := []byte{
		1, 8, 7, 6, 5, 4, 3, 2, 1, 9, 0, 0, 0,
		0x71, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 4, 5, 0xdc, 0x0b, 6, 0xd0, 0x0f, 7,
		0x13, 1, 0, 0, 0, 0, 0, 0, 0, 3, 9, 0xb7, 0x17, 0xd0, 0x0f, 5, 255,
		0x04, 1, 0, 0, 0, 0, 0, 0, 0, 3, 9,
		0x05, 1, 0, 0, 0, 0, 0, 0, 0,
		0x06, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0xdc, 0x0b,
	}
	if !bytes.Equal(data, want) {
		t.Errorf("%#v\nwant %#v", data, want)
	}
}

func TestUnknownKindEndsTheDatagramAndGarbageVoidsIt(t *testing.T) {
	good := appendRecall(header{1, 1}.append(nil), 7)
	_, msgs, err := decode(append(slices.Clone(good), 0x0e, 1, 2, 3), nil)
	if err != nil || len(msgs) != 1 {
		t.Errorf("a later kind: %d entries, %v", len(msgs), err)
	}
	for name, data := range map[string][]byte{
		"empty": nil, "later version": {2}, "short header": good[:headerSize-1], "short entry": good[:len(good)-1],
		"absurd counter": binary.AppendUvarint(binary.AppendUvarint(append(header{1, 1}.append(nil), 3, 0, 0, 0, 0, 0, 0, 0, 0), 1), math.MaxUint64),
	} {
		if _, _, err := decode(data, nil); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	r := report{Key: 1, Limit: 2, Seq: 3, Base: 4, Count: 9, Demand: 1.5, Want: 6, Claim: 2, Born: 7}
	f.Add((&grant{Key: 1, Seq: 3, Tokens: 4}).append(r.append(header{2, 1}.append(nil))))
	f.Add([]byte{wireVersion})
	f.Fuzz(func(t *testing.T, data []byte) {
		_, msgs, err := decode(data, nil)
		if err != nil {
			return
		}
		if len(msgs) > len(data)/9 {
			t.Fatalf("%d entries of %d bytes", len(msgs), len(data))
		}
		for i := range msgs {
			if r := msgs[i].report; msgs[i].kind == kindReport && (r.Count < r.Base || r.Demand < 0 || r.Want < 0) {
				t.Fatalf("%+v", r)
			}
		}
	})
}

// FuzzReceive throws datagrams of a member gone mad at an engine in use.
func FuzzReceive(f *testing.F) {
	l := &Limit{Name: "l", Rate: 10, Burst: 10, Hold: HoldAuto, Isolated: 0.5}
	s := &Limit{Name: "s", Slots: 5, Hold: HoldAuto, Isolated: 0.5}
	r := report{Key: 1, Limit: l.id(), Seq: 3, Base: 4, Count: 9, Demand: 1.5, Want: 6, Claim: 2, Born: 7, Starving: true}
	f.Add(r.append(header{2, 1}.append(nil)), uint16(10))
	r.Limit = s.id()
	f.Add(r.append(header{2, 1}.append(nil)), uint16(10))
	f.Add((&grant{Key: 1, Seq: 1, Tokens: 1e9, Rate: 1e9}).append(header{2, 1}.append(nil)), uint16(10))
	f.Add((&handover{Key: 1, Limit: l.id(), Seq: 1, Missing: 1e9}).append(header{2, 1}.append(nil)), uint16(10))
	f.Fuzz(func(t *testing.T, data []byte, after uint16) {
		e := New(0, Config{Self: 1, Shards: 1})
		e.Configure(0, []*Limit{l, s})
		e.Members(0, []Member{{ID: 1}, {ID: 2}})
		var out Output
		now := time.Duration(0)
		for range 3 {
			e.Take(now, []Ask{{Limit: l, Key: 1}, {Limit: s, Key: 2}})
			now += time.Duration(after) * time.Millisecond
			_ = e.Receive(now, data)
			e.Poll(now, &out)
		}
		for _, h := range e.homes {
			if h.limit.Slots == 0 && (h.pool.tokens > h.limit.Burst+epsilon || !(h.pool.tokens >= -h.debtMost(h.limit.Rate)-2*h.limit.Rate*now.Seconds()-h.limit.Burst)) {
				t.Fatalf("pool %v", h.pool.tokens)
			}
			if math.IsNaN(h.rates) || math.IsNaN(h.demands) {
				t.Fatalf("%+v", h)
			}
		}
	})
}

func FuzzRecord(f *testing.F) {
	r := Record{Key: 1, Limit: 2, Home: 3, Incarnation: 4, Charged: 5, Taken: 6, At: time.Unix(7, 0)}
	f.Add(r.Append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r, again Record
		if r.UnmarshalBinary(data) != nil {
			return
		}
		if err := again.UnmarshalBinary(r.Append(nil)); err != nil || again != r {
			t.Fatalf("%+v, %+v, %v", r, again, err)
		}
	})
}
