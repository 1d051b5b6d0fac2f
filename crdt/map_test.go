package crdt_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/crdt"
)

var bounds = crdt.Bounds{Entries: 100, Graves: 100, Key: 32, Value: 4096}

func newMap() *crdt.Map {
	return crdt.NewMap(bounds, func(string, []byte) error { return nil })
}

func content(m *crdt.Map) map[string]string {
	c := map[string]string{}
	for key, value := range m.All() {
		c[key] = string(value)
	}
	return c
}

// histories draws deltas that several owners and forgetters produced.
func histories(t *rapid.T) [][]byte {
	var messages [][]byte
	copies := []*crdt.Map{newMap(), newMap(), newMap()}
	for range rapid.IntRange(1, 30).Draw(t, "steps") {
		m := rapid.SampledFrom(copies).Draw(t, "copy")
		key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
		switch rapid.IntRange(0, 4).Draw(t, "op") {
		case 0:
			m.Forget(key)
		case 1:
			from := rapid.SampledFrom(copies).Draw(t, "from")
			delta, err := from.Delta(m.Digest())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Merge(delta); err != nil {
				t.Fatal(err)
			}
		default: // two copies may write one key: owners that were cloned
			m.Put(key, 0, []byte(rapid.StringN(0, 3, 3).Draw(t, "value")))
		}
		data, oversized := m.Changes(1 << 20)
		if oversized {
			t.Fatal("oversized")
		}
		if data != nil {
			messages = append(messages, data)
		}
	}
	return messages
}

func merge(t *rapid.T, messages [][]byte) *crdt.Map {
	m := newMap()
	for _, data := range messages {
		if _, err := m.Merge(data); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestMergeIsAJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		messages := histories(t)
		want := merge(t, messages)
		shuffled := rapid.Permutation(messages).Draw(t, "order")
		repeated := append(shuffled, messages...)
		got := merge(t, repeated)
		if !maps.Equal(content(got), content(want)) {
			t.Fatalf("in another order and twice: %v, want %v", content(got), content(want))
		}
		if string(got.Digest()) != string(want.Digest()) {
			t.Fatal("equal contents, unequal digests")
		}
	})
}

func TestDeltaMakesCopiesEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		messages := histories(t)
		cut := rapid.IntRange(0, len(messages)).Draw(t, "cut")
		a, b := merge(t, messages[:cut]), merge(t, messages[cut:])
		toB, _ := a.Delta(b.Digest())
		toA, _ := b.Delta(a.Digest())
		if _, err := a.Merge(toA); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Merge(toB); err != nil {
			t.Fatal(err)
		}
		if string(a.Digest()) != string(b.Digest()) || !maps.Equal(content(a), content(b)) {
			t.Fatalf("after one exchange: %v and %v", content(a), content(b))
		}
		if rest, _ := a.Delta(b.Digest()); rest != nil {
			t.Fatalf("equal copies still have %x to tell", rest)
		}
	})
}

func TestAnOwnerOutbidsWhatItIsSaidToHaveWritten(t *testing.T) {
	liar, owner := newMap(), newMap()
	liar.Put("n", 1<<40, []byte("lie"))
	lie, _ := liar.Delta(nil)
	if _, err := owner.Merge(lie); err != nil {
		t.Fatal(err)
	}
	owner.Put("n", 7, []byte("truth"))
	truth, _ := owner.Delta(nil)
	if _, err := liar.Merge(truth); err != nil {
		t.Fatal(err)
	}
	if got := content(liar)["n"]; got != "truth" {
		t.Errorf("got %q, want the owner's word", got)
	}
}

func TestForgottenStaysForgottenUntilANewerWord(t *testing.T) {
	a, b := newMap(), newMap()
	a.Put("n", 0, []byte("1"))
	old, _ := a.Delta(nil)
	_, _ = b.Merge(old)
	b.Forget("n")
	if _, err := b.Merge(old); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.Get("n"); ok {
		t.Error("what was forgotten came back with its old version")
	}
	a.Put("n", 0, []byte("2"))
	newer, _ := a.Delta(b.Digest())
	_, _ = b.Merge(newer)
	if v, _ := b.Get("n"); string(v) != "2" {
		t.Errorf("got %q, want the newer word", v)
	}
}

func TestChangesFitTheLimitAndTellEachNewsOnce(t *testing.T) {
	m, peer := newMap(), newMap()
	for i := range 50 {
		m.Put(fmt.Sprint(i), 0, make([]byte, 40))
	}
	m.Put("big", 0, make([]byte, 2000))
	sawOversized := false
	for {
		data, oversized := m.Changes(300)
		sawOversized = sawOversized || oversized
		if data == nil {
			break
		}
		if len(data) > 300 {
			t.Fatalf("%d bytes, limit 300", len(data))
		}
		if _, err := peer.Merge(data); err != nil {
			t.Fatal(err)
		}
	}
	if !sawOversized || len(content(peer)) != 50 {
		t.Errorf("oversized %v, %d keys told; want true, 50", sawOversized, len(content(peer)))
	}
}

func TestMergeRefusesWhatIsOutOfBounds(t *testing.T) {
	wide := crdt.NewMap(crdt.Bounds{Entries: 1000, Graves: 10, Key: 1000, Value: 10000}, nil)
	for name, tt := range map[string]struct {
		fill func()
		want error
	}{
		"key":     {func() { wide.Put(string(make([]byte, 33)), 0, nil) }, crdt.ErrTooLarge},
		"value":   {func() { wide.Put("v", 0, make([]byte, 4097)) }, crdt.ErrTooLarge},
		"version": {func() { wide.Put("n", 1<<63, nil) }, crdt.ErrTooFarAhead},
		"number": {func() {
			for i := range 101 {
				wide.Put(fmt.Sprint(i), 0, nil)
			}
		}, crdt.ErrTooMany},
	} {
		t.Run(name, func(t *testing.T) {
			wide = crdt.NewMap(crdt.Bounds{Entries: 1000, Graves: 10, Key: 1000, Value: 10000}, nil)
			tt.fill()
			data, _ := wide.Delta(nil)
			m := newMap()
			if _, err := m.Merge(data); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if len(content(m)) != 0 {
				t.Error("something was merged")
			}
		})
	}
}

func TestGravesAreBoundedAlikeOnAllCopies(t *testing.T) {
	a, b := newMap(), newMap()
	keys := rand.New(rand.NewPCG(1, 2)).Perm(300)
	for n, i := range keys {
		a.Put(fmt.Sprint(i), uint64(i), nil)
		a.Forget(fmt.Sprint(i))
		if n%7 == 0 {
			d, _ := a.Delta(b.Digest())
			_, _ = b.Merge(d)
		}
	}
	d, _ := a.Delta(b.Digest())
	_, _ = b.Merge(d)
	if string(a.Digest()) != string(b.Digest()) {
		t.Error("the copies kept different graves")
	}
}

func FuzzMerge(f *testing.F) {
	m := newMap()
	m.Put("a", 0, []byte("x"))
	m.Put("b", 5, []byte("y"))
	m.Forget("b")
	whole, _ := m.Delta(nil)
	f.Add(whole)
	f.Add(m.Digest())
	f.Fuzz(func(t *testing.T, data []byte) {
		a := newMap()
		if _, err := a.Merge(data); err != nil {
			if len(content(a)) != 0 {
				t.Error("refused, but something was merged")
			}
			return
		}
		whole, err := a.Delta(nil)
		if err != nil {
			t.Fatal(err)
		}
		b := newMap()
		if _, err := b.Merge(whole); err != nil || string(a.Digest()) != string(b.Digest()) {
			t.Errorf("what was accepted cannot be passed on: %v", err)
		}
		_, _ = b.Delta(data)
	})
}

// said makes a message of one entry, as no Map of this version need have written it.
func said(key string, version uint64, value string) []byte {
	return crdt.Entry{Key: key, Version: version, Value: []byte(value)}.Append(nil)
}

func TestAnOwnerIsBelievedWhateverWasSaidInItsName(t *testing.T) {
	a, b := newMap(), newMap()
	for range 3 { // the highest that is believed, and the highest after it
		highest := max(1<<56, a.Version("n")+1<<32)
		for _, m := range []*crdt.Map{a, b} {
			if _, err := m.Merge(said("n", 1<<63, "lie")); !errors.Is(err, crdt.ErrTooFarAhead) {
				t.Fatalf("version 2^63: %v", err)
			}
			if _, err := m.Merge(said("n", highest, "lie")); err != nil {
				t.Fatal(err)
			}
		}
		a.Put("n", 7<<32, []byte("truth"))
		truth, _ := a.Delta(b.Digest())
		if _, err := b.Merge(truth); err != nil {
			t.Fatalf("the owner is not believed: %v", err)
		}
	}
	newcomer := newMap()
	newcomer.Put("c", 1<<32, []byte("c"))
	all, _ := a.Delta(newcomer.Digest())
	if _, err := newcomer.Merge(all); err != nil || content(newcomer)["n"] != "truth" {
		t.Errorf("who has just begun: %v, %v", content(newcomer), err)
	}
}

func TestValuesAreBoundedTogether(t *testing.T) {
	m := crdt.NewMap(crdt.Bounds{Entries: 100, Graves: 10, Key: 10, Value: 100, Bytes: 250}, func(string, []byte) error { return nil })
	value := string(make([]byte, 100))
	for key, want := range map[string]error{"a": nil, "b": nil} {
		if _, err := m.Merge(said(key, 1, value)); !errors.Is(err, want) {
			t.Fatal(err)
		}
	}
	if _, err := m.Merge(said("c", 1, value)); !errors.Is(err, crdt.ErrTooLarge) {
		t.Errorf("300 bytes of 250: %v", err)
	}
	if _, err := m.Merge(said("a", 2, value[:50])); err != nil {
		t.Errorf("less than before: %v", err)
	}
	if _, err := m.Merge(said("c", 1, value)); err != nil {
		t.Errorf("250 bytes of 250: %v", err)
	}
}

func TestADigestWithoutEndIsRefused(t *testing.T) {
	m := newMap()
	var digest []byte
	for i := range 1000 {
		digest = append(digest, said(fmt.Sprint(i), 1, "")...)
	}
	if _, err := m.Delta(digest); !errors.Is(err, crdt.ErrTooMany) {
		t.Errorf("got %v", err)
	}
}
