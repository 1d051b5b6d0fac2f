package telemetry_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/telemetry"
)

func record(id string) *telemetry.Record {
	return &telemetry.Record{
		Start: time.Unix(1_700_000_000, 42).UTC(), RequestID: []byte(id), TraceID: []byte("4bf92f3577b34da6a3ce929d0e0e4736"),
		Protocol: "HTTP/1.1", Listener: "http", Method: []byte("GET"), Host: []byte("api.example.com"), Path: []byte("/v1/orders/17"),
		Client: netip.MustParseAddr("192.0.2.1"), Route: []byte("orders-v1"), Version: 12, Tenant: "acme", Priority: "normal", Upstream: "orders",
		Attempts: []telemetry.Attempt{
			{Endpoint: "http://10.0.1.10:8080", Region: "eu", Outcome: "reset", After: time.Millisecond, Took: 2 * time.Millisecond},
			{Endpoint: "mesh://us-1", Region: "us", Outcome: "ok", Status: 200, After: 5 * time.Millisecond, Took: 90 * time.Millisecond},
		},
		Status: 200, In: 3, Out: 1024, Took: 97 * time.Millisecond,
	}
}

func TestWhatIsAddedIsFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 40, 60)
		bytes := func(name string) []byte { return append([]byte(nil), text.Draw(t, name)...) }
		r := record(rapid.StringN(1, 40, 128).Draw(t, "id"))
		r.Host, r.Path, r.FromNode, r.Route = bytes("host"), bytes("path"), bytes("from"), bytes("route")
		r.GRPCStatus = text.Draw(t, "grpc")
		r.Tenant, r.Error, r.Detail, r.Limit = text.Draw(t, "tenant"), text.Draw(t, "error"), text.Draw(t, "detail"), text.Draw(t, "limit")
		r.Status, r.Took = rapid.Int().Draw(t, "status"), time.Duration(rapid.Int64().Draw(t, "took"))
		r.Attempts = r.Attempts[:rapid.IntRange(0, 2).Draw(t, "attempts")]
		ring := telemetry.NewRing(0, 0)
		ring.Add(r, rapid.Bool().Draw(t, "keep"), nil)
		found := ring.Find(string(r.RequestID))
		if len(found) != 1 {
			t.Fatalf("found %d", len(found))
		}
		if got, want := fmt.Sprintf("%+v", found[0]), fmt.Sprintf("%+v", *r); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func TestAFloodDoesNotDisplaceWhatIsKeptLonger(t *testing.T) {
	ring := telemetry.NewRing(1000, 1<<20)
	ring.Add(record("failed"), true, nil)
	for i := range 50_000 {
		ring.Add(record(fmt.Sprint("ordinary-", i)), false, nil)
	}
	if len(ring.Find("failed")) != 1 {
		t.Error("the error is gone")
	}
	if len(ring.Find("ordinary-0")) != 0 || len(ring.Find("ordinary-49999")) != 1 {
		t.Error("not the newest are kept")
	}
	// A shard drops a chunk at a time, which is a third of what it has here.
	if n := ring.Len(); n < 600 || n > 2000 {
		t.Errorf("%d records are kept, of 1000 wanted", n)
	}
}

func TestBytesAreBounded(t *testing.T) {
	const budget = 1 << 20
	ring := telemetry.NewRing(1_000_000, budget)
	r := record("x")
	r.Path = make([]byte, 10_000) // is cut
	for i := range 50_000 {
		r.RequestID = fmt.Append(nil, i)
		ring.Add(r, i%2 == 0, nil)
	}
	if n := ring.Len(); n*600 > budget || n*1200 < budget {
		t.Errorf("%d records of 700 bytes are kept in 1 MiB", n)
	}
	if ring.Dropped() != 0 {
		t.Errorf("%d records were dropped", ring.Dropped())
	}
}

func TestKeptAreListed(t *testing.T) {
	ring := telemetry.NewRing(0, 0)
	want := map[string]bool{}
	for i := range 100 {
		id := fmt.Sprint(i)
		ring.Add(record(id), i%3 == 0, nil)
		if i%3 == 0 {
			want[id] = true
		}
	}
	got := map[string]bool{}
	for r := range ring.Kept(record("").Start) {
		got[string(r.RequestID)] = true
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	for r := range ring.Kept(record("").Start.Add(1)) {
		t.Errorf("%s is listed, which began before", r.RequestID)
	}
}

func TestWritersAndReadersDoNotMix(t *testing.T) {
	ring := telemetry.NewRing(2000, 1<<20)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			var scratch []byte
			for i := range 5000 {
				r := record(fmt.Sprintf("%d-%d", w, i))
				r.Tenant = string(r.RequestID)
				scratch = ring.Add(r, i%10 == 0, scratch)
				for _, found := range ring.Find(string(r.RequestID)) {
					if found.Tenant != string(r.RequestID) {
						t.Errorf("%s has the content of %s", r.RequestID, found.Tenant)
					}
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkAdd(b *testing.B) {
	ring := telemetry.NewRing(0, 0)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r, scratch := record("0190a5f0-0000-7000-8000-000000000000"), []byte(nil)
		for n := byte(0); pb.Next(); n++ {
			r.RequestID[35], r.RequestID[34] = n, n>>3
			scratch = ring.Add(r, false, scratch)
		}
	})
}

func BenchmarkFindAmongHundredThousand(b *testing.B) {
	ring := telemetry.NewRing(0, 0)
	var scratch []byte
	for i := range telemetry.DefaultRecords {
		scratch = ring.Add(record(fmt.Sprint("request-", i)), false, scratch)
	}
	i := 0
	for b.Loop() {
		i = (i + 7919) % 50_000
		if len(ring.Find(fmt.Sprint("request-", i+45_000))) != 1 {
			b.Fatal("not found")
		}
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	ring := telemetry.NewRing(1000, 1<<20)
	r, scratch := record("x"), make([]byte, 0, 1024)
	for range 20_000 { // its memory is there
		scratch = ring.Add(r, false, scratch)
	}
	if n := testing.AllocsPerRun(1000, func() { scratch = ring.Add(r, false, scratch) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
