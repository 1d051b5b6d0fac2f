//go:build linux

package main

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// upstream answers GETs on one thread with two system calls a request, so that it
// takes little of the core that it shares with the load. A path that ends in 64k
// gets 64 KiB, others 1 KiB.
type upstream struct {
	epoll        int
	small, large []byte
	unsent       map[int][]byte
}

func backend(args []string) error {
	runtime.LockOSThread()
	listener, err := net.Listen("tcp4", args[0])
	if err != nil {
		return err
	}
	file, err := listener.(*net.TCPListener).File() //nolint:forcetypeassert // it is
	if err != nil {
		return err
	}
	socket := int(file.Fd())
	u := &upstream{small: okay(1 << 10), large: okay(64 << 10), unsent: map[int][]byte{}}
	if u.epoll, err = unix.EpollCreate1(0); err != nil {
		return err
	}
	if err := u.watch(unix.EPOLL_CTL_ADD, socket, unix.EPOLLIN); err != nil {
		return err
	}
	events, buf := make([]unix.EpollEvent, 512), make([]byte, 16<<10)
	for {
		n, err := unix.EpollWait(u.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			switch fd := int(e.Fd); {
			case fd == socket:
				u.accept(socket)
			case e.Events&unix.EPOLLOUT != 0:
				u.send(fd, u.unsent[fd])
			default:
				u.serve(fd, buf)
			}
		}
	}
}

// okay is an answer with a body of so many bytes.
func okay(size int) []byte {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: backend\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", size)
	return []byte(head + strings.Repeat("x", size))
}

func (u *upstream) watch(op, fd int, events uint32) error {
	return unix.EpollCtl(u.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func (u *upstream) accept(socket int) {
	fd, _, err := unix.Accept4(socket, unix.SOCK_NONBLOCK)
	if err != nil {
		return
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	_ = u.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN)
}

// serve answers the requests that have come: proxies send a head at once.
func (u *upstream) serve(fd int, buf []byte) {
	n, err := unix.Read(fd, buf)
	if n <= 0 && err != unix.EAGAIN {
		u.drop(fd)
		return
	}
	for head := range bytes.SplitAfterSeq(buf[:max(n, 0)], []byte("\r\n\r\n")) {
		if len(head) == 0 {
			continue
		}
		target, _, _ := bytes.Cut(head, []byte(" HTTP/"))
		answer := u.small
		if bytes.HasSuffix(target, []byte("64k")) {
			answer = u.large
		}
		if !u.send(fd, answer) {
			return
		}
	}
}

// drop closes a connection.
func (u *upstream) drop(fd int) {
	delete(u.unsent, fd)
	_ = unix.Close(fd)
}

// send sends what can be sent now; false if the connection is gone, which would
// otherwise be ready to be written to for ever.
func (u *upstream) send(fd int, answer []byte) bool {
	n, err := unix.Write(fd, answer)
	if n < 0 && err != unix.EAGAIN {
		u.drop(fd)
		return false
	}
	rest := answer[max(n, 0):]
	switch {
	case len(rest) > 0:
		u.unsent[fd] = rest
		_ = u.watch(unix.EPOLL_CTL_MOD, fd, unix.EPOLLOUT)
	case u.unsent[fd] != nil:
		delete(u.unsent, fd)
		_ = u.watch(unix.EPOLL_CTL_MOD, fd, unix.EPOLLIN)
	}
	return true
}
