package dataplane

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// hungUp reports whether the peer of a socket has ended its side, behind
// whatever is still to be read, and whether the connection is broken.
func hungUp(fd uintptr) (ended, broken bool) {
	poll := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	if n, err := unix.Poll(poll[:], 0); err != nil || n == 0 {
		return false, false
	}
	seen := poll[0].Revents
	return seen&unix.POLLRDHUP != 0, seen&(unix.POLLERR|unix.POLLHUP) != 0
}

// outgoing is how many bytes the peer of a socket has taken in all, and whether
// there are more for it.
func outgoing(raw syscall.RawConn) (taken uint64, left bool) {
	if raw == nil {
		return 0, false
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			taken, left = info.Bytes_acked, info.Unacked > 0 || info.Notsent_bytes > 0
		}
	})
	return taken, left
}
