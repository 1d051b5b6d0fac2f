package dataplane

import (
	"bytes"
	"errors"
	"iter"
)

// Field is a header or trailer field. Its bytes are read-only and valid as long as
// the message they are part of.
type Field struct {
	Name, Value []byte
	id          fieldID
}

// fieldID identifies the fields that the data plane handles specially, so that each
// name is compared once.
type fieldID uint8

const (
	otherField    fieldID = iota
	hopByHop              // always removed
	internalField         // x-meshgw-*, which only gateways may set
	underscored           // names with "_", which CGI-like servers confuse with "-"
	fieldConnection
	fieldContentLength
	fieldContentType
	fieldDate
	fieldExpect
	fieldForwarded
	fieldGRPCTimeout
	fieldHost
	fieldMaxForwards
	fieldRequestID
	fieldTE
	fieldTraceparent
	fieldTracestate
	fieldTrailer
	fieldTransferEncoding
	fieldUpgrade
	fieldVia
	fieldXForwardedFor
	fieldXForwardedHost
	fieldXForwardedProto
	fieldXForwardedOther
)

// identify returns the id of name, whatever its case.
func identify(name []byte) fieldID {
	var buf [24]byte
	if len(name) > len(buf) {
		switch {
		case hasPrefixFold(name, "x-meshgw-"):
			return internalField
		case bytes.IndexByte(name, '_') >= 0:
			return underscored
		}
		return otherField
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
		return underscored
	}
	switch string(lower) {
	case "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "http2-settings":
		return hopByHop
	case "connection":
		return fieldConnection
	case "content-length":
		return fieldContentLength
	case "content-type":
		return fieldContentType
	case "date":
		return fieldDate
	case "expect":
		return fieldExpect
	case "forwarded":
		return fieldForwarded
	case "grpc-timeout":
		return fieldGRPCTimeout
	case "host":
		return fieldHost
	case "max-forwards":
		return fieldMaxForwards
	case "x-request-id":
		return fieldRequestID
	case "te":
		return fieldTE
	case "traceparent":
		return fieldTraceparent
	case "tracestate":
		return fieldTracestate
	case "trailer":
		return fieldTrailer
	case "transfer-encoding":
		return fieldTransferEncoding
	case "upgrade":
		return fieldUpgrade
	case "via":
		return fieldVia
	case "x-forwarded-for":
		return fieldXForwardedFor
	case "x-forwarded-host":
		return fieldXForwardedHost
	case "x-forwarded-proto":
		return fieldXForwardedProto
	case "x-real-ip":
		return fieldXForwardedOther
	}
	switch {
	case bytes.HasPrefix(lower, []byte("x-meshgw-")):
		return internalField
	case bytes.HasPrefix(lower, []byte("x-forwarded-")): // some upstreams trust -client-cert
		return fieldXForwardedOther
	}
	return otherField
}

func hasPrefixFold(name []byte, prefix string) bool {
	return len(name) >= len(prefix) && equalFold(name[:len(prefix)], prefix)
}

// equalFold reports whether the ASCII text b equals lower, which is in lower
// case. It does not allocate.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// maxFields is how many fields a message may have.
const maxFields = 100

var (
	errFieldSyntax   = errors.New("malformed header field")
	errTooManyFields = errors.New("more than 100 header fields")
)

// parseFields appends the fields of block, whose lines end with an empty one. It is as strict as RFC 9112 allows: CRLF only, no folding, no
// space around the name, no control bytes.
func parseFields(fields []Field, block []byte) ([]Field, error) {
	for {
		end := bytes.IndexByte(block, '\n')
		if end < 1 || block[end-1] != '\r' {
			return fields, errFieldSyntax
		}
		line := block[:end-1]
		block = block[end+1:]
		if len(line) == 0 {
			if len(block) != 0 {
				return fields, errFieldSyntax
			}
			return fields, nil
		}
		f, err := parseField(line)
		if err != nil {
			return fields, err
		}
		if len(fields) == maxFields {
			return fields, errTooManyFields
		}
		fields = append(fields, f)
	}
}

func parseField(line []byte) (Field, error) {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || !isToken(line[:colon]) {
		return Field{}, errFieldSyntax
	}
	value := bytes.Trim(line[colon+1:], " \t")
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return Field{}, errFieldSyntax
		}
	}
	return Field{Name: line[:colon], Value: value, id: identify(line[:colon])}, nil
}

// isToken reports whether b is a token of RFC 9110, section 5.6.2.
func isToken(b []byte) bool {
	for _, c := range b {
		if !isTokenByte(c) {
			return false
		}
	}
	return len(b) > 0
}

func isTokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return false
}

// find returns the first field with id, and how many there are.
func find(fields []Field, id fieldID) (value []byte, count int) {
	for i := range fields {
		if fields[i].id == id {
			if count++; count == 1 {
				value = fields[i].Value
			}
		}
	}
	return value, count
}

// listed yields the non-empty members of a comma-separated list.
func listed(value []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for member := range bytes.SplitSeq(value, []byte{','}) {
			if member = bytes.Trim(member, " \t"); len(member) > 0 && !yield(member) {
				return
			}
		}
	}
}
