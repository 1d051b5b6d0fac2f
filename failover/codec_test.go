package failover_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/failover"
)

func someVerdicts(t *rapid.T) failover.Verdicts {
	return failover.Verdicts{
		Incarnation: rapid.Uint32().Draw(t, "incarnation"),
		Region:      rapid.String().Draw(t, "region"),
		Verdicts: rapid.SliceOf(rapid.Custom(func(t *rapid.T) failover.Verdict {
			return failover.Verdict{
				Upstream: rapid.StringN(0, 20, 80).Draw(t, "upstream"),
				URL:      rapid.StringN(0, 20, 80).Draw(t, "url"),
				Check:    failover.CheckVerdict(rapid.IntRange(0, 2).Draw(t, "check")),
				Open:     rapid.Bool().Draw(t, "open"),
				Since:    rapid.Int64Min(0).Draw(t, "since"),
				Reason:   rapid.StringN(0, 50, 200).Draw(t, "reason"),
			}
		})).Draw(t, "verdicts"),
	}
}

func TestVerdictsSurviveTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := someVerdicts(t)
		got, err := failover.DecodeVerdicts(failover.AppendVerdicts(nil, want))
		if len(want.Verdicts) == 0 {
			want.Verdicts = nil
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v; want %+v", got, err, want)
		}
	})
}

func TestLoadsSurviveTheWire(t *testing.T) {
	want := failover.Loads{Incarnation: 7, Region: "eu", Loads: []failover.Load{
		{Upstream: "orders", Headroom: 1500, Foreign: 0.5, Demand: 20, Wanted: 3},
		{},
		{Upstream: "users", Headroom: math.MaxFloat32},
	}}
	got, err := failover.DecodeLoads(failover.AppendLoads(nil, want))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
	odd := failover.Loads{Loads: []failover.Load{{Headroom: math.NaN(), Foreign: -1, Wanted: math.Inf(1)}}}
	got, err = failover.DecodeLoads(failover.AppendLoads(nil, odd))
	if err != nil || got.Loads[0] != (failover.Load{Wanted: math.MaxFloat32}) {
		t.Errorf("rates that are no numbers came over as %+v, %v", got, err)
	}
}

func TestWireBytesAreFixed(t *testing.T) {
	v := failover.Verdicts{Incarnation: 2, Region: "eu", Verdicts: []failover.Verdict{
		{Upstream: "a", URL: "http://b", Check: failover.CheckDown, Open: true, Since: 300, Reason: "reset"},
	}}
	l := failover.Loads{Incarnation: 2, Region: "eu", Loads: []failover.Load{{Upstream: "a", Headroom: 1, Foreign: 2, Demand: 4, Wanted: 0.5}}}
	for name, tt := range map[string]struct {
		got  []byte
		want string
	}{
		"verdicts": {failover.AppendVerdicts(nil, v), "080212026575" + "1a1b" + "0a0161" + "1208687474703a2f2f62" + "1802" + "2001" + "28ac02" + "32057265736574"},
		"loads":    {failover.AppendLoads(nil, l), "080212026575" + "1a17" + "0a0161" + "150000803f" + "1d00000040" + "2500008040" + "2d0000003f"},
	} {
		if got := hex.EncodeToString(tt.got); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestForeignBytesAreRefusedWhole(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, b := range map[string][]byte{
		"cut short":                 unhex("0802120265"),
		"trailing garbage":          unhex("0802ff"),
		"incarnation beyond 32 bit": unhex("08ffffffffff01"),
		"region as a number":        unhex("1002"),
		"region not UTF-8":          unhex("1201ff"),
		"region too long":           append(unhex("128110"), bytes.Repeat([]byte("x"), 2049)...),
		"item as a number":          unhex("1801"),
		"item cut short":            unhex("1a020a05"),
		"unknown check":             unhex("1a021803"),
		"too many items":            bytes.Repeat(unhex("1a00"), 20001),
	} {
		if v, err := failover.DecodeVerdicts(b); !errors.Is(err, failover.ErrMalformed) || len(v.Verdicts) > 0 {
			t.Errorf("%s: %v, %v; want ErrMalformed", name, v, err)
		}
	}
	for name, b := range map[string][]byte{
		"NaN":           unhex("1a05150000c07f"),
		"infinite":      unhex("1a05150000807f"),
		"negative":      unhex("1a0515000080bf"),
		"rate as bytes": unhex("1a03120100"),
	} {
		if l, err := failover.DecodeLoads(b); !errors.Is(err, failover.ErrMalformed) {
			t.Errorf("%s: %v, %v; want ErrMalformed", name, l, err)
		}
	}
	newer := append(failover.AppendLoads(nil, failover.Loads{Region: "eu"}), unhex("7a026162")...)
	if l, err := failover.DecodeLoads(newer); err != nil || l.Region != "eu" {
		t.Errorf("a newer field: %v, %v; want it skipped", l, err)
	}
}

func TestEndpointTellsItsVerdict(t *testing.T) {
	e := old(1)[0]
	if v, ok := e.Verdict("a", failover.Check{}); ok {
		t.Errorf("an endpoint nothing is known of says %+v", v)
	}
	if v, ok := e.Verdict("a", failover.Check{Verdict: failover.CheckUp}); !ok || v.Check != failover.CheckUp || v.Open {
		t.Errorf("checked up: %+v, %v", v, ok)
	}
	down := failover.Check{}
	for range 3 {
		down = down.Observe(start, "status 500", pace, 0)
	}
	if v, _ := e.Verdict("a", down); v.Check != failover.CheckDown || v.Reason != "status 500" || v.Since != start.UnixMilli() {
		t.Errorf("checked down: %+v", v)
	}
	breakOpen(start, e)
	want := failover.Verdict{Upstream: "a", URL: e.URL(), Open: true, Since: start.UnixMilli(), Reason: "connect_failure"}
	if v, ok := e.Verdict("a", failover.Check{}); !ok || v != want {
		t.Errorf("broken: %+v, want %+v", v, want)
	}
}

func TestHeadroom(t *testing.T) {
	for _, tt := range []struct {
		rate, cpu float64
		slots     int
		used      float64
		mean      time.Duration
		want      float64
	}{
		{1000, 0.4, 1000, 100, 100 * time.Millisecond, 1000}, // as much again brings the CPU to 80 %
		{1000, 0.4, 100, 87, 100 * time.Millisecond, 100},    // slots run out first
		{1000, 0.9, 1000, 100, 100 * time.Millisecond, 0},    // beyond the target
		{0, 0.01, 512, 0, 0, 4966.4},                         // nothing measured yet
		{1000, 0.4, 10, 15, 100 * time.Millisecond, 0},       // more in use than there are
		{100, 0.001, 100, 0, 10 * time.Millisecond, 9700},    // too idle to tell by CPU
		{3, 0.3, 100, 0, 10 * time.Millisecond, 9700},        // it is other things that take the CPU
		{3, 0.85, 100, 0, 10 * time.Millisecond, 0},          // all of it
	} {
		if got := failover.Headroom(tt.rate, tt.cpu, tt.slots, tt.used, tt.mean); math.Abs(got-tt.want) > 1e-6*tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(failover.AppendVerdicts(nil, failover.Verdicts{Incarnation: 1, Region: "eu", Verdicts: []failover.Verdict{{Upstream: "a", URL: "u", Open: true}}}))
	f.Add(failover.AppendLoads(nil, failover.Loads{Incarnation: 1, Region: "eu", Loads: []failover.Load{{Upstream: "a", Headroom: 1}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := failover.DecodeVerdicts(b); err == nil {
			again, err := failover.DecodeVerdicts(failover.AppendVerdicts(nil, v))
			if err != nil || !reflect.DeepEqual(v, again) {
				t.Errorf("%+v came back as %+v, %v", v, again, err)
			}
		}
		if l, err := failover.DecodeLoads(b); err == nil {
			again, err := failover.DecodeLoads(failover.AppendLoads(nil, l))
			if err != nil || !reflect.DeepEqual(l, again) {
				t.Errorf("%+v came back as %+v, %v", l, again, err)
			}
		}
	})
}
