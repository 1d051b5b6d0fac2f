package meshtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A Network carries packets and streams between the hosts of one test. Its
// faults may be changed at any time; the zero value has none.
type Network struct {
	mu        sync.Mutex // guards the rest
	rng       *rand.Rand
	delay     time.Duration
	jitter    time.Duration
	loss      float64
	duplicate float64
	cut       map[[2]string]bool // one way
	packets   map[string]*packetConn
	listeners map[string]*listener
	streams   map[*stream]struct{}
}

// NewNetwork returns a network whose faults are drawn from seed.
func NewNetwork(seed uint64) *Network {
	return &Network{
		rng:       rand.New(rand.NewPCG(seed, 0)),
		cut:       map[[2]string]bool{},
		packets:   map[string]*packetConn{},
		listeners: map[string]*listener{},
		streams:   map[*stream]struct{}{},
	}
}

// Delay makes packets, and writes to streams, take d and up to jitter more.
func (n *Network) Delay(d, jitter time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay, n.jitter = d, jitter
}

// Lose drops a share of the packets and repeats another.
func (n *Network) Lose(loss, duplicate float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss, n.duplicate = loss, duplicate
}

// Cut stops what a sends to b, and breaks the streams between them.
func (n *Network) Cut(a, b *Host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[[2]string{a.IP, b.IP}] = true
	for s := range n.streams {
		if s.between(a.IP, b.IP) {
			_ = s.Conn.Close()
		}
	}
}

// Split cuts all traffic between the hosts of as and those of bs.
func (n *Network) Split(as, bs []*Host) {
	for _, a := range as {
		for _, b := range bs {
			n.Cut(a, b)
			n.Cut(b, a)
		}
	}
}

// Heal ends all cuts.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
}

// Host returns a machine with the given IP. A machine that was killed makes room
// for another with its IP.
func (n *Network) Host(ip string) *Host { return &Host{IP: ip, net: n} }

// A Host is one machine on a Network; it is a gossip.Network.
type Host struct {
	IP  string
	net *Network

	// Guarded by net.mu.
	dead  bool
	slow  time.Duration
	opens []io.Closer
}

// Slow makes whatever this host sends take d more.
func (h *Host) Slow(d time.Duration) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.slow = d
}

// Kill ends all that this host opened, as the death of its processes does:
// peers see streams break and connections refused, and nothing that is still
// running here reaches anybody any more.
func (h *Host) Kill() {
	h.net.mu.Lock()
	h.dead = true
	opens := slices.Clone(h.opens)
	for s := range h.net.streams {
		if s.host == h || s.peer == h {
			opens = append(opens, s.Conn)
		}
	}
	h.net.mu.Unlock()
	for _, c := range opens {
		_ = c.Close()
	}
}

// Listen opens addr for packets and streams.
func (h *Host) Listen(addr string) (net.PacketConn, net.Listener, error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	l, err := n.listen(h, tcp)
	if err != nil {
		return nil, nil, err
	}
	udp := &net.UDPAddr{IP: tcp.IP, Port: tcp.Port}
	p := &packetConn{host: h, addr: udp, in: make(chan packet, 4096), done: make(chan struct{})}
	n.packets[addr] = p
	h.opens = append(h.opens, p)
	return p, l, nil
}

// ListenStream opens addr for streams alone.
func (h *Host) ListenStream(addr string) (net.Listener, error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, err
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return h.net.listen(h, tcp)
}

// listen opens a listener of h. The caller holds mu.
func (n *Network) listen(h *Host, addr *net.TCPAddr) (*listener, error) {
	if h.dead {
		return nil, fmt.Errorf("listen %s: %w", addr, syscall.ENETDOWN)
	}
	if n.listeners[addr.String()] != nil {
		return nil, fmt.Errorf("listen %s: %w", addr, syscall.EADDRINUSE)
	}
	l := &listener{host: h, addr: addr, in: make(chan net.Conn, 64), done: make(chan struct{})}
	n.listeners[addr.String()] = l
	h.opens = append(h.opens, l)
	return l, nil
}

// Dial opens a stream to addr. Across a cut it waits for ctx to end.
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n := h.net
	n.mu.Lock()
	l, cut, delay := n.listeners[addr], h.dead || n.isCut(h.IP, host), n.delay+h.slow
	n.mu.Unlock()
	if cut {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}
	time.Sleep(delay)
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	a, b := net.Pipe()
	port := &net.TCPAddr{IP: net.ParseIP(h.IP), Port: 40000}
	here := &stream{Conn: a, host: h, peer: l.host, local: port, remote: l.addr}
	there := &stream{Conn: b, host: l.host, peer: h, local: l.addr, remote: port}
	n.mu.Lock()
	n.streams[here], n.streams[there] = struct{}{}, struct{}{}
	n.mu.Unlock()
	select {
	case l.in <- there:
		return here, nil
	case <-l.done:
	case <-ctx.Done():
	}
	_, _ = here.Close(), there.Close()
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

// isCut reports whether a stream between a and b is impossible: it needs both ways.
func (n *Network) isCut(a, b string) bool {
	return n.cut[[2]string{a, b}] || n.cut[[2]string{b, a}]
}

type packet struct {
	data []byte
	from net.Addr
}

type packetConn struct {
	host *Host
	addr *net.UDPAddr
	in   chan packet
	done chan struct{}
	once sync.Once
}

func (p *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case in := <-p.in:
		return copy(b, in.data), in.from, nil
	case <-p.done:
		return 0, nil, net.ErrClosed
	}
}

func (p *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	n := p.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	host, _, err := net.SplitHostPort(to.String())
	if err != nil {
		return 0, err
	}
	peer := n.packets[to.String()]
	if peer == nil || p.host.dead || n.cut[[2]string{p.host.IP, host}] || n.rng.Float64() < n.loss {
		return len(b), nil // a lost packet is no error
	}
	copies := 1
	if n.rng.Float64() < n.duplicate {
		copies = 2
	}
	for range copies {
		out := packet{data: append([]byte(nil), b...), from: p.addr}
		wait := n.delay + p.host.slow
		if n.jitter > 0 {
			wait += time.Duration(n.rng.Int64N(int64(n.jitter)))
		}
		time.AfterFunc(wait, func() {
			select {
			case peer.in <- out:
			default: // a full socket buffer drops
			}
		})
	}
	return len(b), nil
}

func (p *packetConn) Close() error {
	p.once.Do(func() {
		n := p.host.net
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.packets, p.addr.String())
		close(p.done)
	})
	return nil
}

func (p *packetConn) LocalAddr() net.Addr              { return p.addr }
func (p *packetConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (p *packetConn) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (p *packetConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

type listener struct {
	host *Host
	addr *net.TCPAddr
	in   chan net.Conn
	done chan struct{}
	once sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.in:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		n := l.host.net
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.listeners, l.addr.String())
		close(l.done)
		for {
			select {
			case c := <-l.in:
				go func() { _ = c.Close() }()
			default:
				return
			}
		}
	})
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }

// stream is one end of a stream.
type stream struct {
	net.Conn
	host, peer    *Host // this end's and the other's
	local, remote net.Addr
}

func (s *stream) LocalAddr() net.Addr  { return s.local }
func (s *stream) RemoteAddr() net.Addr { return s.remote }

// between reports whether s is a stream between the machines at a and b.
func (s *stream) between(a, b string) bool {
	return s.host.IP == a && s.peer.IP == b || s.host.IP == b && s.peer.IP == a
}

func (s *stream) Write(b []byte) (int, error) {
	n := s.host.net
	n.mu.Lock()
	delay, cut := n.delay+s.host.slow, n.isCut(s.host.IP, s.peer.IP)
	n.mu.Unlock()
	if cut {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: os.ErrDeadlineExceeded}
	}
	time.Sleep(delay)
	return s.Conn.Write(b)
}

func (s *stream) Close() error {
	n := s.host.net
	n.mu.Lock()
	delete(n.streams, s)
	n.mu.Unlock()
	return s.Conn.Close()
}
