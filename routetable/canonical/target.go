package canonical

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrTarget is what is wrong with a request target. Errors of ParseTarget wrap it.
var ErrTarget = errors.New("invalid request target")

// Target is a request target in canonical form.
type Target struct {
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
// escaped slash stays one, for who matches it to judge: see EscapedSlash.
func ParseTarget(dst, raw []byte) (Target, error) {
	var t Target
	if len(raw) == 1 && raw[0] == '*' {
		t.Path = append(dst, '*')
		return t, nil
	}
	rest, err := t.cutAuthority(raw)
	if err != nil {
		return Target{}, err
	}
	if q := bytes.IndexByte(rest, '?'); q >= 0 {
		t.Query, t.HasQuery = rest[q+1:], true
		rest = rest[:q]
	}
	for _, c := range t.Query {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return Target{}, fmt.Errorf("%w: byte %#02x in query", ErrTarget, c)
		}
	}
	t.Path, err = AppendPath(dst, rest)
	return t, err
}

// cutAuthority takes scheme and authority off an absolute-form target and
// returns the path and query.
func (t *Target) cutAuthority(raw []byte) ([]byte, error) {
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

// AppendPath appends the canonical form of path, which is empty or
// begins with "/".
func AppendPath(dst, path []byte) ([]byte, error) {
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
			if i+2 >= len(path) || Unhex(path[i+1]) < 0 || Unhex(path[i+2]) < 0 {
				return nil, fmt.Errorf("%w: bad percent escape", ErrTarget)
			}
			c = byte(Unhex(path[i+1])<<4 | Unhex(path[i+2]))
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

// EscapedSlash is a slash that is part of a segment, in canonical form. A path with
// one is two paths to two servers.
const EscapedSlash = "%2F"

// dotsBehindSlash reports whether a segment holds dot segments for who reads its
// escaped slashes as slashes.
func dotsBehindSlash(segment []byte) bool {
	if !bytes.Contains(segment, []byte(EscapedSlash)) {
		return false
	}
	for part := range bytes.SplitSeq(segment, []byte(EscapedSlash)) {
		if name, _, _ := bytes.Cut(part, []byte{';'}); string(name) == "." || string(name) == ".." {
			return true
		}
	}
	return false
}

func isUnreserved(c byte) bool {
	return IsLetterOrDigit(c) || c == '-' || c == '.' || c == '_' || c == '~'
}

// IsLetterOrDigit reports whether c is one in ASCII.
func IsLetterOrDigit(c byte) bool {
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

// Unhex returns the value of a hexadecimal digit, or -1.
func Unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
