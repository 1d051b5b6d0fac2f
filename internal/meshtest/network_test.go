package meshtest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgw/meshgw/internal/meshtest"
)

const (
	addrA = "10.0.0.1:7946"
	addrB = "10.0.0.2:7946"
)

// pair is two hosts that listen.
type pair struct {
	net            *meshtest.Network
	a, b           *meshtest.Host
	fromA, fromB   net.PacketConn
	streamsToB     net.Listener
	arrivedA, arrB chan time.Time
}

func listen(t *testing.T, h *meshtest.Host, addr string) (net.PacketConn, net.Listener, chan time.Time) {
	t.Helper()
	p, l, err := h.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	arrived := make(chan time.Time, 16)
	go func() {
		for {
			if _, _, err := p.ReadFrom(make([]byte, 100)); err != nil {
				return
			}
			arrived <- time.Now()
		}
	}()
	t.Cleanup(func() { _, _ = p.Close(), l.Close() })
	return p, l, arrived
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{net: meshtest.NewNetwork(1)}
	p.a, p.b = p.net.Host("10.0.0.1"), p.net.Host("10.0.0.2")
	p.fromA, _, p.arrivedA = listen(t, p.a, addrA)
	p.fromB, p.streamsToB, p.arrB = listen(t, p.b, addrB)
	return p
}

func send(t *testing.T, from net.PacketConn, to string) {
	t.Helper()
	addr, err := net.ResolveUDPAddr("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := from.WriteTo([]byte("x"), addr); err != nil {
		t.Fatal(err)
	}
}

func TestPacketsTakeTheDelayOfTheNetworkAndOfTheirSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.net.Delay(10*time.Millisecond, 0)
		p.a.Slow(30 * time.Millisecond)
		began := time.Now()
		send(t, p.fromA, addrB)
		if took := (<-p.arrB).Sub(began); took != 40*time.Millisecond {
			t.Errorf("to b: %v, want 40ms", took)
		}
		began = time.Now()
		send(t, p.fromB, addrA)
		if took := (<-p.arrivedA).Sub(began); took != 10*time.Millisecond {
			t.Errorf("to a: %v, want 10ms", took)
		}
	})
}

func TestACutStopsPacketsOneWayAndStreamsBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.net.Cut(p.a, p.b)
		send(t, p.fromA, addrB)
		send(t, p.fromB, addrA)
		time.Sleep(time.Second)
		if len(p.arrB) != 0 || len(p.arrivedA) != 1 {
			t.Errorf("arrived: %d at b, %d at a; want 0 and 1", len(p.arrB), len(p.arrivedA))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.b.Dial(ctx, addrA); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial across a cut: %v, want it to hang", err)
		}
		p.net.Heal()
		send(t, p.fromA, addrB)
		<-p.arrB
	})
}

func TestALossAndRepeatsAreShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.net.Lose(1, 0)
		send(t, p.fromA, addrB)
		p.net.Lose(0, 1)
		send(t, p.fromA, addrB)
		time.Sleep(time.Second)
		if len(p.arrB) != 2 {
			t.Errorf("%d arrived, want one twice", len(p.arrB))
		}
	})
}

func TestAKilledHostBreaksItsStreamsAndFreesItsAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		c, err := p.a.Dial(t.Context(), addrB)
		if err != nil {
			t.Fatal(err)
		}
		served, err := p.streamsToB.Accept()
		if err != nil {
			t.Fatal(err)
		}
		p.b.Kill()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("read of a broken stream: %v", err)
		}
		if _, err := served.Write([]byte("x")); err == nil {
			t.Error("the dead can write")
		}
		if _, err := p.a.Dial(t.Context(), addrB); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial: %v, want it refused", err)
		}
		if _, _, err := p.b.Listen(addrB); !errors.Is(err, syscall.ENETDOWN) {
			t.Errorf("the dead listen again: %v", err)
		}
		_, _, arrived := listen(t, p.net.Host("10.0.0.2"), addrB)
		send(t, p.fromB, addrA)
		send(t, p.fromA, addrB)
		<-arrived
		if len(p.arrivedA) != 0 {
			t.Error("a packet of the dead arrived")
		}
		if _, err := p.net.Host("10.0.0.2").ListenStream(addrB); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listen twice: %v", err)
		}
	})
}
