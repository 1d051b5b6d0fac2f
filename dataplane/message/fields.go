package message

import (
	"bytes"
	"errors"
)

// Field is a header or trailer field. Its bytes are read-only and valid as long as
// the message they are part of.
type Field struct {
	Name, Value []byte
	ID          ID
}

// ID identifies the fields that a proxy handles specially, so that each name is
// compared once.
type ID uint8

// The fields that have an ID of their own, and classes of others.
const (
	Other       ID = iota
	HopByHop       // always removed
	Internal       // x-meshgw-*, which only gateways may set
	Underscored    // names with "_", which CGI-like servers confuse with "-"
	Connection
	ContentLength
	ContentType
	Date
	Expect
	Forwarded
	GRPCTimeout
	Host
	MaxForwards
	RequestID
	TE
	Traceparent
	Tracestate
	Trailer
	TransferEncoding
	Upgrade
	Via
	XForwardedFor
	XForwardedHost
	XForwardedProto
	XForwardedOther
)

// Identify returns the id of name, whatever its case.
func Identify(name []byte) ID {
	var buf [24]byte
	if len(name) > len(buf) {
		switch {
		case HasPrefixFold(name, "x-meshgw-"):
			return Internal
		case bytes.IndexByte(name, '_') >= 0:
			return Underscored
		}
		return Other
	}
	lower := buf[:len(name)]
	underscore := false
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		underscore = underscore || c == '_'
		lower[i] = c
	}
	if underscore {
		return Underscored
	}
	switch string(lower) {
	case "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "http2-settings":
		return HopByHop
	case "connection":
		return Connection
	case "content-length":
		return ContentLength
	case "content-type":
		return ContentType
	case "date":
		return Date
	case "expect":
		return Expect
	case "forwarded":
		return Forwarded
	case "grpc-timeout":
		return GRPCTimeout
	case "host":
		return Host
	case "max-forwards":
		return MaxForwards
	case "x-request-id":
		return RequestID
	case "te":
		return TE
	case "traceparent":
		return Traceparent
	case "tracestate":
		return Tracestate
	case "trailer":
		return Trailer
	case "transfer-encoding":
		return TransferEncoding
	case "upgrade":
		return Upgrade
	case "via":
		return Via
	case "x-forwarded-for":
		return XForwardedFor
	case "x-forwarded-host":
		return XForwardedHost
	case "x-forwarded-proto":
		return XForwardedProto
	case "x-real-ip":
		return XForwardedOther
	}
	switch {
	case bytes.HasPrefix(lower, []byte("x-meshgw-")):
		return Internal
	case bytes.HasPrefix(lower, []byte("x-forwarded-")): // some upstreams trust -client-cert
		return XForwardedOther
	}
	return Other
}

// MaxFields is how many fields a message may have.
const MaxFields = 100

// Errors of ParseFields.
var (
	ErrField         = errors.New("malformed header field")
	ErrTooManyFields = errors.New("more than 100 header fields")
)

// ParseFields appends the fields of block, whose lines end with an empty one, and
// which it does not copy. It is as strict as RFC 9112 allows: CRLF only, no folding,
// no space around the name, no control bytes.
func ParseFields(fields []Field, block []byte) ([]Field, error) {
	for {
		end := bytes.IndexByte(block, '\n')
		if end < 1 || block[end-1] != '\r' {
			return fields, ErrField
		}
		line := block[:end-1]
		block = block[end+1:]
		if len(line) == 0 {
			if len(block) != 0 {
				return fields, ErrField
			}
			return fields, nil
		}
		f, err := ParseField(line)
		if err != nil {
			return fields, err
		}
		if len(fields) == MaxFields {
			return fields, ErrTooManyFields
		}
		fields = append(fields, f)
	}
}

// ParseField returns the field of one line, without its CRLF.
func ParseField(line []byte) (Field, error) {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || !IsToken(line[:colon]) {
		return Field{}, ErrField
	}
	value := bytes.Trim(line[colon+1:], " \t")
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return Field{}, ErrField
		}
	}
	return Field{Name: line[:colon], Value: value, ID: Identify(line[:colon])}, nil
}

// Find returns the first field with id, and how many there are.
func Find(fields []Field, id ID) (value []byte, count int) {
	for i := range fields {
		if fields[i].ID == id {
			if count++; count == 1 {
				value = fields[i].Value
			}
		}
	}
	return value, count
}

// Append appends a field of the given name and value.
func Append(fields []Field, name string, value []byte) []Field {
	return append(fields, Field{Name: []byte(name), Value: value, ID: Identify([]byte(name))})
}

// AppendField appends a field as a line.
func AppendField(b, name, value []byte) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}
