package socket

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// HungUp reports whether the peer has closed its side of the connection, even if
// there is data to read before that end, and whether the connection is broken.
func HungUp(fd uintptr) (ended, broken bool) {
	poll := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	if n, err := unix.Poll(poll[:], 0); err != nil || n == 0 {
		return false, false
	}
	seen := poll[0].Revents
	return seen&unix.POLLRDHUP != 0, seen&(unix.POLLERR|unix.POLLHUP) != 0
}

// Outgoing returns how many bytes the peer has acknowledged since the connection
// was opened, and whether there are more that it has not.
func Outgoing(raw syscall.RawConn) (acked uint64, unacked bool) {
	if raw == nil {
		return 0, false
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			acked, unacked = info.Bytes_acked, info.Unacked > 0 || info.Notsent_bytes > 0
		}
	})
	return acked, unacked
}
