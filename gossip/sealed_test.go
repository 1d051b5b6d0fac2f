package gossip

import (
	"bytes"
	"io"
	"net"
	"testing"
)

func TestOnlyWhatMemberlistSealsTodayReachesIt(t *testing.T) {
	sealed := append([]byte{1}, make([]byte, 60)...)
	for name, tt := range map[string]struct {
		packet []byte
		want   bool
	}{
		"a sealed packet":                   {sealed, true},
		"sealed as of old, which can panic": {append([]byte{0}, sealed[1:]...), false},
		"in clear":                          {append([]byte{8}, sealed[1:]...), false},
		"with a label":                      {append([]byte{244}, sealed[1:]...), false},
		"too short to hold anything":        {sealed[:sealOverhead], false},
		"nothing":                           {nil, false},
	} {
		if got := mayBeSealed(tt.packet); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestOnlySealedStreamsReachMemberlist(t *testing.T) {
	body := bytes.Repeat([]byte("x"), 100)
	for name, tt := range map[string]struct {
		sent []byte
		want bool
	}{
		"a sealed state":                    {append([]byte{10, 0, 0, 0, 100, 1}, body...), true},
		"sealed as of old, which can panic": {append([]byte{10, 0, 0, 0, 100, 0}, body...), false},
		"sealed nothing, which can panic":   {append([]byte{10, 0, 0, 0, sealOverhead, 1}, body...), false},
		"in clear":                          {append([]byte{6}, body...), false},
	} {
		a, b := net.Pipe()
		go func() {
			_, _ = a.Write(tt.sent)
			_ = a.Close()
		}()
		counted := 0
		c := &sealedConn{Conn: b, refused: func(string, string) { counted++ }}
		got, err := io.ReadAll(c)
		_ = b.Close()
		if ok := err == nil && bytes.Equal(got, tt.sent); ok != tt.want || counted > 0 == tt.want {
			t.Errorf("%s: read %d bytes of %d, %v; counted %d", name, len(got), len(tt.sent), err, counted)
		}
	}
}

// fromIP is a connection from an address.
type fromIP struct {
	net.Conn
	ip string
}

func (c fromIP) RemoteAddr() net.Addr     { return &net.TCPAddr{IP: net.ParseIP(c.ip), Port: 1} }
func (fromIP) Close() error               { return nil }
func (fromIP) Read(b []byte) (int, error) { return len(b), nil }

func TestStreamsFromOutsideAreBounded(t *testing.T) {
	v := visits{stats: &stats{}}
	var open []*visitor
	for range 3 * maxStreams {
		if c := v.enter(fromIP{ip: "192.0.2.1"}); c != nil {
			open = append(open, c)
		}
	}
	if len(open) != maxOfOne {
		t.Errorf("one address has %d open, want %d", len(open), maxOfOne)
	}
	other := v.enter(fromIP{ip: "192.0.2.2"})
	if other == nil {
		t.Fatal("another address is kept out by it")
	}
	s := &forSerf{visitor: other}
	buf := make([]byte, 1<<20)
	read := 0
	for {
		n, err := s.Read(buf)
		if err != nil {
			break
		}
		if read += n; read > 2*maxUnproven {
			t.Fatal("a state without end is read on and on")
		}
	}
	for _, c := range append(open, other) {
		_, _ = c.Close(), c.Close()
	}
	if v.open != 0 || v.held != 0 || len(v.from) != 0 {
		t.Errorf("all closed, and %d open, %d bytes held, %v", v.open, v.held, v.from)
	}
}
