package message

import (
	"bytes"
	"iter"
)

// HasPrefixFold reports whether name begins with prefix, which is in lower case.
func HasPrefixFold(name []byte, prefix string) bool {
	return len(name) >= len(prefix) && EqualFold(name[:len(prefix)], prefix)
}

// EqualFold reports whether the ASCII text b equals lower, which is in lower
// case. It does not allocate.
func EqualFold(b []byte, lower string) bool {
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

// IsToken reports whether b is a token of RFC 9110, section 5.6.2.
func IsToken(b []byte) bool {
	for _, c := range b {
		if !IsTokenByte(c) {
			return false
		}
	}
	return len(b) > 0
}

// IsTokenByte reports whether c may be part of a token.
func IsTokenByte(c byte) bool {
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

// Listed yields the non-empty members of a comma-separated list.
func Listed(value []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for member := range bytes.SplitSeq(value, []byte{','}) {
			if member = bytes.Trim(member, " \t"); len(member) > 0 && !yield(member) {
				return
			}
		}
	}
}

// CutByte cuts b around the first sep; without one, all of b is before it.
func CutByte(b []byte, sep byte) (before, after []byte) {
	for i, c := range b {
		if c == sep {
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}
