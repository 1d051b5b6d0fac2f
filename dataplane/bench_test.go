package dataplane_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/telemetry"
)

// steady serves small GETs over one connection, all of it steady: the
// connections are open, the counters made, the pools filled.
func steady(tb testing.TB) func() {
	tb.Helper()
	return steadyWith(tb, dataplane.Config{Requests: ring()}, func(addr string) *routetable.Spec { return toUpstream(addr) }, "")
}

// steadyWith is steady by another spec for the endpoint at addr and with more
// fields, as whole lines.
func steadyWith(tb testing.TB, cfg dataplane.Config, spec func(addr string) *routetable.Spec, fields string) func() {
	tb.Helper()
	cfg.Node, cfg.Region = "n", "eu"
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	go serveFixed(ln)
	s := dataplane.New(cfg, zerolog.New(io.Discard), prometheus.NewRegistry())
	table, _ := routetable.Compile(spec(ln.Addr().String()))
	s.Publish(table)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(ctx, dataplane.Listener{Name: "http", Listener: front}); err != nil {
			tb.Error(err)
		}
	}()
	c, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		c.Close()
		cancel()
		<-done
		ln.Close()
	})
	request := []byte("GET /v1/orders?x=1 HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: bench\r\nAccept: */*\r\n" + fields + "\r\n")
	buf := make([]byte, 4096)
	return func() {
		if _, err := c.Write(request); err != nil {
			tb.Fatal(err)
		}
		if n, err := c.Read(buf); err != nil || string(buf[:12]) != "HTTP/1.1 200" {
			tb.Fatalf("got %q, %v", buf[:n], err)
		}
	}
}

// serveFixed answers whatever it reads, without allocating.
func serveFixed(ln net.Listener) {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			r := bufio.NewReader(c)
			for {
				for {
					line, err := r.ReadSlice('\n')
					if err != nil {
						return
					}
					if len(line) == 2 {
						break
					}
				}
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
		}()
	}
}

func BenchmarkSmallGet(b *testing.B) {
	request := steady(b)
	request()
	b.ReportAllocs()
	for b.Loop() {
		request()
	}
}

func TestSteadyGetDoesNotAllocate(t *testing.T) {
	holdToBudget(t, steady(t), 0)
}

// holdToBudget fails if request allocates more than bytes on average. What grows
// now and then is found by its bytes: counted in allocations, it rounds to none.
func holdToBudget(tb testing.TB, request func(), bytes uint64) {
	tb.Helper()
	const measured = 1000
	const background = 64 // bytes per request: what the server does besides
	least := ^uint64(0)
	for range 4 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range measured {
			request()
		}
		runtime.ReadMemStats(&after)
		least = min(least, (after.TotalAlloc-before.TotalAlloc)/measured)
	}
	if least > bytes+background && !raceEnabled {
		tb.Errorf("%d bytes per request, want at most %d", least, bytes)
	}
}

// ring is one that is full soon, so that what it takes at first is over.
func ring() *telemetry.Ring { return telemetry.NewRing(256, 1<<18) }
