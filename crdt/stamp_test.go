package crdt_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/crdt"
)

func TestStampsAreTotallyOrderedAndReadBack(t *testing.T) {
	stamp := rapid.Custom(func(t *rapid.T) crdt.Stamp {
		return crdt.Stamp{Version: rapid.Uint64Range(0, 3).Draw(t, "v"), Node: rapid.SampledFrom([]string{"", "a", "b-1"}).Draw(t, "n")}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := stamp.Draw(t, "a"), stamp.Draw(t, "b"), stamp.Draw(t, "c")
		if a.Compare(b) != -b.Compare(a) || (a.Compare(b) == 0) != (a == b) {
			t.Fatalf("%v and %v are not ordered", a, b)
		}
		if a.Less(b) && b.Less(c) && !a.Less(c) {
			t.Fatalf("%v < %v < %v, but not the first and the last", a, b, c)
		}
		if got, err := crdt.ParseStamp(a.String()); err != nil || got != a {
			t.Fatalf("%v reads back as %v, %v", a, got, err)
		}
	})
}

func TestParseStampRefusesWhatIsNoVersion(t *testing.T) {
	for _, text := range []string{"", "@a", "x@a", "-1@a"} {
		if got, err := crdt.ParseStamp(text); err == nil {
			t.Errorf("%q read as %v", text, got)
		}
	}
	if got, err := crdt.ParseStamp("7"); err != nil || got != (crdt.Stamp{Version: 7}) {
		t.Errorf("7 read as %v, %v", got, err)
	}
}
