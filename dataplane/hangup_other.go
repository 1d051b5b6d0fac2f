//go:build !linux

package dataplane

import (
	"errors"
	"syscall"
)

// hungUp reports whether the peer of a socket has ended its side, where nothing
// else is to be read before that, and whether the connection is broken.
func hungUp(fd uintptr) (ended, broken bool) {
	var b [1]byte
	n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		return false, false
	}
	return n == 0 && err == nil, err != nil
}

// outgoing would be what the peer of a socket has taken and whether there is more
// for it: that is not asked here.
func outgoing(syscall.RawConn) (taken uint64, left bool) { return 0, false }
