package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// A Network is how a node reaches others: sockets, or memory in tests.
type Network interface {
	// Listen opens addr, an IP and a port, for packets and for streams. Port 0
	// picks one that is free for both.
	Listen(addr string) (net.PacketConn, net.Listener, error)
	// Dial opens a stream to addr.
	Dial(ctx context.Context, addr string) (net.Conn, error)
}

// Sockets is the Network of the operating system.
type Sockets struct{}

// receiveBuffer holds what arrives while this process waits for a CPU: a burst
// of some 1,500 packets.
const receiveBuffer = 2 << 20

// Listen implements Network.
func (Sockets) Listen(addr string) (net.PacketConn, net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, nil, err
	}
	var lastErr error
	for range 10 { // a port that is free for TCP may be taken for UDP
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		bound := net.JoinHostPort(host, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
		p, err := net.ListenPacket("udp", bound)
		if err == nil {
			// Best effort: the kernel's own limit may be lower.
			_ = p.(*net.UDPConn).SetReadBuffer(receiveBuffer)
			return p, l, nil
		}
		lastErr = err
		if err := l.Close(); err != nil || port != "0" {
			return nil, nil, errors.Join(lastErr, err)
		}
	}
	return nil, nil, fmt.Errorf("find a port free for TCP and UDP: %w", lastErr)
}

// Dial implements Network.
func (Sockets) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}
