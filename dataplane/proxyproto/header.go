// Package proxyproto reads the headers of the PROXY protocol, versions 1 and 2, by
// which a load balancer of TCP says, in front of what a client sends, who the client
// is: https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt
package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
)

const (
	shortestHeader = 15      // "PROXY UNKNOWN\r\n"
	longestLine    = 107     // of version 1, its end included
	longestBlock   = 4 << 10 // of version 2, after its 16 bytes; addresses and what load balancers add of their own
	signature      = "\r\n\r\n\x00\r\nQUIT\n"
)

// ErrHeader means that there is no such header.
var ErrHeader = errors.New("no header of the PROXY protocol")

// Read reads a header of either version from r, and not a byte more. The
// address is invalid where the header names no client.
func Read(r io.Reader) (netip.Addr, error) {
	head := make([]byte, shortestHeader, longestLine)
	if _, err := io.ReadFull(r, head); err != nil {
		return netip.Addr{}, err
	}
	switch {
	case bytes.HasPrefix(head, []byte(signature)):
		return readBlock(r, head)
	case bytes.HasPrefix(head, []byte("PROXY ")):
		return readLine(r, head)
	}
	return netip.Addr{}, ErrHeader
}

// readLine reads the rest of a header of version 1, a byte at a time: where it
// ends is known only then.
func readLine(r io.Reader, line []byte) (netip.Addr, error) {
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		if len(line) == longestLine {
			return netip.Addr{}, ErrHeader
		}
		line = line[:len(line)+1]
		if _, err := io.ReadFull(r, line[len(line)-1:]); err != nil {
			return netip.Addr{}, err
		}
	}
	words := strings.Split(strings.TrimSuffix(string(line), "\r\n"), " ")
	if words[1] == "UNKNOWN" {
		return netip.Addr{}, nil
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return netip.Addr{}, ErrHeader
	}
	from, err := netip.ParseAddr(words[2])
	if err != nil || from.Is4() != (words[1] == "TCP4") || from.Zone() != "" {
		return netip.Addr{}, ErrHeader
	}
	return from.Unmap(), nil
}

// readBlock reads the rest of a header of version 2.
func readBlock(r io.Reader, head []byte) (netip.Addr, error) {
	head = head[:16]
	if _, err := io.ReadFull(r, head[shortestHeader:]); err != nil {
		return netip.Addr{}, err
	}
	command, family, length := head[12], head[13], binary.BigEndian.Uint16(head[14:])
	if command>>4 != 2 || length > longestBlock {
		return netip.Addr{}, ErrHeader
	}
	block := make([]byte, length)
	if _, err := io.ReadFull(r, block); err != nil {
		return netip.Addr{}, err
	}
	switch {
	case command == 0x20: // the load balancer itself, as for a health check
		return netip.Addr{}, nil
	case command != 0x21:
		return netip.Addr{}, ErrHeader
	case family == 0x11 && length >= 12:
		return netip.AddrFrom4([4]byte(block)), nil
	case family == 0x21 && length >= 36:
		return netip.AddrFrom16([16]byte(block)).Unmap(), nil
	case family == 0x11, family == 0x21:
		return netip.Addr{}, ErrHeader
	}
	return netip.Addr{}, nil // of a family that no client of HTTP has
}
