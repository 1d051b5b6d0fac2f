package dataplane

import (
	"bufio"
	"errors"
	"io"
	"strconv"

	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/failover"
)

// Inform implements Front.
func (f *h1) Inform(status int, fields []message.Field) {
	if f.x.Protocol == "HTTP/1.0" {
		return
	}
	head := message.AppendStatusLine(nil, status)
	for _, field := range f.server.interim(fields) {
		head = message.AppendField(head, field.Name, field.Value)
	}
	_ = f.conn.send(append(head, "\r\n"...)) // an error will show again with the answer
}

// interim returns the fields of an interim answer that may be passed on.
func (s *Server) interim(from []message.Field) []message.Field {
	var fields []message.Field
	tokens := message.ConnectionOptions(nil, from)
	for _, f := range from {
		if f.ID == message.Other && !message.IsListed(tokens, f.Name) {
			fields = append(fields, f)
		}
	}
	return fields
}

// Send implements Front. It uses as few writes as possible, but never holds a piece
// of a stream back.
func (f *h1) Send(x *Exchange, r *reply) {
	if x.refused != nil && x.status == statusClientLeft {
		f.last = true
		f.end(errClientLeft)
		return
	}
	last := r.close || f.header.ConnectionClose()
	if r.tunnel {
		f.tunnel(r)
		return
	}
	if r.stream != nil && r.length < 0 && x.Protocol == "HTTP/1.0" {
		last = true // no chunks for HTTP/1.0: the end of the connection ends the body
	}
	b := f.appendAnswer(x.scratch.out[:0], r, last)
	var err error
	switch {
	case r.stream != nil:
		b, err = f.stream(b, r)
	case !x.isHead() && message.HasBody(r.status):
		b, err = f.conn.sendAll(b, r.body, nil)
	default:
		err = f.conn.send(b)
	}
	x.scratch.out = b
	if last || err != nil {
		f.conn.unread = f.conn.unread || err == nil && x.hasUnreadBody(r.close)
		f.last = true
	}
	f.end(err)
}

// appendAnswer appends the head with its framing.
func (f *h1) appendAnswer(b []byte, r *reply, last bool) []byte {
	b = message.AppendStatusLine(b, r.status)
	for i := range r.fields {
		b = message.AppendField(b, r.fields[i].Name, r.fields[i].Value)
	}
	http10 := f.x.Protocol == "HTTP/1.0"
	switch {
	case r.length >= 0 && (message.HasBody(r.status) || r.status == 304 && r.length > 0):
		b = append(b, "content-length: "...)
		b = append(strconv.AppendInt(b, r.length, 10), "\r\n"...)
	case r.stream != nil && !http10:
		b = append(b, "transfer-encoding: chunked\r\n"...)
	}
	switch {
	case last:
		b = append(b, "connection: close\r\n"...)
	case http10:
		b = append(b, "connection: keep-alive\r\n"...)
	}
	return append(b, "\r\n"...)
}

// stream writes head and then the body as it arrives. It returns head's memory for
// reuse.
func (f *h1) stream(head []byte, r *reply) ([]byte, error) {
	chunks := r.length < 0 && f.x.Protocol == "HTTP/1.1"
	b := head
	if !r.stream.Ready() {
		if err := f.conn.send(b); err != nil {
			return b, err
		}
		b = b[:0]
	}
	for {
		piece, err := r.stream.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			_ = f.conn.send(b) // what arrived before it was cut off
			return b, &cutError{kind: failover.Reset, err: err}
		}
		f.x.out += int64(len(piece))
		var tail []byte
		if chunks {
			b, tail = append(strconv.AppendInt(b, int64(len(piece)), 16), "\r\n"...), []byte("\r\n")
		}
		if len(piece) < worthVector && len(b) < readBuffer && r.stream.Ready() {
			b = append(append(b, piece...), tail...) // more is ready: write it together
			continue
		}
		if b, err = f.conn.sendAll(b, piece, tail); err != nil {
			return b, err
		}
		b = b[:0]
	}
	if chunks {
		b = append(b, "0\r\n"...)
		b = message.AppendTrailers(b, r.stream.Trailers())
		b = append(b, "\r\n"...)
	}
	if len(b) == 0 {
		return b, nil
	}
	err := f.conn.send(b)
	return b, err
}

// tunnel answers 101 and turns the connection into a tunnel.
func (f *h1) tunnel(r *reply) {
	head := message.AppendStatusLine(nil, r.status)
	for i := range r.fields {
		head = message.AppendField(head, r.fields[i].Name, r.fields[i].Value)
	}
	f.last = true
	err := f.conn.send(append(head, "\r\n"...))
	if err == nil {
		err = f.server.tunnel(&f.x, tunnelled{f.conn, f.in})
	}
	f.end(err)
}

// tunnelled is a client's connection with the bytes that were read from it already.
type tunnelled struct {
	*clientConn
	in *bufio.Reader
}

// Read returns those bytes first.
func (t tunnelled) Read(p []byte) (int, error) {
	if t.in.Buffered() > 0 {
		return t.in.Read(p)
	}
	return t.clientConn.Read(p)
}
