package ban_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/ban"
	"github.com/meshgw/meshgw/crdt"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func prefix(text string) netip.Prefix {
	p, err := ban.ParsePrefix(text)
	if err != nil {
		panic(err)
	}
	return p
}

func put(tb testing.TB, l *ban.List, now time.Time, text string, d time.Duration) {
	tb.Helper()
	if err := l.Put(now, ban.Ban{Prefix: prefix(text), For: d, Reason: "why", By: "ann", Node: "eu-1", At: now}); err != nil {
		tb.Fatal(err)
	}
}

// tell has to know what from knows.
func tell(tb testing.TB, now time.Time, from, to *ban.List) {
	tb.Helper()
	delta, err := from.Delta(now, to.Digest())
	if err != nil {
		tb.Fatal(err)
	}
	if err := to.Merge(now, delta); err != nil {
		tb.Fatal(err)
	}
}

func names(l *ban.List, now time.Time) (all []string) {
	for _, b := range l.All(now) {
		all = append(all, b.Prefix.String())
	}
	return all
}

func TestABanArrivesAsItWasPut(t *testing.T) {
	a, b := ban.NewList(), ban.NewList()
	put(t, a, start, "10.1.0.0/16", time.Minute)
	far := start.Add(-7 * time.Hour) // b's clock is another
	delta, err := a.Delta(start.Add(20*time.Second), b.Digest())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Merge(far, delta); err != nil {
		t.Fatal(err)
	}
	want := ban.Ban{Prefix: prefix("10.1.0.0/16"), For: time.Minute, Left: 40 * time.Second, Reason: "why", By: "ann", Node: "eu-1", At: start}
	if got := b.All(far); len(got) != 1 || got[0] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestABanEndsByEachNodesOwnCount(t *testing.T) {
	l := ban.NewList()
	put(t, l, start, "192.0.2.1", time.Minute)
	put(t, l, start, "192.0.2.2", 2*time.Minute)
	if next := l.Expire(start.Add(time.Minute)); !next.Equal(start.Add(2 * time.Minute)) {
		t.Errorf("the next ends at %s", next)
	}
	if got := names(l, start.Add(time.Minute)); !slices.Equal(got, []string{"192.0.2.2/32"}) {
		t.Errorf("got %v", got)
	}
	if next := l.Expire(start.Add(time.Hour)); !next.IsZero() || len(l.All(start)) != 0 {
		t.Errorf("next %s, all %v", next, l.All(start))
	}
}

func TestWhatHasEndedHereDoesNotComeBackFromThere(t *testing.T) {
	a, b := ban.NewList(), ban.NewList()
	put(t, a, start, "192.0.2.1", time.Minute)
	tell(t, start.Add(10*time.Second), a, b)
	a.Expire(start.Add(time.Minute))
	tell(t, start.Add(time.Minute), b, a)
	if got := names(a, start.Add(time.Minute)); got != nil {
		t.Errorf("%v came back", got)
	}
	tell(t, start.Add(time.Minute), a, b)
	if got := names(b, start.Add(30*time.Second)); got != nil {
		t.Errorf("%v is there yet", got)
	}
}

func TestAWordThatWasLongUnderWayDoesNotLengthenABan(t *testing.T) {
	a, b := ban.NewList(), ban.NewList()
	put(t, a, start, "192.0.2.1", time.Minute)
	early, _ := a.Changes(start, 1000)
	tell(t, start.Add(50*time.Second), a, b)
	if err := b.Merge(start.Add(50*time.Second), early); err != nil {
		t.Fatal(err)
	}
	if got := b.All(start.Add(50 * time.Second)); len(got) != 1 || got[0].Left != 10*time.Second {
		t.Errorf("got %+v, want 10 s left", got)
	}
}

func TestTheLaterBanOfAPrefixHolds(t *testing.T) {
	a, b := ban.NewList(), ban.NewList()
	put(t, a, start, "192.0.2.1", time.Hour)
	tell(t, start, a, b)
	put(t, b, start, "192.0.2.1", time.Minute)
	tell(t, start, b, a)
	if got := a.All(start); len(got) != 1 || got[0].Left != time.Minute {
		t.Errorf("got %+v, want a minute", got)
	}
	put(t, a, start, "192.0.2.1", 2*time.Hour)
	tell(t, start, a, b)
	if got := b.All(start); len(got) != 1 || got[0].Left != 2*time.Hour {
		t.Errorf("got %+v, want two hours", got)
	}
}

func TestABanThatIsLiftedCanBePutAgain(t *testing.T) {
	a, b := ban.NewList(), ban.NewList()
	put(t, a, start, "192.0.2.1", time.Hour)
	tell(t, start, a, b)
	if _, ok := b.Remove(start, prefix("192.0.2.1")); !ok {
		t.Fatal("there is none to lift")
	}
	if _, ok := b.Remove(start, prefix("192.0.2.1")); ok {
		t.Fatal("it was lifted twice")
	}
	tell(t, start, b, a)
	if got := names(a, start); got != nil {
		t.Fatalf("%v is there yet", got)
	}
	put(t, a, start, "192.0.2.1", time.Hour)
	tell(t, start, a, b)
	if got := names(b, start); len(got) != 1 {
		t.Error("it did not come again")
	}
}

func TestBansOutliveARestart(t *testing.T) {
	l, after := ban.NewList(), ban.NewList()
	put(t, l, start, "192.0.2.1", time.Minute)
	put(t, l, start, "2001:db8::/32", time.Hour)
	l.Remove(start, prefix("192.0.2.9"))
	if err := after.Restore(start.Add(10*time.Minute), l.Snapshot(start.Add(30*time.Second))); err != nil {
		t.Fatal(err)
	}
	got := after.All(start.Add(10 * time.Minute))
	if len(got) != 1 || got[0].Prefix != prefix("2001:db8::/32") || got[0].Left != 50*time.Minute {
		t.Errorf("got %+v, want the one with 50 minutes left", got)
	}
	tell(t, start.Add(31*time.Second), l, after) // the others know better what is over
	if got := names(after, start.Add(31*time.Second)); len(got) != 2 {
		t.Errorf("got %v, want what the mesh holds", got)
	}
}

func TestHostileBansAreRefusedWhole(t *testing.T) {
	from := ban.NewList()
	put(t, from, start, "192.0.2.1", time.Minute)
	good := from.Snapshot(start)
	record := func(key string, version uint64, value []byte) []byte {
		return append(crdt.Entry{Key: key, Version: version, Value: value}.Append(nil), 2<<3|2, 1, 100)
	}
	minute := []byte{1 << 3, 0xe0, 0xd4, 0x03} // for 60,000 ms
	for name, data := range map[string][]byte{
		"cut off":             good[:len(good)-3],
		"without what's left": crdt.Entry{Key: "192.0.2.1/32", Version: 1, Value: minute}.Append(nil),
		"version beyond":      record("192.0.2.1/32", 1<<49, minute),
		"no prefix":           record("everybody", 1, minute),
		"everybody":           record("0.0.0.0/0", 1, minute),
		"other form":          record("192.0.2.1", 1, minute),
		"bad UTF-8":           record("192.0.2.1/32", 1, append(bytes.Clone(minute), 2<<3|2, 1, 0xff)),
		"no time":             record("192.0.2.1/32", 1, []byte{1 << 3, 0}),
		"a century":           record("192.0.2.1/32", 1, []byte{1 << 3, 0xff, 0xff, 0xff, 0xff, 0x7f}),
		"long text":           record("192.0.2.1/32", 1, append(append(bytes.Clone(minute), 2<<3|2, 0xac, 0x02), strings.Repeat("x", 300)...)),
	} {
		l := ban.NewList()
		if err := l.Merge(start, data); err == nil {
			t.Errorf("%s: taken: %v", name, l.All(start))
		}
		if len(l.All(start)) != 0 {
			t.Errorf("%s: half taken", name)
		}
	}
	if err := ban.NewList().Merge(start, record("192.0.2.1/32", 1, minute)); err != nil {
		t.Errorf("the record that the others spoil is itself refused: %v", err)
	}
}

func TestAMillionBansAreRefused(t *testing.T) {
	var data []byte
	for i := range 1_000_000 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
		data = crdt.Entry{Key: p.String(), Version: 1, Value: []byte{1 << 3, 100}}.Append(data)
	}
	l := ban.NewList()
	if err := l.Merge(start, data); !errors.Is(err, crdt.ErrTooMany) || len(l.All(start)) != 0 {
		t.Errorf("got %v and %d bans", err, len(l.All(start)))
	}
}

func TestBansAreBoundedInNumber(t *testing.T) {
	l := ban.NewList()
	for i := range ban.MaxBans {
		put(t, l, start, fmt.Sprintf("10.0.%d.%d", i>>8, i&255), time.Hour)
	}
	err := l.Put(start, ban.Ban{Prefix: prefix("192.0.2.1"), For: time.Hour})
	if !errors.Is(err, ban.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	put(t, l, start, "10.0.0.0", 2*time.Hour) // one that is there may change
	other := ban.NewList()
	for i := range ban.MaxBans {
		put(t, other, start, fmt.Sprintf("10.1.%d.%d", i>>8, i&255), time.Hour)
	}
	tell(t, start, l, other) // what two sides of a partition put comes together
	if got := len(other.All(start)); got != 2*ban.MaxBans {
		t.Errorf("%d bans after two sides met, want %d", got, 2*ban.MaxBans)
	}
}

// What is said in any order, any number of times, ends the same everywhere.
func TestMergeIsAJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		copies := []*ban.List{ban.NewList(), ban.NewList(), ban.NewList()}
		now := start
		var said [][]byte
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			now = now.Add(time.Second)
			l := rapid.SampledFrom(copies).Draw(t, "copy")
			p := prefix(rapid.SampledFrom([]string{"192.0.2.1", "10.0.0.0/8", "2001:db8::1"}).Draw(t, "prefix"))
			switch rapid.IntRange(0, 3).Draw(t, "deed") {
			case 0:
				l.Remove(now, p)
			case 1:
				l.Expire(now)
			default:
				d := time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second
				if err := l.Put(now, ban.Ban{Prefix: p, For: d, At: now}); err != nil {
					t.Fatal(err)
				}
			}
			data, _ := l.Changes(now, 4096)
			said = append(said, data)
		}
		results := make([]*ban.List, 2)
		for i := range results {
			results[i] = ban.NewList()
			for _, data := range append(rapid.Permutation(said).Draw(t, "order"), said...) {
				if err := results[i].Merge(now, data); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !bytes.Equal(results[0].Digest(), results[1].Digest()) {
			t.Fatalf("digests differ: %v and %v", results[0].All(now), results[1].All(now))
		}
		if a, b := results[0].All(now), results[1].All(now); !slices.Equal(a, b) {
			t.Fatalf("%v and %v", a, b)
		}
	})
}

func FuzzMerge(f *testing.F) {
	l := ban.NewList()
	put(f, l, start, "192.0.2.1", time.Minute)
	put(f, l, start, "2001:db8::/32", time.Hour)
	f.Add(l.Snapshot(start))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := ban.NewList()
		if l.Merge(start, data) != nil {
			return
		}
		again := ban.NewList()
		if err := again.Merge(start, l.Snapshot(start)); err != nil {
			t.Fatalf("what was taken is refused: %v", err)
		}
		if !slices.Equal(l.All(start), again.All(start)) {
			t.Fatalf("%v became %v", l.All(start), again.All(start))
		}
	})
}

func TestPrefixesAreReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "10.0.0.0/8": "10.0.0.0/8", "2001:db8::/32": "2001:db8::/32", "2001:db8::1": "2001:db8::1/128",
	} {
		if p, err := ban.ParsePrefix(text); err != nil || p.String() != want {
			t.Errorf("%s: got %s, %v, want %s", text, p, err, want)
		}
	}
	for _, text := range []string{"", "x", "10.0.0.1/8", "0.0.0.0/0", "::/0", "fe80::1%eth0", "::ffff:10.0.0.0/104", "10.0.0.0/33"} {
		if p, err := ban.ParsePrefix(text); err == nil {
			t.Errorf("%q: taken as %s", text, p)
		}
	}
}

func TestLookingUpDoesNotAllocate(t *testing.T) {
	l := ban.NewList()
	for i := range 1000 {
		put(t, l, start, fmt.Sprintf("10.0.%d.%d", i>>8, i&255), time.Hour)
	}
	s, in, out := l.Set(start), netip.MustParseAddr("10.0.1.1"), netip.MustParseAddr("192.0.2.1")
	if !s.Contains(in) || s.Contains(out) {
		t.Fatal("the set is another than the list")
	}
	if n := testing.AllocsPerRun(100, func() { s.Contains(in); s.Contains(out) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkContains(b *testing.B) {
	for _, n := range []int{0, 100, 10_000} {
		l := ban.NewList()
		for i := range n {
			put(b, l, start, fmt.Sprintf("10.0.%d.%d", i>>8, i&255), time.Hour)
		}
		s, ip := l.Set(start), netip.MustParseAddr("10.0.77.7")
		b.Run(fmt.Sprintf("bans=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Contains(ip)
			}
		})
	}
}

func BenchmarkSet(b *testing.B) {
	l := ban.NewList()
	for i := range ban.MaxBans {
		put(b, l, start, fmt.Sprintf("10.0.%d.%d", i>>8, i&255), time.Hour)
	}
	for b.Loop() {
		l.Set(start)
	}
}

func FuzzParsePrefix(f *testing.F) {
	for _, s := range []string{"192.0.2.7", "10.0.0.0/8", "10.0.0.1/8", "2001:db8::/32", "::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "fe80::1%eth0", "0.0.0.0/0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ban.ParsePrefix(text)
		if err != nil {
			return
		}
		if again, err := ban.ParsePrefix(p.String()); err != nil || again != p || p.Bits() == 0 || p.Masked() != p || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			t.Fatalf("%q is %v, and that %v, %v", text, p, again, err)
		}
	})
}
