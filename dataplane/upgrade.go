package dataplane

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// tunnelIdle is how long both directions of a tunnel may be silent.
const tunnelIdle = time.Hour

var errUnasked = errors.New("switch of protocols that nobody asked for")

// upgradable returns the protocol that the client asks to switch to, where it
// is on the allow-list: WebSocket only. h2c stays out, since what follows would
// pass by every check of this gateway.
func upgradable(fields []Field) []byte {
	asked, count := find(fields, fieldUpgrade)
	if count != 1 || !equalFold(asked, "websocket") {
		return nil
	}
	for i := range fields {
		if fields[i].id == fieldConnection {
			for option := range listed(fields[i].Value) {
				if equalFold(option, "upgrade") {
					return asked
				}
			}
		}
	}
	return nil
}

// checkUpgrade accepts a 101 only as the answer to what the client asked for.
func (x *Exchange) checkUpgrade() error {
	to, count := find(x.answer.fields, fieldUpgrade)
	if x.Upgrade == nil || count != 1 || !equalFold(to, "websocket") {
		return errUnasked
	}
	return nil
}

// tunnel carries bytes both ways between the client and the endpoint until
// both have ended, one has failed or takes nothing, or nothing came for an hour. An
// end on one side is passed on alone, so that the other may finish. client holds
// bytes that were read already; it is closed in the end.
func (s *Server) tunnel(x *Exchange, client net.Conn) error {
	shut := func() { _, _ = client.Close(), x.conn.Close() } // may be closed already
	defer shut()
	if err := x.conn.Conn.SetDeadline(time.Time{}); err != nil { // the request's
		return err
	}
	quiet := &silence{most: tunnelIdle}
	var down int64
	var downErr error
	ended := make(chan struct{})
	s.spawn(func() {
		defer close(ended)
		if down, downErr = quiet.pump(client, x.conn.Conn, x.conn.view()); downErr != nil {
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

// silence is how long nothing has come over a tunnel, either way.
type silence struct {
	most  time.Duration
	since atomic.Int64 // in ns since 1970
}

// pump copies from src to dst, what is in first before all, and ends dst's
// writing side when src ends.
func (s *silence) pump(dst, src net.Conn, first []byte) (int64, error) {
	s.since.Store(time.Now().UnixNano())
	total, err := put(dst, first)
	buf := make([]byte, readBuffer)
	for err == nil {
		var n int
		n, err = s.read(src, buf)
		if n > 0 {
			s.since.Store(time.Now().UnixNano())
			written, writeErr := put(dst, buf[:n])
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

// read reads what comes before the silence is too long.
func (s *silence) read(src net.Conn, p []byte) (int, error) {
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

// put writes p to who has writeIdle to take it.
func put(dst net.Conn, p []byte) (int64, error) {
	if err := dst.SetWriteDeadline(time.Now().Add(writeIdle)); err != nil {
		return 0, err
	}
	n, err := dst.Write(p)
	return int64(n), err
}
