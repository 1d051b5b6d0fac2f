package roster_test

import (
	"reflect"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/roster"
)

var sample = roster.Node{
	Name: "eu-1", Region: "eu", Zone: "a", Weight: 100, Build: "v1", StartedAt: 1_700_000_000_000, Phase: roster.Serving,
	Listen:    roster.Listen{HTTP: "10.0.0.1:8080", Admin: "127.0.0.1:9901", Gossip: "10.0.0.1:7946", RPC: "127.0.0.1:7373"},
	Listeners: "http,internal",
	Load:      roster.Load{CPU: 0.25, Inflight: 12, RequestsPerSecond: 1500},
	Routes:    roster.Routes{Version: 7, Digest: "abc", AppliedAt: 1_700_000_000_001, Held: 2, HeldReason: "why", Refused: "an error"},
}

func tell(t *testing.T, from, to *roster.Roster) {
	t.Helper()
	delta, err := from.Delta(to.Digest())
	if err != nil {
		t.Fatal(err)
	}
	if err := to.Merge(delta); err != nil {
		t.Fatal(err)
	}
}

func TestEveryFieldArrivesAsItWasTold(t *testing.T) {
	a, b := roster.New("id-a", 3), roster.New("id-b", 1)
	a.Tell(sample)
	tell(t, a, b)
	want := sample
	want.ID, want.Incarnation = "id-a", 3
	if got, ok := b.ByName("eu-1"); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if a.Tell(sample) {
		t.Error("saying the same again is news")
	}
}

func TestARestartOutbidsAllThatWasSaidBefore(t *testing.T) {
	peer := roster.New("id-b", 1)
	before := roster.New("id-a", 1)
	for i := range 1000 {
		n := sample
		n.Load.Inflight = i
		before.Tell(n)
	}
	tell(t, before, peer)
	after := roster.New("id-a", 2)
	n := sample
	n.Region = "us"
	after.Tell(n)
	tell(t, after, peer)
	tell(t, before, peer)
	if got, _ := peer.ByName("eu-1"); got.Region != "us" {
		t.Errorf("got region %s, want the word of the last incarnation", got.Region)
	}
}

func TestTheForgottenReturnOnlyByTheirOwnWord(t *testing.T) {
	a, b := roster.New("id-a", 1), roster.New("id-b", 1)
	a.Tell(sample)
	tell(t, a, b)
	b.Forget("id-a")
	if len(b.Nodes()) != 0 {
		t.Fatal("not forgotten")
	}
	tell(t, a, b)
	if len(b.Nodes()) != 0 {
		t.Fatal("an old word brought it back")
	}
	n := sample
	n.Weight = 50
	tell(t, b, a)
	a.Tell(n)
	tell(t, a, b)
	if len(b.Nodes()) != 1 {
		t.Error("its own new word did not")
	}
}

func TestANodeKnowsThatItWasForgotten(t *testing.T) {
	a, b := roster.New("id-a", 1), roster.New("id-b", 1)
	if a.Told() {
		t.Error("it has told nothing yet")
	}
	a.Tell(sample)
	tell(t, a, b)
	b.Forget("id-a")
	tell(t, b, a)
	if a.Told() {
		t.Error("it was forgotten, and does not know")
	}
	a.Tell(sample)
	tell(t, a, b)
	if _, back := b.ByName("eu-1"); !a.Told() || !back {
		t.Error("its word does not bring it back")
	}
}

func TestWhatANewerNodeSaysBesidesIsPassedOn(t *testing.T) {
	a, b, c := roster.New("id-a", 1), roster.New("id-b", 1), roster.New("id-c", 1)
	a.Tell(sample)
	whole, _ := a.Delta(nil)
	newer := crdt.NewMap(crdt.Bounds{Entries: 10, Key: 64, Value: 4096}, func(string, []byte) error { return nil })
	if _, err := newer.Merge(whole); err != nil {
		t.Fatal(err)
	}
	word, _ := newer.Get("id-a")
	word = protowire.AppendString(protowire.AppendTag(word, 999, protowire.BytesType), "from the future")
	newer.Put("id-a", 0, word)
	said, _ := newer.Delta(nil)
	if err := b.Merge(said); err != nil {
		t.Fatal(err)
	}
	if n, ok := b.ByName("eu-1"); !ok || n.Region != "eu" {
		t.Errorf("the rest of it reads %+v", n)
	}
	if relayed, _ := b.Delta(c.Digest()); string(relayed) != string(said) {
		t.Errorf("passed on %x, got %x", relayed, said)
	}
}

func FuzzMerge(f *testing.F) {
	r := roster.New("id-a", 1)
	r.Tell(sample)
	whole, _ := r.Delta(nil)
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		r := roster.New("id-b", 1)
		if err := r.Merge(data); err == nil {
			_ = r.Nodes()
			if _, err := r.Delta(r.Digest()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestWhoComesIsToldOfOnceForEachStart(t *testing.T) {
	peer, arrived := roster.New("id-b", 1), 0
	peer.Arrived = func() { arrived++ }
	told := func(from *roster.Roster, load, want int) {
		t.Helper()
		n := sample
		n.Load.Inflight = load
		from.Tell(n)
		tell(t, from, peer)
		if arrived != want {
			t.Errorf("%d arrivals, want %d", arrived, want)
		}
	}
	first, second := roster.New("id-a", 1), roster.New("id-a", 2)
	told(first, 1, 1)
	told(first, 2, 1)
	told(second, 1, 2)
	told(second, 2, 2)
}
