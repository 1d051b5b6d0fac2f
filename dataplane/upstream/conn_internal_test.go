package upstream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// pair returns a connection to an endpoint, and the endpoint's end of it.
func pair(t *testing.T) (*Conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	uc, err := NewConn(c, time.Time{}, new(Registry))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = uc.Close(), far.Close() })
	uc.Begin(&sync.Pool{New: func() any { return new(make([]byte, BufferSize)) }})
	return uc, far.(*net.TCPConn)
}

func TestRequestLargerThanTheSocketTakesAtOnceIsWrittenWhole(t *testing.T) {
	c, far := pair(t)
	request := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	ended := make(chan error, 1)
	go func() {
		got := make([]byte, len(request))
		_, err := io.ReadFull(far, got)
		if err == nil && !bytes.Equal(got, request) {
			err = errors.New("another request came")
		}
		_, _ = far.Write([]byte("HTTP/1.1 204 No Content\r\n\r\n"))
		ended <- err
	}()
	c.outgoing = request
	head, err := c.readHead()
	if err != nil || !bytes.HasPrefix(head, []byte("HTTP/1.1 204")) {
		t.Errorf("got %q, %v", head, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDeadlineThatMovedOffDoesNotStrike(t *testing.T) {
	c, far := pair(t)
	soon := time.Now().Add(50 * time.Millisecond)
	if err := errors.Join(c.SetDeadline(soon), c.SetDeadline(soon.Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(150*time.Millisecond, func() { _, _ = far.Write([]byte("HTTP/1.1 200 OK\r\n\r\n")) })
	c.outgoing = []byte("request")
	if head, err := c.readHead(); err != nil || len(head) == 0 {
		t.Errorf("got %q, %v", head, err)
	}
}

func TestDeadlineStrikesInTime(t *testing.T) {
	c, _ := pair(t)
	now := time.Now()
	if err := errors.Join(c.SetReadDeadline(now.Add(time.Hour)), c.SetReadDeadline(now.Add(50*time.Millisecond))); err != nil {
		t.Fatal(err)
	}
	c.outgoing = []byte("request")
	if _, err := c.readHead(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	if took := time.Since(now); took < 50*time.Millisecond || took > 5*time.Second {
		t.Errorf("took %v, want 50 ms", took)
	}
}

func TestWaitingConnectionHoldsNoBuffer(t *testing.T) {
	c, far := pair(t)
	if _, err := far.Write([]byte("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.readHead(); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := c.fill(); !errors.Is(err, os.ErrDeadlineExceeded) || c.buf != nil {
		t.Errorf("got %v, and a buffer: %v", err, c.buf != nil)
	}
}
