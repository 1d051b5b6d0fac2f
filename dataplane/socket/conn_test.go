package socket_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/meshgw/meshgw/dataplane/socket"
)

// pair returns both ends of a TCP connection.
func pair(t *testing.T) (*socket.Conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialed, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = dialed.Close(), accepted.Close() })
	return socket.Wrap(accepted).(*socket.Conn), dialed.(*net.TCPConn)
}

func TestPartsLargerThanTheBuffersArriveWholeAndInOrder(t *testing.T) {
	c, peer := pair(t)
	parts := [3][]byte{bytes.Repeat([]byte("a"), 3<<20), nil, bytes.Repeat([]byte("b"), 5<<20)}
	written := make(chan error, 1)
	go func() {
		n, err := c.WriteParts(parts)
		if err == nil && n != 8<<20 {
			err = errors.New("not all bytes were counted")
		}
		written <- errors.Join(err, c.CloseWrite())
	}()
	got, err := io.ReadAll(peer)
	if err := errors.Join(err, <-written); err != nil {
		t.Fatal(err)
	}
	if want := bytes.Join(parts[:], nil); !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d as they were sent", len(got), len(want))
	}
}

func TestReadEndsAtTheDeadlineAndWithThePeer(t *testing.T) {
	c, peer := pair(t)
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a silent peer: %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if err := errors.Join(c.SetReadDeadline(time.Time{}), peer.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("a peer that has closed its side: %d, %v, want 0, EOF", n, err)
	}
}

func TestWhatHasArrivedIsSeenWithoutReading(t *testing.T) {
	c, peer := pair(t)
	raw := socket.Raw(c)
	quiet := func() (q bool) {
		_ = raw.Control(func(fd uintptr) { q = socket.IsQuiet(int(fd)) })
		return q
	}
	if !quiet() || socket.HasUnread(raw) {
		t.Error("a silent connection has something to read")
	}
	if _, err := peer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); !socket.HasUnread(raw) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if quiet() || !socket.HasUnread(raw) {
		t.Error("the byte was not seen")
	}
}

func TestDescriptorsAreScarceOnceFewAreLeft(t *testing.T) {
	limit := socket.DescriptorLimit()
	if socket.DescriptorsScarce(limit, 0) {
		t.Errorf("none of %d is left", limit)
	}
	if !socket.DescriptorsScarce(limit, limit) {
		t.Error("as many are left as there may be, with some in use")
	}
}
