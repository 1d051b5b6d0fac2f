package dataplane

import (
	"bytes"
	"net/textproto"

	"github.com/meshgw/meshgw/dataplane/message"
)

// open checks the request's head and fills in the Exchange. net/http has enforced
// the rules of HTTP/2 itself.
func (f *h2) open() *refusal {
	f.common()
	x := &f.x
	x.Method = view(f.r.Method)
	x.Length = f.r.ContentLength
	if r := f.checkFields(); r != nil {
		return r
	}
	if r := x.checkMethod(); r != nil {
		return r
	}
	target, r := x.setTarget(view(f.r.RequestURI))
	switch {
	case r != nil:
		return r
	case target.Authority != nil:
		return malformed(400, "The request target is not accepted.")
	}
	return f.checkAuthority()
}

func (f *h2) checkFields() *refusal {
	x := &f.x
	fields := x.scratch.fields[:0]
	for name, values := range f.r.Header {
		n := view(name)
		for _, value := range values {
			fields = append(fields, message.Field{Name: n, Value: bytes.Trim(view(value), " \t"), ID: message.Identify(n)})
		}
	}
	for name := range f.r.Trailer { // net/http has split the Trailer field
		fields = append(fields, message.Field{Name: view("Trailer"), Value: view(name), ID: message.Trailer})
	}
	x.Fields, x.scratch.fields = fields, fields
	x.detectGRPC()
	switch {
	case len(fields) > message.MaxFields:
		return &refusal{code: TooLarge, status: 431, detail: "The request has more than 100 header fields."}
	case x.Length >= 0 && f.badLength():
		return malformed(400, "The length of the request's body is malformed.")
	}
	if expect, n := message.Find(fields, message.Expect); n > 1 || n == 1 && !message.EqualFold(expect, "100-continue") {
		return malformed(417, "The expectation cannot be met.")
	}
	return nil
}

// badLength reports whether Content-Length is ambiguous: net/http reads what it
// cannot parse as 0, uses the first of several, and looks at none where no body comes.
func (f *h2) badLength() bool {
	digits, count := message.Find(f.x.Fields, message.ContentLength)
	if count == 0 {
		return false
	}
	n, err := message.ParseLength(digits)
	return err != nil || count > 1 || n != f.x.Length
}

// checkAuthority sets the canonical host. A Host field must agree with it.
func (f *h2) checkAuthority() *refusal {
	x := &f.x
	authority := view(f.r.Host)
	if len(authority) == 0 {
		return malformed(400, "The request must have an authority.")
	}
	if !x.setHost(authority) {
		return malformed(400, "The authority is malformed.")
	}
	if host, count := message.Find(x.Fields, message.Host); count > 1 || count == 1 && !bytes.EqualFold(host, authority) {
		return malformed(400, "The authority and Host name different hosts.")
	}
	return nil
}

// Trailers implements Front. Only those that the request announced are known.
func (f *h2) Trailers(dst []message.Field) ([]message.Field, error) {
	for name, values := range f.r.Trailer {
		name := view(textproto.CanonicalMIMEHeaderKey(name))
		for _, value := range values {
			dst = append(dst, message.Field{Name: name, Value: view(value), ID: message.Identify(name)})
		}
	}
	return dst, nil
}
