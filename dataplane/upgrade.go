package dataplane

import (
	"errors"
	"io"
	"net"
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
// both have ended, one has failed, or nothing came for an hour. An end on one
// side is passed on alone, so that the other may finish. client holds bytes
// that were read already; it is closed in the end.
func (s *Server) tunnel(x *Exchange, client net.Conn) error {
	defer func() { _, _ = client.Close(), x.conn.Close() }()     // may be closed already
	if err := x.conn.Conn.SetDeadline(time.Time{}); err != nil { // the request's
		return err
	}
	var down int64
	var downErr error
	ended := make(chan struct{})
	s.spawn(func() {
		defer close(ended)
		down, downErr = pump(client, x.conn.Conn, x.conn.view())
		if downErr != nil {
			_ = client.Close()
		}
	})
	up, err := pump(x.conn.Conn, client, nil)
	if err != nil {
		_ = x.conn.Close()
	}
	<-ended
	x.in, x.out = up, down
	return errors.Join(err, downErr)
}

// pump copies from src to dst, what is in first before all, and ends dst's
// writing side when src ends.
func pump(dst, src net.Conn, first []byte) (int64, error) {
	n, err := dst.Write(first)
	total := int64(n)
	buf := make([]byte, readBuffer)
	for err == nil {
		if err = src.SetReadDeadline(time.Now().Add(tunnelIdle)); err != nil {
			break
		}
		n, err = src.Read(buf)
		if n > 0 {
			written, writeErr := dst.Write(buf[:n])
			total += int64(written)
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
