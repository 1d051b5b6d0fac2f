package node

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meshgw/meshgw/routetable"
)

func TestAStoreRemembersWhyItRefusedUntilItTakesOne(t *testing.T) {
	told := 0
	s := heedfulStore{Store: routetable.NewStore("a"), onRefusal: func() { told++ }}
	newer := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 99)
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"a newer format": {newer, "older binary: "},
		"garbage":        {[]byte{0xff}, "refused: "},
	} {
		told = 0
		for range 3 {
			if err := s.Merge(tt.data); err == nil {
				t.Fatalf("%s was taken", name)
			}
		}
		if why := s.refused.Load(); why == nil || !strings.HasPrefix(*why, tt.want) || told != 1 {
			t.Errorf("%s: %v, told %d times", name, why, told)
		}
	}
	other := routetable.NewStore("b")
	p, err := other.Prepare(routetable.Edit{Spec: &routetable.Spec{Routes: []routetable.Route{{Name: "r", Respond: &routetable.Respond{Status: 200}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Commit(p); err != nil {
		t.Fatal(err)
	}
	good, err := other.Delta(nil)
	if err != nil {
		t.Fatal(err)
	}
	told = 0
	if err := s.Merge(good); err != nil || s.refused.Load() != nil || told != 1 {
		t.Errorf("%v, %v, told %d times", err, s.refused.Load(), told)
	}
	if err := s.Merge(good); err != nil || told != 1 {
		t.Errorf("%v, told %d times", err, told)
	}
}

func TestAHeldReasonNamesTheObjectThatSaysMost(t *testing.T) {
	long := strings.Repeat("\u00e9", 500)
	for _, tt := range []struct {
		held []routetable.Held
		want string
	}{
		{nil, ""},
		{[]routetable.Held{{Object: "route/r", Reason: "no upstream u"}}, "held back: route/r: no upstream u"},
		{[]routetable.Held{{Reason: "changeset 7@b waits"}}, "held back: changeset 7@b waits"},
		{
			[]routetable.Held{{Object: "route/r", Reason: "x"}, {Object: "route/s", Reason: "unknown field", Foreign: true}},
			"older binary: route/s: unknown field (and 1 more)",
		},
		{[]routetable.Held{{Reason: long}}, shorten("held back: " + long)},
	} {
		if got := heldReason(tt.held); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	if got := shorten(long); len(got) > 250 || !strings.HasSuffix(got, "\u00e9\u2026") {
		t.Errorf("got %d bytes, %q", len(got), got)
	}
}
