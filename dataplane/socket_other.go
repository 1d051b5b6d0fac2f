//go:build !linux

package dataplane

import (
	"io"
	"syscall"
)

// readNow reads what has come to a socket; EAGAIN if nothing has.
func readNow(fd int, p []byte) (int, error) {
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

// writeNow writes as much of parts as a socket takes; EAGAIN if it takes nothing.
func writeNow(fd int, parts *[3][]byte) (int, error) {
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

// isQuiet reports whether a socket is open and has nothing to read.
func isQuiet(fd int) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(fd, b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err == syscall.EAGAIN
}
