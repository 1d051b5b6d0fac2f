package canonical

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
)

// ErrHost is what is wrong with a host. Errors of ParseHost wrap it.
var ErrHost = errors.New("invalid host")

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
		case IsLetterOrDigit(c) || c == '-' || c == '_':
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
		hex := i == 1 && c == 'x' && last[0] == '0' || i > 1 && last[0] == '0' && last[1] == 'x' && Unhex(c) >= 0
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
