package gossip

import (
	"bytes"
	"testing"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

func serfMessage(tb testing.TB, kind byte, fields map[string]any) []byte {
	tb.Helper()
	b := bytes.NewBuffer([]byte{kind})
	if err := codec.NewEncoder(b, &codec.MsgpackHandle{}).Encode(fields); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// One message with the highest time would have Serf take every later one for old.
func TestTimesOfSerfThatNoMeshHasComeToAreNotBelieved(t *testing.T) {
	const highest = ^uint64(0)
	for name, msg := range map[string][]byte{
		"join":       serfMessage(t, serfJoin, map[string]any{"LTime": highest, "Node": "a"}),
		"leave":      serfMessage(t, serfLeave, map[string]any{"LTime": uint64(1) << 40, "Node": "a"}),
		"query":      serfMessage(t, serfQuery, map[string]any{"LTime": highest - 1, "Name": "q", "ID": 7}),
		"event":      serfMessage(t, serfUserEvent, map[string]any{"LTime": highest}),
		"state":      serfMessage(t, serfPushPull, map[string]any{"LTime": 5, "QueryLTime": highest}),
		"a status":   serfMessage(t, serfPushPull, map[string]any{"LTime": 5, "StatusLTimes": map[string]uint64{"a": highest}}),
		"old events": serfMessage(t, serfPushPull, map[string]any{"LTime": 5, "Events": []any{nil, map[string]any{"LTime": highest}}}),
	} {
		var c clocks
		c.newest = [3]uint64{5, 5, 5}
		if c.believe(msg) {
			t.Errorf("%s: believed", name)
		}
		if c.newest != [3]uint64{5, 5, 5} {
			t.Errorf("%s: the clocks are %v after it", name, c.newest)
		}
	}
}

func TestTimesOfSerfThatGoOnAreBelieved(t *testing.T) {
	var c clocks
	for _, at := range []uint64{1 << 40, 1<<40 + 7, 3, 1<<40 + 1<<31} {
		if !c.believe(serfMessage(t, serfQuery, map[string]any{"LTime": at, "Name": "q"})) {
			t.Errorf("%d was not believed", at)
		}
	}
	if !c.believe([]byte{serfQuery, 0xff}) || !c.believe([]byte{5}) || !c.believe(nil) {
		t.Error("what has no time is Serf's to refuse")
	}
}

// Whatever comes, no clock goes back, nor far ahead.
func FuzzTimesOfSerf(f *testing.F) {
	f.Add(serfMessage(f, serfQuery, map[string]any{"LTime": 7, "Name": "q", "ID": 7}))
	f.Add(serfMessage(f, serfPushPull, map[string]any{"LTime": 6, "StatusLTimes": map[string]uint64{"a": 9}, "Events": []any{nil, map[string]any{"LTime": 8}}}))
	f.Add([]byte{serfJoin, 0xdf, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, msg []byte) {
		c := clocks{newest: [3]uint64{5, 5, 5}}
		c.believe(msg)
		for _, at := range c.newest {
			if at < 5 || at > 5+maxTick {
				t.Fatalf("%q: the clocks are %v", msg, c.newest)
			}
		}
	})
}
