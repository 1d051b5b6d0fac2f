package quota

import (
	"maps"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// An index and a map, given the same, say the same.
func TestIndexIsAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var x index
		want := map[Key]*entry{}
		keys := rapid.Custom(func(t *rapid.T) Key { // with starts that collide and wrap around
			return Key(rapid.Uint64Range(0, 15).Draw(t, "start")<<32 | rapid.Uint64Range(0, 40).Draw(t, "rest"))
		})
		for range rapid.IntRange(0, 200).Draw(rt, "steps") {
			k := keys.Draw(rt, "key")
			switch e := want[k]; {
			case e == nil:
				want[k] = &entry{key: k}
				x.put(want[k])
			case rapid.Bool().Draw(rt, "remove"):
				delete(want, k)
				x.remove(e)
			}
			if k := keys.Draw(rt, "looked up"); x.get(k) != want[k] {
				rt.Fatalf("key %x: %v, want %v", k, x.get(k), want[k])
			}
		}
		for k, e := range want {
			if x.get(k) != e {
				rt.Errorf("key %x is lost", k)
			}
		}
		all := slices.Collect(x.all())
		if len(all) != len(want) || x.count != len(want) {
			rt.Errorf("%d of %d entries, %d counted", len(all), len(want), x.count)
		}
		for _, e := range all {
			if want[e.key] != e {
				rt.Errorf("key %x is not there", e.key)
			}
		}
	})
}

// Whoever reads meanwhile finds the right entry or none.
func TestIndexIsReadWhileItChanges(t *testing.T) {
	var x index
	entries := map[Key]*entry{}
	for k := range Key(64) {
		entries[k<<32] = &entry{key: k << 32}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for k := range entries {
					if e := x.get(k); e != nil && e != entries[k] {
						t.Errorf("key %x: %x", k, e.key)
						return
					}
				}
			}
		})
	}
	for range 200 {
		for e := range maps.Values(entries) {
			x.put(e)
		}
		for e := range maps.Values(entries) {
			x.remove(e)
		}
	}
	close(stop)
	wg.Wait()
}
