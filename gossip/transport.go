package gossip

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// ownStream is the first byte of a stream that is ours and not memberlist's,
// whose streams begin with 0..13 or 244 (memberlist net.go).
const ownStream = 0xF1

const (
	firstByteTimeout = 5 * time.Second
	streamTimeout    = 10 * time.Second // memberlist sets no write deadline of its own
)

// maxPacket is more than any packet of Serf's, whose events have 9 KB at most, or
// of ours.
const maxPacket = 12 << 10

// transport carries memberlist's packets and streams, and our own streams
// besides, over one port. In its first FinalAdvertiseAddr, which memberlist
// calls before it starts any goroutine, it calls onAdvertise: the one moment at
// which the delegates that Serf has just set can be wrapped without a race.
type transport struct {
	network     Network
	packets     net.PacketConn
	listener    net.Listener
	ip          net.IP
	port        int
	own         func(net.Conn)
	keyed       func() bool // all is sealed by a keyring
	onAdvertise func()
	sealing     func() // memberlist sends something sealed
	stats       *stats
	heard       *heard

	advertiseOnce sync.Once
	packetCh      chan *memberlist.Packet
	streamCh      chan net.Conn
	visits        visits
	done          chan struct{}
	closeOnce     sync.Once
	wg            sync.WaitGroup

	mu    sync.Mutex // guards conns
	conns map[net.Conn]struct{}
}

func newTransport(network Network, packets net.PacketConn, listener net.Listener, ip net.IP, port int, st *stats, h *heard) *transport {
	return &transport{
		network: network, packets: packets, listener: listener, ip: ip, port: port, stats: st, heard: h,
		visits:   visits{stats: st},
		packetCh: make(chan *memberlist.Packet, 1024),
		streamCh: make(chan net.Conn),
		done:     make(chan struct{}),
		conns:    map[net.Conn]struct{}{},
	}
}

// start begins to receive. It is called from FinalAdvertiseAddr's first call, so
// that nothing arrives before there is somebody to hand it to.
func (t *transport) start() {
	t.wg.Go(t.receive)
	t.wg.Go(t.accept)
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	t.advertiseOnce.Do(func() {
		t.onAdvertise()
		t.start()
	})
	return t.ip, t.port, nil
}

// WriteTo implements memberlist.Transport.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := net.ResolveUDPAddr("udp", addr) // no look-up: addr is an IP and a port
	if err != nil {
		return time.Time{}, err
	}
	n, err := t.packets.WriteTo(b, to)
	t.stats.packetsOut.Add(1)
	t.stats.packetBytesOut.Add(uint64(n))
	t.sealing()
	return time.Now(), err
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t *transport) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, addr.Addr)
}

// PacketCh implements memberlist.Transport.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packetCh }

// StreamCh implements memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.streamCh }

// DialTimeout implements memberlist.Transport.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c, err := t.network.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	t.sealing()
	c = &countedConn{Conn: c, in: &t.stats.streamBytesIn, out: &t.stats.streamBytesOut}
	if t.keyed() {
		c = &sealedConn{Conn: c}
	}
	return c, c.SetDeadline(time.Now().Add(streamTimeout))
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *transport) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(addr.Addr, timeout)
}

// Shutdown implements memberlist.Transport. It does not wait for what it ends, as
// Serf holds a lock meanwhile that a stream which is being served may want: see
// wait.
func (t *transport) Shutdown() error {
	t.closeOnce.Do(func() {
		close(t.done)
		_ = t.packets.Close()
		_ = t.listener.Close()
		t.mu.Lock()
		for c := range t.conns {
			_ = c.Close()
		}
		t.mu.Unlock()
	})
	return nil
}

// wait returns when all that was started has ended, after Shutdown.
func (t *transport) wait() { t.wg.Wait() }

func (t *transport) receive() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := t.packets.ReadFrom(buf)
		if err != nil {
			select {
			case <-t.done:
				return
			case <-time.After(10 * time.Millisecond): // an ICMP error of an earlier write: not ours to give up for
				continue
			}
		}
		t.stats.packetsIn.Add(1)
		t.stats.packetBytesIn.Add(uint64(n))
		if n > maxPacket {
			t.stats.refused("packet", "too_big")
			continue
		}
		if t.keyed() && !mayBeSealed(buf[:n]) {
			t.stats.refused("packet", "not_sealed")
			continue
		}
		p := &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: from, Timestamp: time.Now()}
		t.heard.note(p.Timestamp, from)
		select {
		case t.packetCh <- p:
		case <-t.done:
			return
		}
	}
}

func (t *transport) accept() {
	for {
		c, err := t.listener.Accept()
		if err != nil {
			select {
			case <-t.done:
				return
			case <-time.After(50 * time.Millisecond): // out of descriptors, most likely
				continue
			}
		}
		c = &countedConn{Conn: c, in: &t.stats.streamBytesIn, out: &t.stats.streamBytesOut}
		if v := t.visits.enter(c); v != nil {
			t.wg.Go(func() { t.route(v) })
		} else {
			_ = c.Close()
		}
	}
}

// route hands a stream to whom its first byte names.
func (t *transport) route(c *visitor) {
	if !t.track(c) {
		_ = c.Close()
		return
	}
	defer t.untrack(c)
	first := make([]byte, 1)
	_ = c.SetReadDeadline(time.Now().Add(firstByteTimeout))
	if _, err := c.Read(first); err != nil {
		_ = c.Close()
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	if first[0] == ownStream {
		t.own(c)
		_ = c.Close()
		return
	}
	t.sealing() // the answer
	var stream net.Conn = &forSerf{visitor: c, prefix: first}
	if t.keyed() {
		stream = &sealedConn{Conn: stream, refused: t.stats.refused}
	}
	select {
	case t.streamCh <- stream: // memberlist closes it
	case <-t.done:
		_ = c.Close()
	}
}

func (t *transport) track(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.done:
		return false
	default:
		t.conns[c] = struct{}{}
		return true
	}
}

func (t *transport) untrack(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
}

type countedConn struct {
	net.Conn
	in, out *atomic.Uint64
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in.Add(uint64(n))
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.out.Add(uint64(n))
	return n, err
}
