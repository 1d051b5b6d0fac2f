//go:build !linux

package socket

import (
	"io"
	"syscall"
)

// ReadNow reads what has arrived at a non-blocking socket. It returns a bare
// syscall.EAGAIN if nothing has, and io.EOF if the peer has closed its side.
func ReadNow(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// WriteNow writes as much of parts, in order, as the buffer of a non-blocking
// socket has room for, and returns how many bytes that was; a bare syscall.EAGAIN
// if there is no room at all.
func WriteNow(fd int, parts *[3][]byte) (int, error) {
	for _, p := range parts {
		if len(p) == 0 {
			continue
		}
		for {
			n, err := syscall.Write(fd, p)
			if err != syscall.EINTR {
				return max(n, 0), err
			}
		}
	}
	return 0, nil
}

// IsQuiet reports whether a socket is open and has nothing to read.
func IsQuiet(fd int) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(fd, b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err == syscall.EAGAIN
}
