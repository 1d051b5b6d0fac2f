package dataplane

import "golang.org/x/sys/unix"

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
