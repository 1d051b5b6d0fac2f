package dataplane

import (
	"bytes"

	"github.com/meshgw/meshgw/routetable"
)

// compress compresses r if the rule says so, the client accepts it and nothing
// forbids it.
func (s *Server) compress(x *Exchange, r *reply) {
	if x.rule == nil || x.rule.Compress == nil || !compressible(x.rule.Compress, r) {
		return
	}
	r.fields = varyByEncoding(r.fields)
	encoding := accepted(x.Fields, x.rule.Compress.Encodings)
	if encoding == "" || x.isHead() || forbidsTransform(x.Fields) {
		return
	}
	c, err := s.encoders.get(encoding)
	if err != nil {
		s.log.Error().Err(err).Str("encoding", encoding).Msg("answer not compressed")
		return
	}
	x.encoding = c
	if r.stream != nil {
		c.from, c.flushes = r.stream, r.length < 0
		r.stream, r.length = c, chunked
	} else {
		body, err := c.whole(r.body)
		if err != nil {
			s.log.Error().Err(err).Str("encoding", encoding).Msg("answer not compressed")
			return
		}
		r.body, r.length = body, int64(len(body))
		x.out = r.length
	}
	r.fields = encoded(r.fields, encoding)
}

// compressible reports whether an answer may be compressed for clients that
// accept it.
func compressible(c *routetable.Compress, r *reply) bool {
	if !hasBody(r.status) || r.status == 206 || r.length >= 0 && r.length < int64(c.MinBytes) || forbidsTransform(r.fields) {
		return false
	}
	var media []byte
	for i := range r.fields {
		f := &r.fields[i]
		switch {
		case f.id == fieldContentType:
			media = f.Value
		case f.id != otherField:
		case equalFold(f.Name, "content-encoding"), equalFold(f.Name, "content-range"),
			// A digest is of the bytes as the origin sent them.
			equalFold(f.Name, "content-digest"), equalFold(f.Name, "repr-digest"), equalFold(f.Name, "digest"), equalFold(f.Name, "content-md5"):
			return false
		}
	}
	return listedType(media, c.Types)
}

// listedType reports whether media matches one of types, each a media type such
// as text/html, text/* or application/*+json. Event streams never do: their
// small messages must not be held back.
func listedType(media []byte, types []string) bool {
	media, _ = cutByte(media, ';')
	media = bytes.TrimRight(media, " \t")
	if len(media) == 0 || equalFold(media, "text/event-stream") {
		return false
	}
	for _, t := range types {
		start, end, pattern := cutStar(t)
		if !pattern && equalFold(media, t) {
			return true
		}
		if pattern && len(media) > len(start)+len(end) && hasPrefixFold(media, start) && equalFold(media[len(media)-len(end):], end) {
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

// forbidsTransform reports whether Cache-Control has no-transform (RFC 9111,
// sections 5.2.1.6 and 5.2.2.6).
func forbidsTransform(fields []Field) bool {
	for i := range fields {
		if fields[i].id == otherField && equalFold(fields[i].Name, "cache-control") {
			for directive := range listed(fields[i].Value) {
				if equalFold(directive, "no-transform") {
					return true
				}
			}
		}
	}
	return false
}

// accepted returns the one of encodings, best first, that Accept-Encoding gives
// the highest weight (RFC 9110, section 12.5.3); empty if none is acceptable,
// or identity is preferred.
func accepted(fields []Field, encodings []string) string {
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
func weightOf(fields []Field, coding string) (weight int, named bool) {
	for i := range fields {
		if fields[i].id != otherField || !equalFold(fields[i].Name, "accept-encoding") {
			continue
		}
		for member := range listed(fields[i].Value) {
			name, parameter := cutByte(member, ';')
			if equalFold(bytes.TrimRight(name, " \t"), coding) {
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
	if len(parameter) < 3 || len(parameter) > 7 || !equalFold(parameter[:2], "q=") {
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

// varyByEncoding adds Accept-Encoding to Vary, unless it is there.
func varyByEncoding(fields []Field) []Field {
	for i := range fields {
		if fields[i].id == otherField && equalFold(fields[i].Name, "vary") {
			for name := range listed(fields[i].Value) {
				if equalFold(name, "accept-encoding") || string(name) == "*" {
					return fields
				}
			}
		}
	}
	return appendOwn(fields, "vary", []byte("Accept-Encoding"))
}

// encoded adjusts the fields for the compressed answer: a strong ETag would be
// that of other bytes, and ranges of these cannot be served.
func encoded(fields []Field, encoding string) []Field {
	kept := fields[:0]
	for _, f := range fields {
		switch {
		case f.id != otherField:
		case equalFold(f.Name, "accept-ranges"):
			continue
		case equalFold(f.Name, "etag") && len(f.Value) > 0 && f.Value[0] == '"':
			f.Value = append([]byte("W/"), f.Value...)
		}
		kept = append(kept, f)
	}
	return appendOwn(kept, "content-encoding", []byte(encoding))
}
