package dataplane

import (
	"errors"
	"syscall"
)

// Gone implements Front.
func (f *h1) Gone() bool { return f.conn.gone() }

// gone reports whether the client has closed its side, or the connection is
// broken. It looks without reading: what was sent behind the request stays.
func (c *clientConn) gone() bool {
	if c.state.Load() == connClosed {
		return true
	}
	sc, ok := socket(c.Conn).(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	ended := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		ended = n == 0 && err == nil || err != nil && !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR)
	})
	return ended || err != nil
}
