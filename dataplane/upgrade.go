package dataplane

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/routetable"
)

// tunnelIdle is how long both directions of a tunnel may be silent.
const tunnelIdle = time.Hour

var errUnaskedUpgrade = errors.New("switch of protocols that nobody asked for")

// upgradable returns the protocol that the client asks to switch to, nil if it is not
// allowed: only WebSocket is. h2c is not, since the requests in it would bypass all
// checks of this gateway.
func upgradable(fields []message.Field) []byte {
	asked, count := message.Find(fields, message.Upgrade)
	if count != 1 || !message.EqualFold(asked, "websocket") {
		return nil
	}
	for i := range fields {
		if fields[i].ID == message.Connection {
			for option := range message.Listed(fields[i].Value) {
				if message.EqualFold(option, "upgrade") {
					return asked
				}
			}
		}
	}
	return nil
}

// checkUpgrade accepts a 101 only if the client asked for that protocol.
func (x *Exchange) checkUpgrade() error {
	to, count := message.Find(x.answer.Fields, message.Upgrade)
	if x.Upgrade == nil || count != 1 || !message.EqualFold(to, "websocket") {
		return errUnaskedUpgrade
	}
	return nil
}

// tunnel copies bytes both ways between the client and the endpoint until both have
// closed their side, one fails or takes nothing, or both are silent for an hour. The
// end of one side is passed on as a half-close, so that the other may finish. It
// closes both connections.
func (s *Server) tunnel(x *Exchange, client net.Conn) error {
	shut := func() { _, _ = client.Close(), x.conn.Close() } // may be closed already
	defer shut()
	if x.from == nil {
		defer s.tunnels.add(x.rule.Name, shut, func() *routetable.Table { return s.plan.Load().table })()
	}
	if err := x.conn.Conn.SetDeadline(time.Time{}); err != nil { // the request's
		return err
	}
	quiet := &idleTimer{most: tunnelIdle}
	var down int64
	var downErr error
	ended := make(chan struct{})
	s.spawn(func() {
		defer close(ended)
		if down, downErr = quiet.pump(client, x.conn.Conn, x.conn.Buffered()); downErr != nil {
			shut()
		}
	})
	up, err := quiet.pump(x.conn.Conn, client, nil)
	if err != nil {
		shut()
	}
	<-ended
	x.in, x.out = up, down
	return errors.Join(err, downErr)
}

// idleTimer ends a tunnel that is silent in both directions.
type idleTimer struct {
	most  time.Duration
	since atomic.Int64 // in Unix ns
}

// pump copies first and then what it reads from src to dst. When src ends, it closes
// dst's writing side.
func (s *idleTimer) pump(dst, src net.Conn, first []byte) (int64, error) {
	s.since.Store(time.Now().UnixNano())
	total, err := writeInTime(dst, first)
	buf := make([]byte, readBuffer)
	for err == nil {
		var n int
		n, err = s.read(src, buf)
		if n > 0 {
			s.since.Store(time.Now().UnixNano())
			written, writeErr := writeInTime(dst, buf[:n])
			total += written
			err = errors.Join(err, writeErr)
		}
	}
	if !errors.Is(err, io.EOF) {
		return total, err
	}
	if half, ok := dst.(interface{ CloseWrite() error }); ok {
		return total, half.CloseWrite()
	}
	return total, dst.Close()
}

// read reads from src, until the tunnel has been silent for too long.
func (s *idleTimer) read(src net.Conn, p []byte) (int, error) {
	for {
		until := time.Unix(0, s.since.Load()).Add(s.most)
		if err := src.SetReadDeadline(until); err != nil {
			return 0, err
		}
		n, err := src.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(time.Unix(0, s.since.Load()).Add(s.most)) {
			return n, err
		}
	}
}

// writeInTime writes p, which dst has to take within writeIdle.
func writeInTime(dst net.Conn, p []byte) (int64, error) {
	if err := dst.SetWriteDeadline(time.Now().Add(writeIdle)); err != nil {
		return 0, err
	}
	n, err := dst.Write(p)
	return int64(n), err
}
