package dataplane

import (
	"bytes"
	"errors"

	"github.com/meshgw/meshgw/dataplane/message"
)

// open checks the request's head and fills in the Exchange. fasthttp has only found
// where the head ends: whatever could be read in two ways is refused here.
func (f *h1) open() *refusal {
	f.common()
	x, h := &f.x, &f.header
	x.Method = h.Method()
	switch string(h.Protocol()) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		x.Protocol = "HTTP/1.0"
	default:
		return malformed(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.")
	}
	if r := f.checkFields(); r != nil {
		return r
	}
	if r := x.checkMethod(); r != nil {
		return r
	}
	return f.checkTarget()
}

// checkMethod refuses malformed methods, which the parsers let through, and those
// that a gateway must not forward.
func (x *Exchange) checkMethod() *refusal {
	if !message.IsToken(x.Method) {
		return malformed(400, "The method is malformed.")
	}
	switch string(x.Method) {
	case "CONNECT", "TRACE", "TRACK":
		return malformed(405, "The method is not allowed through this gateway.")
	}
	return nil
}

// expectsContinue reports whether the client waits for 100 Continue to send its
// body.
func (f *h1) expectsContinue() bool {
	_, n := message.Find(f.x.Fields, message.Expect)
	return n > 0 && f.x.Protocol == "HTTP/1.1"
}

func (f *h1) checkFields() *refusal {
	x, raw := &f.x, f.header.RawHeaders()
	http10 := x.Protocol == "HTTP/1.0"
	if len(raw) > 0 {
		var err error
		x.Fields, err = message.ParseFields(x.scratch.fields[:0], raw)
		x.scratch.fields = x.Fields
		switch {
		case errors.Is(err, message.ErrTooManyFields):
			return &refusal{code: TooLarge, status: 431, detail: "The request has more than 100 header fields.", close: true}
		case err != nil:
			return malformed(400, "A header field is malformed.")
		}
	}
	var err error
	x.Length, _, err = message.Framing(x.Fields, http10)
	switch {
	case errors.Is(err, message.ErrTransferCoding):
		return malformed(501, "Only the transfer coding chunked is understood.")
	case err != nil:
		return malformed(400, "The framing of the request's body is ambiguous.")
	}
	if expect, n := message.Find(x.Fields, message.Expect); n > 1 || n == 1 && !http10 && !message.EqualFold(expect, "100-continue") {
		return malformed(417, "The expectation cannot be met.")
	}
	if !http10 {
		x.Upgrade = upgradable(x.Fields)
	}
	if x.Upgrade != nil && (x.Length != 0 || string(x.Method) != "GET") {
		return malformed(400, "An upgrade must be asked for with GET and without a body.")
	}
	return nil
}

// checkTarget sets the canonical host and path. An authority in the target must
// agree with Host, so that no two parties can choose different ones.
func (f *h1) checkTarget() *refusal {
	x := &f.x
	target, r := x.setTarget(f.header.RequestURI())
	if r != nil {
		return r
	}
	host, count := message.Find(x.Fields, message.Host)
	switch {
	case count > 1, count == 0 && x.Protocol == "HTTP/1.1":
		return malformed(400, "The request must have one Host field.")
	case count == 0 && target.Authority == nil:
		return nil // HTTP/1.0: for every host
	case count == 0:
		host = target.Authority
	}
	if !x.setHost(host) {
		return malformed(400, "The Host field is malformed.")
	}
	if target.Authority != nil && !bytes.EqualFold(target.Authority, host) {
		return malformed(400, "The request target and Host name different hosts.")
	}
	return nil
}
