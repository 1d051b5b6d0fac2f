package replica_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/internal/tabletest"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/replica"
)

func apply(t require, s *replica.Store, e replica.Edit) *replica.Pending {
	t.Helper()
	p, err := s.Prepare(e)
	if err != nil {
		t.Fatalf("prepare: %v", err)
	}
	if err := s.Commit(p); err != nil {
		t.Fatalf("commit: %v", err)
	}
	return p
}

// require is what testing.T and rapid.T share.
type require interface {
	Helper()
	Fatalf(format string, args ...any)
}

func spec(names ...string) *routetable.Spec {
	s := new(routetable.Spec)
	for _, n := range names {
		s.Routes = append(s.Routes, tabletest.Respond(n, nil, routetable.Match{PathPrefix: "/" + n}))
	}
	return s
}

// body returns the route of that name with a body, so that edits differ.
func body(name, text string) *routetable.Spec {
	s := spec(name)
	s.Routes[0].Respond.Body = text
	return s
}

// pull lets to fetch what from has.
func pull(t require, to, from *replica.Store) {
	t.Helper()
	delta, err := from.Delta(to.Digest())
	if err != nil {
		t.Fatalf("delta: %v", err)
	}
	if delta == nil {
		return
	}
	if err := to.Merge(delta); err != nil {
		t.Fatalf("merge: %v", err)
	}
}

func ruleNames(s *replica.Store) []string {
	var out []string
	for _, r := range s.Table().Rules() {
		out = append(out, r.Name)
	}
	return out
}

func TestEditsOfDifferentObjectsBothSurvive(t *testing.T) {
	t.Parallel()
	a, b := replica.NewStore("a"), replica.NewStore("b")
	apply(t, a, replica.Edit{Spec: spec("x", "y")})
	pull(t, b, a)
	apply(t, a, replica.Edit{Spec: body("x", "from a")})
	apply(t, b, replica.Edit{Spec: body("y", "from b")})
	pull(t, a, b)
	pull(t, b, a)
	if !bytes.Equal(a.Digest(), b.Digest()) || a.Table().Digest() != b.Table().Digest() {
		t.Fatal("the copies differ")
	}
	if got := len(a.Conflicts()); got != 0 {
		t.Errorf("got %d conflicts, want none", got)
	}
	if got := a.Table().Stamp().String(); got != "2@b" {
		t.Errorf("got stamp %s, want 2@b", got)
	}
	for _, r := range a.Table().Rules() {
		if want := map[string]string{"x": "from a", "y": "from b"}[r.Name]; string(r.Respond.Body) != want {
			t.Errorf("%s: got %q, want %q", r.Name, r.Respond.Body, want)
		}
	}
}

func TestEditsOfOneObjectConflictAndTheLoserIsShown(t *testing.T) {
	t.Parallel()
	a, b := replica.NewStore("a"), replica.NewStore("b")
	apply(t, a, replica.Edit{Spec: spec("x")})
	pull(t, b, a)
	apply(t, a, replica.Edit{Spec: body("x", "from a")})
	apply(t, b, replica.Edit{Spec: body("x", "from b")})
	pull(t, a, b)
	pull(t, b, a)
	for _, s := range []*replica.Store{a, b} {
		c := s.Conflicts()
		if len(c) != 1 || c[0].Winner.String() != "2@b" || c[0].Loser.String() != "2@a" || !bytes.Contains(c[0].LoserData, []byte("from a")) {
			t.Fatalf("got conflicts %+v, want 2@b over 2@a", c)
		}
		if got := string(s.Table().Rules()[0].Respond.Body); got != "from b" {
			t.Errorf("got %q, want the edit of b", got)
		}
		if _, err := s.Show(crdt.Stamp{Version: 2}); !errors.Is(err, replica.ErrAmbiguousVersion) {
			t.Errorf("got %v, want %v", err, replica.ErrAmbiguousVersion)
		}
	}
}

func TestTheBranchWithTheNewestWriteWinsAndSeeingBothResolves(t *testing.T) {
	t.Parallel()
	a, b := replica.NewStore("a"), replica.NewStore("b")
	apply(t, a, replica.Edit{Spec: spec("x")})
	pull(t, b, a)
	apply(t, a, replica.Edit{Spec: body("x", "from a")})
	apply(t, a, replica.Edit{Spec: body("x", "from a again")})
	apply(t, b, replica.Edit{Spec: body("x", "from b")})
	pull(t, a, b)
	if c := a.Conflicts(); len(c) != 1 || c[0].Winner.String() != "2@a" || c[0].Loser.String() != "2@b" || c[0].Resolved {
		t.Fatalf("got %+v, want 2@a over 2@b", c)
	}
	apply(t, a, replica.Edit{Spec: body("x", "from both")})
	pull(t, b, a)
	for _, s := range []*replica.Store{a, b} {
		if c := s.Conflicts(); len(c) != 1 || !c[0].Resolved {
			t.Errorf("got %+v, want it resolved", c)
		}
	}
}

func TestOneFileOnEveryNodeMakesOneVersion(t *testing.T) {
	t.Parallel()
	a, b := replica.NewStore("a"), replica.NewStore("b")
	e := replica.Edit{Spec: spec("x", "y"), Source: "routes.yaml"}
	apply(t, a, e)
	apply(t, b, e)
	pull(t, a, b)
	pull(t, b, a)
	if v := a.Table().Version(); v != 1 || len(a.Conflicts()) != 0 {
		t.Errorf("got version %d and %d conflicts, want 1 and none", v, len(a.Conflicts()))
	}
	if p, err := a.Prepare(e); err != nil || !p.NoChange() {
		t.Errorf("applying it again is a change: %v", err)
	}
	if _, err := a.Show(crdt.Stamp{Version: 1}); err != nil {
		t.Errorf("version 1 is ambiguous though both wrote the same: %v", err)
	}
	apply(t, a, replica.Edit{Spec: spec("y"), Source: "routes.yaml"})
	apply(t, b, replica.Edit{Spec: spec("z")})
	pull(t, a, b)
	if got := ruleNames(a); !slices.Equal(got, []string{"y", "z"}) {
		t.Errorf("got %v: the file's x should be gone and z, which it never had, stay", got)
	}
}

func TestAChangesetWaitsForItsPredecessors(t *testing.T) {
	t.Parallel()
	a, b := replica.NewStore("a"), replica.NewStore("b")
	apply(t, a, replica.Edit{Spec: &routetable.Spec{Upstreams: []routetable.Upstream{{
		Name: "u", Endpoints: []routetable.Endpoint{{URL: "http://10.0.0.1"}},
	}}}})
	first, _ := a.Changes(1 << 20)
	apply(t, a, replica.Edit{Spec: &routetable.Spec{Routes: []routetable.Route{{Name: "r", Upstream: "u"}}}})
	second, _ := a.Changes(1 << 20)
	if err := b.Merge(second); err != nil {
		t.Fatal(err)
	}
	if n := len(b.Table().Rules()); n != 0 || len(b.Held()) != 1 {
		t.Fatalf("got %d rules and held %v, want none and one", n, b.Held())
	}
	if err := b.Merge(first); err != nil {
		t.Fatal(err)
	}
	if r := b.Table().Rules(); len(r) != 1 || r[0].Broken != "" || len(b.Held()) != 0 {
		t.Fatalf("got rules %v, held %v", r, b.Held())
	}
	if !bytes.Equal(a.Digest(), b.Digest()) {
		t.Error("the copies differ")
	}
}

func TestWhatAMergeLeavesDanglingIsBrokenAndHeld(t *testing.T) {
	t.Parallel()
	a, b := replica.NewStore("a"), replica.NewStore("b")
	up := []routetable.Upstream{{Name: "u", Endpoints: []routetable.Endpoint{{URL: "http://10.0.0.1"}}}}
	apply(t, a, replica.Edit{Spec: &routetable.Spec{Upstreams: up}})
	pull(t, b, a)
	apply(t, a, replica.Edit{Delete: []string{"upstream/u"}})
	apply(t, b, replica.Edit{Spec: &routetable.Spec{Routes: []routetable.Route{{Name: "r", Upstream: "u"}}}})
	pull(t, a, b)
	pull(t, b, a)
	for _, s := range []*replica.Store{a, b} {
		if r := s.Table().Rules(); len(r) != 1 || r[0].Broken == "" || len(s.Held()) != 1 {
			t.Errorf("got rules %+v, held %v", r, s.Held())
		}
	}
	apply(t, a, replica.Edit{Spec: spec("other")}) // what is broken already refuses nothing else
}

func TestPrepareRefusesAFaultyEditAndAStaleOne(t *testing.T) {
	t.Parallel()
	s := replica.NewStore("a")
	apply(t, s, replica.Edit{Spec: spec("x")})
	_, err := s.Prepare(replica.Edit{Spec: &routetable.Spec{Routes: []routetable.Route{{Name: "r", Upstream: "none"}}}})
	if ps, ok := errors.AsType[routetable.Problems](err); !ok || len(ps) != 1 || ps[0].Path != "routes[0].upstream" {
		t.Errorf("got %v, want one problem at routes[0].upstream", err)
	}
	for _, e := range []replica.Edit{
		{Spec: spec("y"), IfVersion: crdt.Stamp{Version: 2}},
		{Spec: spec("y"), IfVersion: crdt.Stamp{Version: 1, Node: "b"}},
		{Spec: spec("y"), IfDigest: "00"},
	} {
		if _, err := s.Prepare(e); !errors.Is(err, replica.ErrStale) {
			t.Errorf("got %v, want %v", err, replica.ErrStale)
		}
	}
	p, err := s.Prepare(replica.Edit{Spec: spec("y"), IfVersion: crdt.Stamp{Version: 1}, IfDigest: s.Table().Digest()[:12]})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, replica.Edit{Spec: spec("z")})
	if err := s.Commit(p); !errors.Is(err, replica.ErrStale) {
		t.Errorf("got %v, want %v", err, replica.ErrStale)
	}
}

func TestRollbackIsANewVersionWithTheOldContent(t *testing.T) {
	t.Parallel()
	s := replica.NewStore("a")
	apply(t, s, replica.Edit{Spec: spec("x", "y")})
	before := s.Table().Digest()
	apply(t, s, replica.Edit{Spec: body("x", "new"), Prune: true})
	apply(t, s, replica.Edit{Spec: spec("z")})
	p, err := s.Rollback(crdt.Stamp{Version: 1}, replica.Edit{Author: "ann", At: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(p); err != nil {
		t.Fatal(err)
	}
	if s.Table().Digest() != before || s.Table().Version() != 4 || p.Digest() != before {
		t.Errorf("got %v at version %d", ruleNames(s), s.Table().Version())
	}
	if h := s.History()[0]; h.Rollback != "1@a" || h.Author != "ann" || len(h.Changes) != 3 {
		t.Errorf("got %+v", h)
	}
	if d, err := s.Diff(crdt.Stamp{Version: 1}, crdt.Stamp{}); err != nil || len(d) != 0 {
		t.Errorf("got %v, %v, want no difference", d, err)
	}
	if d, err := s.Diff(crdt.Stamp{Version: 2}, crdt.Stamp{Version: 3}); err != nil || len(d) != 1 || d[0].Name != "z" || d[0].Action != "added" {
		t.Errorf("got %v, %v, want z added", d, err)
	}
	if _, err := s.Show(crdt.Stamp{Version: 9}); !errors.Is(err, replica.ErrUnknownVersion) {
		t.Errorf("got %v, want %v", err, replica.ErrUnknownVersion)
	}
}

func TestRestoreTakesASnapshotWholeOrRefusesIt(t *testing.T) {
	t.Parallel()
	s := replica.NewStore("a")
	apply(t, s, replica.Edit{Spec: spec("x", "y")})
	p := apply(t, s, replica.Edit{Spec: spec("x"), Prune: true})
	good := p.Snapshot()
	if !bytes.Equal(good, s.Snapshot()) {
		t.Error("the snapshot before the commit is not the one after it")
	}
	again := replica.NewStore("a")
	if err := again.Restore(good); err != nil || !bytes.Equal(again.Digest(), s.Digest()) {
		t.Fatalf("restored %v: %v", ruleNames(again), err)
	}
	for n := range good {
		flipped := bytes.Clone(good)
		flipped[n] ^= 1 << (n % 8)
		for _, bad := range [][]byte{good[:n], flipped} {
			fresh := replica.NewStore("a")
			if _, ok := errors.AsType[*replica.WireError](fresh.Restore(bad)); !ok || fresh.Table().Version() != 0 {
				t.Fatalf("took a snapshot damaged at byte %d", n)
			}
		}
	}
}

func TestMergeRefusesVersionsFarAhead(t *testing.T) {
	t.Parallel()
	s := replica.NewStore("a")
	err := s.Merge(forged(t, 1<<48))
	if e, ok := errors.AsType[*replica.WireError](err); !ok || e.Reason != "too_far_ahead" {
		t.Errorf("an empty table took version 2^48: %v", err)
	}
	if err := s.Merge(forged(t, 1<<48-1)); err != nil {
		t.Errorf("an empty table refused a version below 2^48: %v", err)
	}
	s = replica.NewStore("a")
	apply(t, s, replica.Edit{Spec: spec("x")})
	err = s.Merge(forged(t, 1<<33))
	if e, ok := errors.AsType[*replica.WireError](err); !ok || e.Reason != "too_far_ahead" {
		t.Errorf("a table at 1 took version 2^33: %v", err)
	}
}

func TestObjectsOfANewerVersionAreHeldAndPassedOn(t *testing.T) {
	t.Parallel()
	a, b := replica.NewStore("a"), replica.NewStore("b")
	if err := a.Merge(forged(t, 7)); err != nil {
		t.Fatal(err)
	}
	if len(a.Table().Rules()) != 0 || len(a.Held()) != 1 {
		t.Fatalf("got %v, held %v", ruleNames(a), a.Held())
	}
	pull(t, b, a)
	if !bytes.Equal(a.Digest(), b.Digest()) || !bytes.Contains(b.Snapshot(), []byte("hologram")) {
		t.Error("what a newer version wrote was not passed on")
	}
	apply(t, b, replica.Edit{Spec: spec("x"), Prune: true})
	if len(b.Held()) != 1 {
		t.Error("a prune deleted what this version cannot read")
	}
	if v := b.Table().Version(); v != 8 {
		t.Errorf("got version %d, want 8", v)
	}
}

// history plays edits and their travels over several stores.
type history struct {
	t      *rapid.T
	stores []*replica.Store
	disk   [][]byte
	packet [][]byte
	acked  map[crdt.Stamp]bool
}

func (h *history) store(label string) int { return rapid.IntRange(0, len(h.stores)-1).Draw(h.t, label) }

func (h *history) edit() {
	i := h.store("at")
	name := rapid.SampledFrom([]string{"p", "q", "r"}).Draw(h.t, "route")
	e := replica.Edit{Spec: body(name, rapid.StringMatching("[a-c]{1,2}").Draw(h.t, "body"))}
	if rapid.IntRange(0, 3).Draw(h.t, "delete") == 0 && slices.Contains(ruleNames(h.stores[i]), name) {
		e = replica.Edit{Delete: []string{"route/" + name}}
	}
	e.At = time.Unix(rapid.Int64Range(-1<<32, 1<<32).Draw(h.t, "clock"), 0)
	p, err := h.stores[i].Prepare(e)
	if err != nil {
		h.t.Fatalf("prepare: %v", err)
	}
	h.disk[i] = p.Snapshot()
	if err := h.stores[i].Commit(p); err != nil {
		h.t.Fatalf("commit: %v", err)
	}
	if !p.NoChange() {
		h.acked[p.Stamp()] = true
	}
}

func (h *history) step() {
	switch rapid.IntRange(0, 5).Draw(h.t, "step") {
	case 0, 1:
		h.edit()
	case 2: // a packet leaves, maybe to be lost, repeated or late
		if data, _ := h.stores[h.store("from")].Changes(1 << 16); data != nil {
			h.packet = append(h.packet, data)
		}
	case 3:
		if len(h.packet) > 0 {
			data := rapid.SampledFrom(h.packet).Draw(h.t, "packet")
			if err := h.stores[h.store("to")].Merge(data); err != nil {
				h.t.Fatalf("merge: %v", err)
			}
		}
	case 4:
		pull(h.t, h.stores[h.store("to")], h.stores[h.store("from")])
	case 5: // a crash: what was not on disk is gone
		i := h.store("crash")
		h.stores[i] = replica.NewStore(fmt.Sprintf("n%d", i))
		if h.disk[i] != nil {
			if err := h.stores[i].Restore(h.disk[i]); err != nil {
				h.t.Fatalf("restore: %v", err)
			}
		}
	}
}

func (h *history) settle() {
	for range 2 {
		for i := range h.stores {
			for j := range h.stores {
				pull(h.t, h.stores[i], h.stores[j])
			}
		}
	}
}

// A thousand histories: rapid plays a hundred in a check.
func TestAnyHistoryEndsEqualEverywhereAndForgetsNothing(t *testing.T) {
	t.Parallel()
	checks := 10
	if testing.Short() {
		checks = 1
	}
	for range checks {
		rapid.Check(t, anyHistory)
	}
}

func anyHistory(t *rapid.T) {
	h := &history{t: t, acked: map[crdt.Stamp]bool{}}
	for i := range rapid.IntRange(3, 7).Draw(t, "nodes") {
		h.stores = append(h.stores, replica.NewStore(fmt.Sprintf("n%d", i)))
	}
	h.disk = make([][]byte, len(h.stores))
	for range rapid.IntRange(1, 40).Draw(t, "steps") {
		h.step()
	}
	h.settle()
	first := h.stores[0]
	live := lastWrites(first)
	for _, s := range h.stores {
		if !bytes.Equal(s.Digest(), first.Digest()) || s.Table().Digest() != first.Table().Digest() || !bytes.Equal(s.Snapshot(), first.Snapshot()) {
			t.Fatalf("the copies differ: %v and %v", ruleNames(first), ruleNames(s))
		}
		if held := s.Held(); len(held) > 0 {
			t.Fatalf("held after all arrived: %v", held)
		}
		if got := ruleNames(s); !slices.Equal(got, live) {
			t.Fatalf("got %v, the newest writes leave %v", got, live)
		}
	}
	in := map[crdt.Stamp]bool{}
	for _, r := range first.History() {
		in[r.Stamp] = true
	}
	for stamp := range h.acked {
		if !in[stamp] && len(first.History()) < 50 {
			t.Fatalf("%s was acknowledged and is not in the history", stamp)
		}
	}
}

// lastWrites replays the history: for each route the newest write holds.
func lastWrites(s *replica.Store) []string {
	there := map[string]bool{}
	for _, r := range slices.Backward(s.History()) {
		for _, c := range r.Changes {
			there[c.Name] = c.Action != "deleted"
		}
	}
	var out []string
	for name, live := range there {
		if live {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func TestMergeIsAJoin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var packets [][]byte
		for i := range 3 {
			s := replica.NewStore(fmt.Sprintf("n%d", i))
			for range rapid.IntRange(1, 4).Draw(t, "edits") {
				apply(t, s, replica.Edit{Spec: body(rapid.SampledFrom([]string{"p", "q"}).Draw(t, "route"), rapid.StringMatching("[a-c]").Draw(t, "body"))})
				data, _ := s.Changes(1 << 16)
				if data != nil {
					packets = append(packets, data)
				}
			}
			whole, err := s.Delta(nil)
			if err != nil {
				t.Fatal(err)
			}
			packets = append(packets, whole)
		}
		join := func(order [][]byte) *replica.Store {
			s := replica.NewStore("reader")
			for _, p := range order {
				if err := s.Merge(p); err != nil {
					t.Fatal(err)
				}
			}
			return s
		}
		want := join(packets)
		order := rapid.Permutation(append(slices.Clone(packets), packets...)).Draw(t, "order")
		if got := join(order); !bytes.Equal(got.Snapshot(), want.Snapshot()) {
			t.Fatal("the order or repetition of what arrives shows")
		}
	})
}

func FuzzMerge(f *testing.F) {
	s := replica.NewStore("a")
	apply(f, s, replica.Edit{Spec: spec("x", "y"), Author: "ann"})
	apply(f, s, replica.Edit{Spec: spec("x"), Prune: true})
	changes, _ := s.Changes(1 << 20)
	whole, err := s.Delta(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(changes)
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := replica.NewStore("b")
		if s.Merge(data) != nil {
			if s.Table().Version() != 0 || len(s.Held()) != 0 {
				t.Fatal("what was refused left something")
			}
			return
		}
		again := replica.NewStore("c")
		if err := again.Restore(s.Snapshot()); err != nil || !bytes.Equal(again.Snapshot(), s.Snapshot()) {
			t.Fatalf("what was taken cannot be written and read again: %v", err)
		}
	})
}

func FuzzDelta(f *testing.F) {
	s := replica.NewStore("a")
	apply(f, s, replica.Edit{Spec: spec("x", "y")})
	f.Add(s.Digest())
	f.Add(replica.NewStore("b").Digest())
	f.Fuzz(func(t *testing.T, digest []byte) {
		delta, err := s.Delta(digest)
		if err != nil || delta == nil {
			return
		}
		if err := replica.NewStore("b").Merge(delta); err != nil {
			t.Fatalf("made a delta that is refused: %v", err)
		}
	})
}

func FuzzRestore(f *testing.F) {
	s := replica.NewStore("a")
	apply(f, s, replica.Edit{Spec: spec("x")})
	f.Add(s.Snapshot())
	f.Add([]byte("meshgw routes\x00\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := replica.NewStore("b")
		if err := s.Restore(data); err != nil && s.Table().Version() != 0 {
			t.Fatal("what was refused left something")
		}
	})
}

// What a partition's two sides may have together is merged; more is refused, and
// nothing of it is taken.
func TestATableWithoutEndIsRefusedWhole(t *testing.T) {
	if testing.Short() {
		t.Skip("large tables take a minute under the race detector")
	}
	t.Parallel()
	s := replica.NewStore("a")
	apply(t, s, replica.Edit{Spec: spec("x")})
	before := bytes.Clone(s.Digest())
	var all, waiting []byte // messages one behind the other are one
	for i := range 210 {
		all = append(all, forgedObject(t, uint64(i+2), fmt.Sprint("o", i), 200<<10)...)
		waiting = append(waiting, forgedAfter(t, uint64(i+10), fmt.Sprint("w", i), 200<<10)...)
	}
	err := s.Merge(all)
	if e, ok := errors.AsType[*replica.WireError](err); !ok || e.Kind() != "too_big" {
		t.Errorf("50 MB of objects: %v", err)
	}
	if err := s.Merge(waiting); err != nil { // whose predecessors nobody has
		t.Fatal(err)
	}
	if held := len(s.Held()); held > 200 {
		t.Errorf("%d changesets of 200 KiB wait", held)
	}
	if !bytes.Equal(s.Digest(), before) {
		t.Error("the table changed")
	}
}

func TestATableCannotBeMadeLargerThanTheMeshCarries(t *testing.T) {
	if testing.Short() {
		t.Skip("large tables take a minute under the race detector")
	}
	t.Parallel()
	s := replica.NewStore("a")
	large := spec()
	for i := range 360 {
		r := spec(fmt.Sprint("r", i))
		r.Routes[0].Respond.Body = strings.Repeat("x", 60<<10)
		large.Routes = append(large.Routes, r.Routes...)
	}
	if _, err := s.Prepare(replica.Edit{Spec: large}); err == nil || !strings.Contains(err.Error(), "20 MiB") {
		t.Errorf("24 MB were prepared: %v", err)
	}
}

func TestPeersThatLackTheSameAreToldTheSame(t *testing.T) {
	t.Parallel()
	s, knows := replica.NewStore("a"), replica.NewStore("b")
	apply(t, s, replica.Edit{Spec: spec("x")})
	pull(t, knows, s)
	apply(t, s, replica.Edit{Spec: spec("y")})
	for range 2 {
		for _, peer := range []*replica.Store{replica.NewStore("c"), knows} {
			peer := clone(t, peer, "c")
			pull(t, peer, s)
			if got, want := peer.Table().Digest(), s.Table().Digest(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
}

// clone returns a store of that name with what s holds.
func clone(t *testing.T, s *replica.Store, name string) *replica.Store {
	t.Helper()
	c := replica.NewStore(name)
	if err := c.Restore(s.Snapshot()); err != nil {
		t.Fatal(err)
	}
	return c
}
