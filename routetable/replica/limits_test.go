package replica_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/meshgw/meshgw/internal/tabletest"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/replica"
)

func TestChangesFitTheirLimitOrAreAnnounced(t *testing.T) {
	t.Parallel()
	a, b := replica.NewStore("a"), replica.NewStore("b")
	big := spec("big")
	big.Routes[0].Respond.Body = string(bytes.Repeat([]byte("x"), 4000))
	apply(t, a, replica.Edit{Spec: spec("x")})
	apply(t, a, replica.Edit{Spec: big})
	apply(t, a, replica.Edit{Spec: spec("y")})
	oversized := false
	for {
		data, over := a.Changes(1200)
		oversized = oversized || over
		if data == nil {
			break
		}
		if len(data) > 1200 {
			t.Fatalf("got %d bytes, want at most 1200", len(data))
		}
		if err := b.Merge(data); err != nil {
			t.Fatal(err)
		}
	}
	if !oversized {
		t.Error("what does not fit was not announced")
	}
	if got := ruleNames(b); !slices.Equal(got, []string{"x"}) || len(b.Held()) != 1 {
		t.Errorf("got %v, held %v: y should wait for big", got, b.Held())
	}
	pull(t, b, a)
	if !bytes.Equal(a.Digest(), b.Digest()) || len(b.Held()) != 0 {
		t.Errorf("got %v, held %v", ruleNames(b), b.Held())
	}
}

func TestNewsTravelsOn(t *testing.T) {
	t.Parallel()
	a, b, c := replica.NewStore("a"), replica.NewStore("b"), replica.NewStore("c")
	apply(t, a, replica.Edit{Spec: spec("x")})
	data, _ := a.Changes(1 << 16)
	if err := b.Merge(data); err != nil {
		t.Fatal(err)
	}
	data, _ = b.Changes(1 << 16)
	if err := c.Merge(data); err != nil {
		t.Fatal(err)
	}
	if err := b.Merge(data); err != nil {
		t.Fatal(err)
	}
	if again, _ := b.Changes(1 << 16); again != nil || !bytes.Equal(c.Digest(), a.Digest()) {
		t.Error("old news was told again, or did not arrive")
	}
}

func TestTombstonesAreTrimmedAndTheFloorHolds(t *testing.T) {
	t.Parallel()
	a, late := replica.NewStore("a"), replica.NewStore("late")
	var names []string
	for i := range 10_000 {
		names = append(names, fmt.Sprintf("r%d", i))
	}
	apply(t, a, replica.Edit{Spec: spec("first", "kept")})
	pull(t, late, a)
	apply(t, a, replica.Edit{Delete: []string{"route/first"}})
	apply(t, a, replica.Edit{Spec: spec(names...)})
	p := apply(t, a, replica.Edit{Spec: spec("kept"), Prune: true})
	if n := len(p.Diff()); n != 10_000 {
		t.Fatalf("got %d changes, want 10,000", n)
	}
	if got := ruleNames(late); !slices.Equal(got, []string{"first", "kept"}) {
		t.Fatalf("got %v", got)
	}
	pull(t, late, a)
	pull(t, a, late)
	for _, s := range []*replica.Store{a, late} {
		if got := ruleNames(s); !slices.Equal(got, []string{"kept"}) {
			t.Errorf("got %v, want kept alone: what was deleted came back", got)
		}
	}
	if !bytes.Equal(a.Digest(), late.Digest()) {
		t.Error("the copies differ")
	}
	if lost := late.TakeLost(); len(lost) != 1 || lost[0].Name != "first" || len(lost[0].Data) == 0 {
		t.Errorf("got %v lost, want first, for the caller to set aside", lost)
	}
	if len(late.TakeLost()) != 0 {
		t.Error("it was handed out twice")
	}
}

func TestReadersSeeWholeTablesWhileTheyChange(t *testing.T) {
	t.Parallel()
	a, b := replica.NewStore("a"), replica.NewStore("b")
	pair := func(text string) *routetable.Spec {
		s := spec("p", "q")
		s.Routes[0].Respond.Body, s.Routes[1].Respond.Body = text, text
		return s
	}
	apply(t, a, replica.Edit{Spec: pair("0")})
	pull(t, b, a)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 500 {
			if r := b.Table().Rules(); string(r[0].Respond.Body) != string(r[1].Respond.Body) {
				t.Error("half a changeset is visible")
				return
			}
			b.Held()
			b.Snapshot()
			runtime.Gosched()
		}
	}()
	for i := range 50 {
		changed := b.Changed()
		apply(t, a, replica.Edit{Spec: pair(fmt.Sprint(i + 1))})
		pull(t, b, a)
		select {
		case <-changed:
		default:
			t.Error("the change was not announced")
		}
	}
	<-done
}

func TestTenThousandRoutesFitInMemory(t *testing.T) {
	spec := tabletest.Big(10_000)
	s := replica.NewStore("a")
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	apply(t, s, replica.Edit{Spec: spec})
	if used := int64(heap()) - int64(before); used > 40<<20 {
		t.Errorf("the store holds %d MiB, want at most 40", used>>20)
	} else {
		t.Logf("the store holds %d MiB", used>>20)
	}
	runtime.KeepAlive(s)
}
