package dataplane_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

// refuser is the endpoints of a spec that speak HTTP/2 in clear: the first stream
// that any of them gets is refused, all others are answered with 200 at once.
type refuser struct {
	refuse  func(f *http2.Framer, stream uint32) error
	refused atomic.Bool
}

// spec starts two endpoints.
func (r *refuser) spec(t *testing.T) *routetable.Spec {
	t.Helper()
	spec := overProtocol("h2c", r.start(t))
	spec.Upstreams[0].Endpoints = append(spec.Upstreams[0].Endpoints, routetable.Endpoint{URL: r.start(t)})
	return spec
}

func (r *refuser) start(t *testing.T) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go r.serve(c)
		}
	}()
	return "http://" + ln.Addr().String()
}

// serve serves a connection until it ends.
func (r *refuser) serve(c net.Conn) {
	defer c.Close()
	var head bytes.Buffer
	_ = hpack.NewEncoder(&head).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(c, c)
	if f.WriteSettings() != nil {
		return
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				err = f.WriteSettingsAck()
			}
		case *http2.HeadersFrame:
			if r.refused.CompareAndSwap(false, true) {
				err = r.refuse(f, frame.StreamID)
				break
			}
			err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: frame.StreamID, BlockFragment: head.Bytes(), EndHeaders: true, EndStream: true})
		}
		if err != nil {
			return
		}
	}
}

// What an endpoint says that it has not begun is sent again, whatever its method.
// That GOAWAY said so is known by the text of net/http's error alone: this is the
// test that a new Go has to pass.
func TestWhatAnEndpointHasNotBegunIsSentAgain(t *testing.T) {
	for name, refuse := range map[string]func(*http2.Framer, uint32) error{
		"REFUSED_STREAM": func(f *http2.Framer, stream uint32) error {
			return f.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
		},
		"GOAWAY": func(f *http2.Framer, _ uint32) error { return f.WriteGoAway(0, http2.ErrCodeNo, nil) },
		"GOAWAY and the end": func(f *http2.Framer, _ uint32) error {
			_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
			return io.EOF
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := &refuser{refuse: refuse}
			g := startGateway(t, dataplane.Config{}, r.spec(t))
			if a, body := overHTTP2(t).ask("POST", "http://"+g.addr+"/", strings.NewReader("x")); a.StatusCode != 200 || !r.refused.Load() {
				t.Errorf("status %d, %s, refused %v", a.StatusCode, body, r.refused.Load())
			}
		})
	}
}

// What may have been begun is not sent again unless its method allows that.
func TestWhatAnEndpointMayHaveBegunIsNotSentAgain(t *testing.T) {
	for name, cancel := range map[string]func(*http2.Framer, uint32) error{
		"CANCEL": func(f *http2.Framer, stream uint32) error { return f.WriteRSTStream(stream, http2.ErrCodeCancel) },
		"GOAWAY behind it": func(f *http2.Framer, stream uint32) error {
			_ = f.WriteGoAway(stream, http2.ErrCodeNo, nil)
			return io.EOF
		},
		"the end without a word": func(*http2.Framer, uint32) error { return io.EOF },
	} {
		t.Run(name, func(t *testing.T) {
			r := &refuser{refuse: cancel}
			g := startGateway(t, dataplane.Config{}, r.spec(t))
			a, _ := overHTTP2(t).ask("POST", "http://"+g.addr+"/", strings.NewReader("x"))
			if got := fmt.Sprintf("%d %s", a.StatusCode, a.Header.Get("X-Meshgw-Error")); got != "502 upstream_reset" {
				t.Error(got)
			}
		})
	}
}
