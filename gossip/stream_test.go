package gossip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"testing"

	"github.com/hashicorp/memberlist"
)

// tapped records what crosses a pipe and can alter it.
type tapped struct {
	net.Conn
	sent  bytes.Buffer
	alter func([]byte) []byte
}

func (c *tapped) Write(b []byte) (int, error) {
	c.sent.Write(b)
	if c.alter != nil {
		if _, err := c.Conn.Write(c.alter(bytes.Clone(b))); err != nil {
			return 0, err
		}
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// pair opens a stream over a pipe; the tap sits on the dialer's side.
func pair(t *testing.T, dialer, listener *memberlist.Keyring) (d, l *stream, tap *tapped, err error) {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	tap = &tapped{Conn: a}
	accepted := make(chan *stream, 1)
	go func() {
		first := make([]byte, 1)
		if _, err := b.Read(first); err != nil || first[0] != ownStream {
			accepted <- nil
			return
		}
		s, _ := acceptStream(b, listener, nil)
		accepted <- s
	}()
	d = newStream(tap)
	err = d.greet(dialer, false)
	return d, <-accepted, tap, err
}

func TestASealedStreamCarriesMessagesOfAnySize(t *testing.T) {
	for _, size := range []int{0, 1, maxFrame, maxFrame + 1, 3 << 20} {
		d, l, tap, err := pair(t, keyring(t, "a"), keyring(t, "b", "a")) // the listener is rotating
		if err != nil {
			t.Fatal(err)
		}
		msg := bytes.Repeat([]byte("secret-x"), size/8+1)[:size]
		sent := make(chan error, 1)
		go func() { sent <- d.write(msg[:size/3], msg[size/3:]) }()
		got, err := l.read()
		if err != nil || !bytes.Equal(got, msg) {
			t.Fatalf("size %d: got %d bytes, %v", size, len(got), err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if size > 8 && bytes.Contains(tap.sent.Bytes(), []byte("secret-x")) {
			t.Error("it travelled in the clear")
		}
	}
}

func TestAStreamTakesFramesOfAnySize(t *testing.T) {
	c, peer := net.Pipe()
	want := bytes.Repeat([]byte("abcdefg"), maxFrame/4)
	go func() {
		sizes := []int{1, 2, 0, maxFrame, 5, maxFrame - 7}
		for rest := want; ; sizes = append(sizes[1:], sizes[0]) {
			n := min(sizes[0], len(rest))
			head := uint32(n)
			if n == len(rest) {
				head |= lastFrame
			}
			_, _ = peer.Write(append(binary.BigEndian.AppendUint32(nil, head), rest[:n]...))
			if rest = rest[n:]; len(rest) == 0 {
				return
			}
		}
	}()
	if got, err := newStream(c).read(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
	}
}

func TestAStreamNeedsASharedKey(t *testing.T) {
	for name, tt := range map[string]struct{ dialer, listener *memberlist.Keyring }{
		"another key":       {keyring(t, "a"), keyring(t, "b")},
		"dialer in clear":   {nil, keyring(t, "b")},
		"listener in clear": {keyring(t, "a"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, _, err := pair(t, tt.dialer, tt.listener); !errors.Is(err, ErrKey) {
				t.Errorf("got %v, want ErrKey", err)
			}
		})
	}
}

func TestAnAlteredFrameIsRefused(t *testing.T) {
	for _, at := range []int{0, 3, 4, 20} { // in its length, in its bytes
		d, l, tap, err := pair(t, keyring(t, "a"), keyring(t, "a"))
		if err != nil {
			t.Fatal(err)
		}
		tap.alter = func(b []byte) []byte { b[at] ^= 1; return b }
		go func() { _ = d.write(bytes.Repeat([]byte("x"), 100)); _ = d.conn.Close() }()
		if got, err := l.read(); err == nil {
			t.Errorf("altered at %d: read %q", at, got)
		}
	}
}

func TestARecordedStreamOpensNothing(t *testing.T) {
	d, l, tap, err := pair(t, keyring(t, "a"), keyring(t, "a"))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = d.write([]byte("deliver")) }()
	if _, err := l.read(); err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	go func() {
		_, _ = a.Write(tap.sent.Bytes()[1:])
		_ = a.Close()
	}()
	go func() {
		buf := make([]byte, 64)
		_, _ = a.Read(buf) // the new listener's greeting
	}()
	s, err := acceptStream(b, keyring(t, "a"), nil)
	if err != nil {
		return // the greeting may already fail, for the pipe closes
	}
	if got, err := s.read(); err == nil {
		t.Errorf("a replay was read as %q", got)
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte{0x80, 0, 0, 1, 'x'})
	f.Add([]byte{0, 0, 0, 1, 'x', 0x80, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, c := net.Pipe()
		defer func() { _, _ = a.Close(), c.Close() }()
		go func() {
			_, _ = a.Write(b)
			_ = a.Close()
		}()
		if got, err := newStream(c).read(); err == nil && len(got) > len(b) {
			t.Errorf("%d bytes out of %d", len(got), len(b))
		}
	})
}
