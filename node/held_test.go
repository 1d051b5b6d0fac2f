package node

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/replica"
)

func TestAStoreRemembersWhyItRefusedUntilItTakesOne(t *testing.T) {
	told := 0
	s := heedfulStore{Store: replica.NewStore("a"), onRefusal: func() { told++ }}
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
	other := replica.NewStore("b")
	p, err := other.Prepare(replica.Edit{Spec: &routetable.Spec{Routes: []routetable.Route{{Name: "r", Respond: &routetable.Respond{Status: 200}}}}})
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
		held []replica.Held
		want string
	}{
		{nil, ""},
		{[]replica.Held{{Object: "route/r", Reason: "no upstream u"}}, "held back: route/r: no upstream u"},
		{[]replica.Held{{Reason: "changeset 7@b waits"}}, "held back: changeset 7@b waits"},
		{
			[]replica.Held{{Object: "route/r", Reason: "x"}, {Object: "route/s", Reason: "unknown field", Foreign: true}},
			"older binary: route/s: unknown field (and 1 more)",
		},
		{[]replica.Held{{Reason: long}}, shorten("held back: " + long)},
	} {
		if got := heldReason(tt.held); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	if got := shorten(long); len(got) > 250 || !strings.HasSuffix(got, "\u00e9\u2026") {
		t.Errorf("got %d bytes, %q", len(got), got)
	}
}
