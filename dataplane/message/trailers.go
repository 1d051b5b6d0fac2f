package message

// AppendTrailers appends the trailer fields that may be forwarded: none for
// framing, routing or authentication (RFC 9110, section 6.5.1).
func AppendTrailers(b []byte, trailers []Field) []byte {
	for i := range trailers {
		if trailers[i].AllowedInTrailer() {
			b = AppendField(b, trailers[i].Name, trailers[i].Value)
		}
	}
	return b
}

// AllowedInTrailer reports whether f may be forwarded as a trailer field.
func (f *Field) AllowedInTrailer() bool {
	if f.ID != Other {
		return false
	}
	for _, bad := range []string{
		"authorization", "set-cookie", "cookie", "content-encoding", "content-range", "cache-control", "location",
		"www-authenticate", "range",
	} {
		if EqualFold(f.Name, bad) {
			return false
		}
	}
	return true
}
