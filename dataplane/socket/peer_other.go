//go:build !linux

package socket

import (
	"errors"
	"syscall"
)

// HungUp reports whether the peer has closed its side of the connection, if there
// is no data to read before that end, and whether the connection is broken.
func HungUp(fd uintptr) (ended, broken bool) {
	var b [1]byte
	n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		return false, false
	}
	return n == 0 && err == nil, err != nil
}

// Outgoing would return how many bytes the peer has acknowledged, and whether there
// are more: it is not known on this system.
func Outgoing(syscall.RawConn) (acked uint64, unacked bool) { return 0, false }
