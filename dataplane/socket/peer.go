package socket

import "syscall"

// HasUnread reports whether data from the peer has arrived that was not read yet.
func HasUnread(raw syscall.RawConn) (unread bool) {
	if raw == nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		unread = err == nil && n > 0
	})
	return unread
}
