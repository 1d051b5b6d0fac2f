package compress

import (
	"bytes"

	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/routetable"
)

// Compressible reports whether an answer may be compressed for clients that
// accept it. length is that of its body, negative if it is not known.
func Compressible(c *routetable.Compress, status int, length int64, fields []message.Field) bool {
	if !message.HasBody(status) || status == 206 || length >= 0 && length < int64(c.MinBytes) || ForbidsTransform(fields) {
		return false
	}
	var media []byte
	for i := range fields {
		f := &fields[i]
		switch {
		case f.ID == message.ContentType:
			media = f.Value
		case f.ID != message.Other:
		case message.EqualFold(f.Name, "content-encoding"), message.EqualFold(f.Name, "content-range"),
			// A digest is of the bytes as the origin sent them.
			message.EqualFold(f.Name, "content-digest"), message.EqualFold(f.Name, "repr-digest"), message.EqualFold(f.Name, "digest"), message.EqualFold(f.Name, "content-md5"):
			return false
		}
	}
	return listedType(media, c.Types)
}

// listedType reports whether media matches one of types, each a media type such
// as text/html, text/* or application/*+json. Event streams never do: their
// small messages must not be held back.
func listedType(media []byte, types []string) bool {
	media, _ = message.CutByte(media, ';')
	media = bytes.TrimRight(media, " \t")
	if len(media) == 0 || message.EqualFold(media, "text/event-stream") {
		return false
	}
	for _, t := range types {
		start, end, pattern := cutStar(t)
		if !pattern && message.EqualFold(media, t) {
			return true
		}
		if pattern && len(media) > len(start)+len(end) && message.HasPrefixFold(media, start) && message.EqualFold(media[len(media)-len(end):], end) {
			return true
		}
	}
	return false
}

func cutStar(t string) (start, end string, found bool) {
	for i := range len(t) {
		if t[i] == '*' {
			return t[:i], t[i+1:], true
		}
	}
	return t, "", false
}

// ForbidsTransform reports whether Cache-Control has no-transform (RFC 9111,
// sections 5.2.1.6 and 5.2.2.6).
func ForbidsTransform(fields []message.Field) bool {
	for i := range fields {
		if fields[i].ID == message.Other && message.EqualFold(fields[i].Name, "cache-control") {
			for directive := range message.Listed(fields[i].Value) {
				if message.EqualFold(directive, "no-transform") {
					return true
				}
			}
		}
	}
	return false
}

// Accepted returns the one of encodings, best first, that Accept-Encoding gives
// the highest weight (RFC 9110, section 12.5.3); empty if none is acceptable,
// or identity is preferred.
func Accepted(fields []message.Field, encodings []string) string {
	best, most := "", 0
	identity, _ := weightOf(fields, "identity")
	for _, encoding := range encodings {
		weight, named := weightOf(fields, encoding)
		if !named {
			weight, _ = weightOf(fields, "*")
		}
		if weight > most && weight >= identity {
			best, most = encoding, weight
		}
	}
	return best
}

// weightOf returns the weight of coding in Accept-Encoding, in thousandths, and
// whether it is named there.
func weightOf(fields []message.Field, coding string) (weight int, named bool) {
	for i := range fields {
		if fields[i].ID != message.Other || !message.EqualFold(fields[i].Name, "accept-encoding") {
			continue
		}
		for member := range message.Listed(fields[i].Value) {
			name, parameter := message.CutByte(member, ';')
			if message.EqualFold(bytes.TrimRight(name, " \t"), coding) {
				return parseWeight(parameter), true
			}
		}
	}
	return 0, false
}

// parseWeight reads q=0.5 as 500; without a weight it is 1000, and malformed 0.
func parseWeight(parameter []byte) int {
	parameter = bytes.Trim(parameter, " \t")
	if len(parameter) == 0 {
		return 1000
	}
	if len(parameter) < 3 || len(parameter) > 7 || !message.EqualFold(parameter[:2], "q=") {
		return 0
	}
	weight, scale := 0, 1000
	for i, c := range parameter[2:] {
		switch {
		case i == 1 && c == '.':
			continue
		case i == 1, c < '0' || c > '9':
			return 0
		}
		weight += int(c-'0') * scale
		scale /= 10
	}
	return min(weight, 1000)
}

// Vary adds Accept-Encoding to Vary, unless it is there.
func Vary(fields []message.Field) []message.Field {
	for i := range fields {
		if fields[i].ID == message.Other && message.EqualFold(fields[i].Name, "vary") {
			for name := range message.Listed(fields[i].Value) {
				if message.EqualFold(name, "accept-encoding") || string(name) == "*" {
					return fields
				}
			}
		}
	}
	return message.Append(fields, "vary", []byte("Accept-Encoding"))
}

// Encoded adjusts the fields for the compressed answer: a strong ETag would be
// that of other bytes, and ranges of these cannot be served.
func Encoded(fields []message.Field, encoding string) []message.Field {
	kept := fields[:0]
	for _, f := range fields {
		switch {
		case f.ID != message.Other:
		case message.EqualFold(f.Name, "accept-ranges"):
			continue
		case message.EqualFold(f.Name, "etag") && len(f.Value) > 0 && f.Value[0] == '"':
			f.Value = append([]byte("W/"), f.Value...)
		}
		kept = append(kept, f)
	}
	return message.Append(kept, "content-encoding", []byte(encoding))
}
