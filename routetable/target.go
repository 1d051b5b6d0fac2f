package routetable

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
)

// What is wrong with a request target or Host. Errors of ParseHost and
// ParseTarget wrap one of them.
var (
	ErrHost   = errors.New("invalid host")
	ErrTarget = errors.New("invalid request target")
)

// RequestTarget is a request target in canonical form: the one form that is matched,
// logged and forwarded, so that match and upstream can never disagree.
type RequestTarget struct {
	Scheme    string // http or https for the absolute form, else empty
	Authority []byte // of the absolute form, raw: for ParseHost; else nil
	Path      []byte // canonical, begins with "/"; "*" alone is the asterisk form
	Query     []byte // raw, without "?"; a view of the input
	HasQuery  bool   // there was a "?", even with nothing behind it
}

// ParseTarget reads an origin-form, absolute-form or asterisk-form request
// target (RFC 9112, section 3.2). The canonical path is appended to dst.
//
// In the path, percent-encoded unreserved bytes are decoded, other escapes get
// upper-case digits, bytes that no URI may hold are escaped, "//" becomes "/",
// and dot segments are removed (RFC 3986, sections 5.2.4 and 6.2.2). Refused is
// what servers read differently: escapes cut short, escaped or raw control
// bytes and backslashes, dot segments with parameters such as "..;" or beside an
// escaped slash, a path above the root, a fragment, and bytes outside ASCII. An
// escaped slash stays one, for Rule.Takes to judge.
func ParseTarget(dst, raw []byte) (RequestTarget, error) {
	var t RequestTarget
	if len(raw) == 1 && raw[0] == '*' {
		t.Path = append(dst, '*')
		return t, nil
	}
	rest, err := t.cutAuthority(raw)
	if err != nil {
		return RequestTarget{}, err
	}
	if q := bytes.IndexByte(rest, '?'); q >= 0 {
		t.Query, t.HasQuery = rest[q+1:], true
		rest = rest[:q]
	}
	for _, c := range t.Query {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return RequestTarget{}, fmt.Errorf("%w: byte %#02x in query", ErrTarget, c)
		}
	}
	t.Path, err = appendCanonicalPath(dst, rest)
	return t, err
}

// cutAuthority takes scheme and authority off an absolute-form target and
// returns the path and query.
func (t *RequestTarget) cutAuthority(raw []byte) ([]byte, error) {
	if len(raw) > 0 && raw[0] == '/' {
		return raw, nil
	}
	scheme, rest, found := bytes.Cut(raw, []byte("://"))
	switch {
	case found && bytes.EqualFold(scheme, []byte("http")):
		t.Scheme = "http"
	case found && bytes.EqualFold(scheme, []byte("https")):
		t.Scheme = "https"
	default:
		return nil, fmt.Errorf("%w: neither a path nor an http URI", ErrTarget)
	}
	end := bytes.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	t.Authority, rest = rest[:end], rest[end:]
	if len(t.Authority) == 0 {
		return nil, fmt.Errorf("%w: no authority", ErrTarget)
	}
	return rest, nil
}

// appendCanonicalPath appends the canonical form of path, which is empty or
// begins with "/".
func appendCanonicalPath(dst, path []byte) ([]byte, error) {
	root := len(dst)
	dst = append(dst, '/')
	segment := len(dst) // where the current segment begins
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '/' {
			var err error
			if dst, err = closeSegment(dst, root, segment); err != nil {
				return nil, err
			}
			if dst[len(dst)-1] != '/' {
				dst = append(dst, '/')
			}
			segment = len(dst)
			continue
		}
		escaped := c == '%'
		if escaped {
			if i+2 >= len(path) || unhex(path[i+1]) < 0 || unhex(path[i+2]) < 0 {
				return nil, fmt.Errorf("%w: bad percent escape", ErrTarget)
			}
			c = byte(unhex(path[i+1])<<4 | unhex(path[i+2]))
			i += 2
		}
		switch {
		case c < ' ' || c == 0x7f || c == '\\' || !escaped && (c == ' ' || c >= 0x80 || c == '#'):
			return nil, fmt.Errorf("%w: byte %#02x in path", ErrTarget, c)
		case isUnreserved(c) || !escaped && isPathByte(c):
			dst = append(dst, c)
		default:
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return closeSegment(dst, root, segment)
}

const upperHex = "0123456789ABCDEF"

// closeSegment looks at the segment of dst that begins at segment and ends dst,
// and takes it away, with its parent for "..", if it is a dot segment.
func closeSegment(dst []byte, root, segment int) ([]byte, error) {
	name, _, parameters := bytes.Cut(dst[segment:], []byte{';'})
	switch string(name) {
	case ".", "..":
		if parameters {
			return nil, fmt.Errorf("%w: dot segment with parameters", ErrTarget)
		}
	default:
		if dotsBehindSlash(dst[segment:]) {
			return nil, fmt.Errorf("%w: dot segment beside an escaped slash", ErrTarget)
		}
		return dst, nil
	}
	if len(name) == 1 {
		return dst[:segment], nil
	}
	if segment-1 == root {
		return nil, fmt.Errorf("%w: path above the root", ErrTarget)
	}
	parent := bytes.LastIndexByte(dst[root:segment-1], '/')
	return dst[:root+parent+1], nil
}

const escapedSlash = "%2F" // in its canonical form

// dotsBehindSlash reports whether a segment holds dot segments for who reads its
// escaped slashes as slashes.
func dotsBehindSlash(segment []byte) bool {
	if !bytes.Contains(segment, []byte(escapedSlash)) {
		return false
	}
	for part := range bytes.SplitSeq(segment, []byte(escapedSlash)) {
		if name, _, _ := bytes.Cut(part, []byte{';'}); string(name) == "." || string(name) == ".." {
			return true
		}
	}
	return false
}

func isUnreserved(c byte) bool {
	return isLetterOrDigit(c) || c == '-' || c == '.' || c == '_' || c == '~'
}

func isLetterOrDigit(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
}

// isPathByte reports whether c may stand unescaped in a path segment beside the
// unreserved bytes (pchar of RFC 3986).
func isPathByte(c byte) bool {
	switch c {
	case '!', '$', '&', '\'', '(', ')', '*', '+', ',', ';', '=', ':', '@':
		return true
	}
	return false
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// ParseHost reads a Host field or the authority of a target: a name, an IPv4
// address or an IPv6 address in brackets, with or without a port. The canonical
// host is appended to dst: lower case, without the dot of a rooted name and
// without port; an IPv6 address in its shortest form, in brackets. port is 0
// where none is given. Refused is everything else, user information, lists,
// escapes, zones and bytes outside ASCII included.
func ParseHost(dst, raw []byte) (host []byte, port int, err error) {
	if len(raw) > 0 && raw[0] == '[' {
		return parseBracketed(dst, raw)
	}
	name, rest, hasPort := bytes.Cut(raw, []byte{':'})
	if hasPort {
		if port, err = parsePort(rest); err != nil {
			return nil, 0, err
		}
	}
	name = bytes.TrimSuffix(name, []byte{'.'})
	if len(name) == 0 || len(name) > 253 || name[len(name)-1] == '.' {
		return nil, 0, fmt.Errorf("%w: empty label, or longer than 253 bytes", ErrHost)
	}
	start := len(dst)
	for i, c := range name {
		switch {
		case c == '.' && i > 0 && name[i-1] != '.':
		case isLetterOrDigit(c) || c == '-' || c == '_':
		default:
			return nil, 0, fmt.Errorf("%w: byte %#02x", ErrHost, c)
		}
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst, port, checkIPv4(dst[start:])
}

// checkIPv4 refuses names that end in a number and are no IPv4 address: some
// resolvers read 127.1 or 0x7f000001 as an address.
func checkIPv4(name []byte) error {
	last := name[bytes.LastIndexByte(name, '.')+1:]
	numeric := len(last) > 0
	for i, c := range last {
		hex := i == 1 && c == 'x' && last[0] == '0' || i > 1 && last[0] == '0' && last[1] == 'x' && unhex(c) >= 0
		if !hex && (c < '0' || c > '9') {
			numeric = false
			break
		}
	}
	if !numeric {
		return nil
	}
	if !isDottedQuad(name) {
		return fmt.Errorf("%w: not an IPv4 address", ErrHost)
	}
	return nil
}

// isDottedQuad reports whether name is four decimal numbers up to 255, without
// leading zeros.
func isDottedQuad(name []byte) bool {
	parts := 0
	for part := range bytes.SplitSeq(name, []byte{'.'}) {
		if parts++; len(part) == 0 || len(part) > 3 || len(part) > 1 && part[0] == '0' {
			return false
		}
		n := 0
		for _, c := range part {
			if c < '0' || c > '9' {
				return false
			}
			n = n*10 + int(c-'0')
		}
		if n > 255 {
			return false
		}
	}
	return parts == 4
}

func parseBracketed(dst, raw []byte) (host []byte, port int, err error) {
	end := bytes.IndexByte(raw, ']')
	if end < 0 {
		return nil, 0, fmt.Errorf("%w: bracket left open", ErrHost)
	}
	ip, err := netip.ParseAddr(string(raw[1:end]))
	if err != nil || !ip.Is6() || ip.Zone() != "" {
		return nil, 0, fmt.Errorf("%w: not an IPv6 address", ErrHost)
	}
	if rest := raw[end+1:]; len(rest) > 0 {
		if rest[0] != ':' {
			return nil, 0, fmt.Errorf("%w: %q after the address", ErrHost, rest)
		}
		if port, err = parsePort(rest[1:]); err != nil {
			return nil, 0, err
		}
	}
	dst = append(dst, '[')
	dst = ip.AppendTo(dst)
	return append(dst, ']'), port, nil
}

func parsePort(digits []byte) (int, error) {
	port := 0
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%w: bad port", ErrHost)
		}
		if port = port*10 + int(c-'0'); port > 65535 {
			return 0, fmt.Errorf("%w: bad port", ErrHost)
		}
	}
	if len(digits) == 0 || port == 0 {
		return 0, fmt.Errorf("%w: bad port", ErrHost)
	}
	return port, nil
}
