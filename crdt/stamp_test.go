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

func FuzzParseStamp(f *testing.F) {
	for _, text := range []string{"7", "7@eu-1", "18446744073709551615@a@b", "@", "+1@a", "007"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := crdt.ParseStamp(text)
		if err != nil {
			return
		}
		if again, err := crdt.ParseStamp(s.String()); err != nil || again != s {
			t.Errorf("%q reads as %+v, which reads back as %+v, %v", text, s, again, err)
		}
	})
}
