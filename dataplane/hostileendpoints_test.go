package dataplane_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// hostileHTTP1 are endpoints that speak HTTP/1.1, or do not.
func hostileHTTP1() (all []hostile) {
	add := func(name string, answer func(c net.Conn, path string) bool) {
		all = append(all, hostile{name: name, protocol: "http1", serve: serveHTTP1(answer)})
	}
	says := func(before, after string) func(net.Conn, string) bool {
		return func(c net.Conn, path string) bool {
			_, err := io.WriteString(c, before+textHTTP1(path)+after)
			return err == nil
		}
	}
	add("body longer than told", says("", "and more"))
	add("body shorter than told", func(c net.Conn, path string) bool {
		_, _ = io.WriteString(c, strings.TrimSuffix(textHTTP1(path), path))
		return false
	})
	add("body that stalls", func(c net.Conn, path string) bool {
		_, _ = io.WriteString(c, strings.TrimSuffix(textHTTP1(path), path))
		untilClosed(c)
		return false
	})
	add("silence", func(c net.Conn, _ string) bool {
		untilClosed(c)
		return false
	})
	add("reset", func(c net.Conn, _ string) bool {
		_ = c.(*net.TCPConn).SetLinger(0)
		return false
	})
	add("flood of interim answers", floods("HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n"))
	add("head without end", floods("HTTP/1.1 200 OK\r\n", "X-More: and more\r\n"))
	add("field without end", floods("HTTP/1.1 200 OK\r\nX-More: ", "and more "))
	add("trailers without end", floods("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", "X-More: and more\r\n"))
	add("chunk size without end", floods("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0"))
	add("switch of protocols", says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", ""))
	add("two answers to one request", func(c net.Conn, path string) bool {
		_, err := io.WriteString(c, textHTTP1(path)+textHTTP1("/of/another"))
		return err == nil
	})
	all = append(all,
		hostile{name: "end after any byte", protocol: "http1", serve: endsAnywhere(func(c net.Conn) { serveHTTP1(wellHTTP1)(c) })},
		hostile{name: "never read", protocol: "http1", serve: untilClosed})
	return all
}

// hostileHTTP2 are endpoints that speak HTTP/2 in clear, or do not.
func hostileHTTP2() (all []hostile) {
	add := func(name string, p h2Peer) {
		all = append(all, hostile{name: name, protocol: "h2c", serve: p.serve, well: p.well})
	}
	add("GOAWAY at once", h2Peer{begin: func(p *h2Conn) error { return p.WriteGoAway(0, http2.ErrCodeNo, nil) }})
	add("GOAWAY with an error at once", h2Peer{begin: func(p *h2Conn) error { return p.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil) }})
	add("GOAWAY instead of an answer", h2Peer{answer: func(p *h2Conn, stream uint32, _ string) error {
		_ = p.WriteGoAway(stream-1, http2.ErrCodeNo, nil)
		return io.EOF
	}})
	add("GOAWAY that leaves out all", h2Peer{answer: func(p *h2Conn, _ uint32, _ string) error { return p.WriteGoAway(0, http2.ErrCodeNo, nil) }})
	add("GOAWAY in the midst of an answer", h2Peer{well: true, answer: func(p *h2Conn, stream uint32, path string) error {
		if stream > 9 {
			_ = p.WriteGoAway(stream, http2.ErrCodeNo, nil)
		}
		return p.well(stream, path)
	}})
	add("RST_STREAM of each code", h2Peer{answer: func(p *h2Conn, stream uint32, _ string) error {
		return p.WriteRSTStream(stream, http2.ErrCode(stream/2%15))
	}})
	add("RST_STREAM behind each answer, as it may be", h2Peer{well: true, answer: func(p *h2Conn, stream uint32, path string) error {
		_ = p.well(stream, path)
		return p.WriteRSTStream(stream, http2.ErrCodeNo)
	}})
	add("RST_STREAM of each code behind each answer", h2Peer{answer: func(p *h2Conn, stream uint32, path string) error {
		_ = p.well(stream, path)
		return p.WriteRSTStream(stream, http2.ErrCode(stream/2%15))
	}})
	add("RST_STREAM in each answer", h2Peer{answer: func(p *h2Conn, stream uint32, path string) error {
		_ = p.head(stream, false, ":status", "200")
		_ = p.WriteData(stream, false, []byte("ans"))
		return p.WriteRSTStream(stream, http2.ErrCode(stream/2%15))
	}})
	add("no stream allowed", h2Peer{settings: []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 0}}, answer: (*h2Conn).well})
	add("one stream allowed", h2Peer{well: true, settings: []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 1}}, answer: (*h2Conn).well})
	add("ever fewer streams allowed", h2Peer{answer: func(p *h2Conn, stream uint32, path string) error {
		allowed := max(0, 5-int(stream)) // none, from the third request on
		_ = p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(allowed)})
		if err := p.well(stream, path); err != nil || allowed > 0 {
			return err
		}
		return p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100})
	}})
	add("window never opened", h2Peer{mute: true, settings: []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}, answer: (*h2Conn).well})
	add("window too large", h2Peer{answer: func(p *h2Conn, stream uint32, _ string) error {
		_ = p.WriteWindowUpdate(stream, 1<<31-1)
		return p.WriteWindowUpdate(0, 1<<31-1)
	}})
	add("header block without end", h2Peer{answer: func(p *h2Conn, stream uint32, _ string) error {
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: p.block(":status", "200")})
		return p.flood(func() error {
			return p.WriteContinuation(stream, false, p.block("x-more", strings.Repeat("and more ", 100)))
		})
	}})
	add("CONTINUATION of nothing without end", h2Peer{answer: func(p *h2Conn, stream uint32, _ string) error {
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: p.block(":status", "200")})
		return p.flood(func() error { return p.WriteContinuation(stream, false, nil) })
	}})
	add("many trailers", h2Peer{answer: func(p *h2Conn, stream uint32, path string) error {
		_ = p.head(stream, false, ":status", "200")
		_ = p.WriteData(stream, false, []byte(answerTo(path)))
		var block []byte
		for i := range 500 {
			block = append(block, p.block("x-"+strconv.Itoa(i), strings.Repeat("and more ", 20))...)
		}
		return p.headers(stream, true, block)
	}})
	add("flood of trailers", h2Peer{answer: func(p *h2Conn, stream uint32, _ string) error {
		_ = p.head(stream, false, ":status", "200")
		return p.flood(func() error { return p.head(stream, false, "x-more", "and more") })
	}})
	add("flood of interim answers", h2Peer{answer: func(p *h2Conn, stream uint32, _ string) error {
		for range 1000 {
			if err := p.head(stream, false, ":status", "103", "link", "</>"); err != nil {
				return err
			}
		}
		return nil
	}})
	add("body longer than told", h2Peer{answer: func(p *h2Conn, stream uint32, path string) error {
		_ = p.head(stream, false, ":status", "200", "content-length", strconv.Itoa(len(answerTo(path))))
		return p.WriteData(stream, true, []byte(answerTo(path)+" and more"))
	}})
	add("body shorter than told", h2Peer{answer: func(p *h2Conn, stream uint32, path string) error {
		_ = p.head(stream, false, ":status", "200", "content-length", "300")
		return p.WriteData(stream, true, []byte(answerTo(path)))
	}})
	add("body told and none", h2Peer{answer: func(p *h2Conn, stream uint32, _ string) error {
		return p.head(stream, true, ":status", "200", "content-length", "300")
	}})
	add("body that stalls", h2Peer{answer: func(p *h2Conn, stream uint32, _ string) error {
		_ = p.head(stream, false, ":status", "200")
		return p.WriteData(stream, false, []byte("ans"))
	}})
	add("flood of empty DATA", h2Peer{answer: func(p *h2Conn, stream uint32, _ string) error {
		_ = p.head(stream, false, ":status", "200")
		return p.flood(func() error { return p.WriteData(stream, false, nil) })
	}})
	add("DATA without a head", h2Peer{answer: func(p *h2Conn, stream uint32, path string) error {
		return p.WriteData(stream, true, []byte(answerTo(path)))
	}})
	add("answers to nobody", h2Peer{answer: func(p *h2Conn, stream uint32, path string) error {
		_ = p.well(stream+1000, path)
		return p.well(stream+2, path)
	}})
	add("push", h2Peer{answer: func(p *h2Conn, stream uint32, _ string) error {
		return p.WritePushPromise(http2.PushPromiseParam{StreamID: stream, PromiseID: 2, BlockFragment: p.block(":path", "/"), EndHeaders: true})
	}})
	add("no status", h2Peer{answer: func(p *h2Conn, stream uint32, _ string) error { return p.head(stream, true, "x-no", "status") }})
	add("status of no answer", h2Peer{answer: func(p *h2Conn, stream uint32, _ string) error { return p.head(stream, true, ":status", "999") }})
	add("garbage for fields", h2Peer{answer: func(p *h2Conn, stream uint32, _ string) error {
		return p.headers(stream, true, bytes.Repeat([]byte{0xff}, 20))
	}})
	add("flood of SETTINGS and PING", h2Peer{well: true, answer: func(p *h2Conn, stream uint32, path string) error {
		for range 50 {
			_ = p.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 4096})
			_ = p.WritePing(false, [8]byte{1})
		}
		return p.well(stream, path)
	}})
	add("silence", h2Peer{mute: true, answer: func(*h2Conn, uint32, string) error { return nil }})
	all = append(all,
		hostile{name: "end after any byte", protocol: "h2c", serve: endsAnywhere((&h2Peer{answer: (*h2Conn).well}).serve)},
		hostile{name: "never read", protocol: "h2c", serve: untilClosed},
		hostile{name: "end at once", protocol: "h2c", serve: func(net.Conn) {}},
		hostile{name: "HTTP/1.1", protocol: "h2c", serve: func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }},
		hostile{name: "garbage", protocol: "h2c", serve: func(c net.Conn) { _ = floods("garbage")(c, "") }})
	return all
}

// hostileTLS are endpoints that are to speak HTTP/2 over TLS.
func hostileTLS() []hostile {
	return []hostile{
		{name: "handshake that stalls", protocol: "h2", serve: untilClosed},
		{name: "handshake that ends", protocol: "h2", serve: func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 100)) }},
		{name: "plain", protocol: "h2", serve: serveHTTP1(wellHTTP1)},
		{name: "certificate of nobody", protocol: "h2", serve: func(c net.Conn) {
			_ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{nobody()}, NextProtos: []string{"h2"}}).Handshake()
		}},
	}
}

// nobody is a certificate that no one believes.
func nobody() tls.Certificate {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, _ := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// untilClosed neither reads nor writes until the other side ends the connection:
// that comes with what was not read.
func untilClosed(c net.Conn) {
	_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
	one := make([]byte, 1)
	for {
		if _, err := c.Read(one); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// floods writes the last text again and again after all others, without end.
func floods(texts ...string) func(net.Conn, string) bool {
	return func(c net.Conn, _ string) bool {
		last := texts[len(texts)-1]
		_, err := io.WriteString(c, strings.Join(texts, ""))
		for err == nil {
			_, err = io.WriteString(c, strings.Repeat(last, 100))
		}
		return false
	}
}

// endsAnywhere serves so that each connection ends one byte later than the one
// before.
func endsAnywhere(serve func(net.Conn)) func(net.Conn) {
	const longest = 160 // what two answers take
	turn := &atomic.Int64{}
	return func(c net.Conn) { serve(&endingConn{Conn: c, left: int(turn.Add(1) % longest)}) }
}

type endingConn struct {
	net.Conn
	left int
}

func (c *endingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left == 0 {
		c.Close()
		return n, io.ErrClosedPipe
	}
	return n, err
}

// h2Peer is how an endpoint behaves.
type h2Peer struct {
	settings []http2.Setting
	begin    func(p *h2Conn) error // after its settings
	answer   func(p *h2Conn, stream uint32, path string) error
	mute     bool // neither PING is answered nor a window opened
	well     bool
}

// h2Conn is its side of a connection.
type h2Conn struct {
	*http2.Framer
	c     net.Conn
	text  bytes.Buffer
	coder *hpack.Encoder
}

func (peer *h2Peer) serve(c net.Conn) {
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	p := &h2Conn{Framer: http2.NewFramer(c, c), c: c}
	p.coder = hpack.NewEncoder(&p.text)
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	err := p.WriteSettings(peer.settings...)
	if err == nil && peer.begin != nil {
		err = peer.begin(p)
	}
	for paths := map[uint32]string{}; err == nil; {
		var frame http2.Frame
		if frame, err = p.ReadFrame(); err == nil {
			err = peer.heed(p, frame, paths)
		}
	}
}

func (peer *h2Peer) heed(p *h2Conn, frame http2.Frame, paths map[uint32]string) error {
	stream, ended := frame.Header().StreamID, false
	switch frame := frame.(type) {
	case *http2.SettingsFrame:
		if !frame.IsAck() {
			return p.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !frame.IsAck() && !peer.mute {
			return p.WritePing(true, frame.Data)
		}
	case *http2.MetaHeadersFrame:
		if path := frame.PseudoValue("path"); path != "" {
			paths[stream] = path
		}
		ended = frame.StreamEnded()
	case *http2.DataFrame:
		if n := frame.Header().Length; n > 0 && !peer.mute {
			_ = p.WriteWindowUpdate(0, n)
			_ = p.WriteWindowUpdate(stream, n)
		}
		ended = frame.StreamEnded()
	}
	if ended && peer.answer != nil {
		return peer.answer(p, stream, paths[stream])
	}
	return nil
}

// well answers as is right.
func (p *h2Conn) well(stream uint32, path string) error {
	_ = p.head(stream, false, ":status", "200", "content-length", strconv.Itoa(len(answerTo(path))))
	return p.WriteData(stream, true, []byte(answerTo(path)))
}

func (p *h2Conn) head(stream uint32, end bool, fields ...string) error {
	return p.headers(stream, end, p.block(fields...))
}

// headers writes a block in as many frames as it needs.
func (p *h2Conn) headers(stream uint32, end bool, block []byte) error {
	const frame = 16 << 10
	first := block[:min(len(block), frame)]
	block = block[len(first):]
	err := p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndHeaders: len(block) == 0, EndStream: end})
	for err == nil && len(block) > 0 {
		next := block[:min(len(block), frame)]
		block = block[len(next):]
		err = p.WriteContinuation(stream, len(block) == 0, next)
	}
	return err
}

func (p *h2Conn) block(fields ...string) []byte {
	p.text.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = p.coder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(p.text.Bytes())
}

// flood writes until nobody takes it, or for a while.
func (p *h2Conn) flood(write func() error) error {
	_ = p.c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	var err error
	for err == nil {
		err = write()
	}
	return err
}
