package dataplane

import (
	"errors"
	"net"
	"sync"
	"syscall"
)

// socket is a TCP connection that is read from and written to with readNow and
// writeNow.
type socket struct {
	*net.TCPConn
	raw syscall.RawConn

	reading sync.Mutex // guards what follows
	get     func(fd uintptr) bool
	into    []byte
	n       int
	readErr error

	writing  sync.Mutex // guards the rest
	put      func(fd uintptr) bool
	parts    [3][]byte // what is left of the write under way
	writeErr error
}

// toSocket returns c as a socket, and as it is where it is no TCP connection.
func toSocket(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	s := &socket{TCPConn: tcp, raw: raw}
	s.get = func(fd uintptr) bool {
		s.n, s.readErr = readNow(int(fd), s.into)
		return s.readErr != syscall.EAGAIN //nolint:errorlint // readNow gives it bare
	}
	s.put = s.putAll
	return s
}

// Read reads what has come, at least a byte.
func (s *socket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	s.into = p
	err := s.raw.Read(s.get)
	s.into = nil
	if err != nil {
		return 0, err
	}
	return s.n, s.readErr
}

// Write writes all of p.
func (s *socket) Write(p []byte) (int, error) { return s.write([3][]byte{p}) }

// write writes all parts, at once where the socket takes them.
func (s *socket) write(parts [3][]byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.parts, s.writeErr = parts, nil
	all := s.left()
	err := s.raw.Write(s.put)
	n := all - s.left()
	s.parts = [3][]byte{}
	return n, errors.Join(err, s.writeErr)
}

// putAll writes what is left, and reports whether that is over.
func (s *socket) putAll(fd uintptr) bool {
	for s.left() > 0 {
		n, err := writeNow(int(fd), &s.parts)
		if err == syscall.EAGAIN { //nolint:errorlint // writeNow gives it bare
			return false
		}
		if s.writeErr = err; err != nil {
			return true
		}
		s.wrote(n)
	}
	return true
}

func (s *socket) left() int { return len(s.parts[0]) + len(s.parts[1]) + len(s.parts[2]) }

// wrote takes the first n bytes off what is left.
func (s *socket) wrote(n int) {
	for i, p := range s.parts {
		taken := min(n, len(p))
		s.parts[i] = p[taken:]
		n -= taken
	}
}
