package upstream

import (
	"bytes"
	"crypto/tls"
	"errors"
	"strings"
)

// Mismatch is an error that says which protocol an endpoint seems to speak
// instead of its upstream's, and what to change in the table.
type Mismatch string

const (
	speaksTLS   Mismatch = "it seems to speak TLS: its url should begin with https://"
	speaksClear Mismatch = "it seems not to speak TLS: its url should begin with http://"
	lacksFrames Mismatch = "it seems not to speak HTTP/2: its upstream should have protocol: http1"
	speaksHTTP2 Mismatch = "it seems to speak HTTP/2: its upstream should have protocol: h2c, or h2 with https://"
	lacksHTTP2  Mismatch = "it does not offer HTTP/2 over TLS: its upstream should have protocol: http1"
	lacksHTTP1  Mismatch = "it does not offer HTTP/1.1 over TLS: its upstream should have protocol: h2"
)

// Error implements error.
func (m Mismatch) Error() string { return string(m) }

// mismatchOf recognizes another protocol by the first bytes from an endpoint, where
// an HTTP/1.1 answer, or with http2 a frame, was expected; nil if it does not.
func mismatchOf(first []byte, http2 bool) error {
	const record, frame = 7, 9 // bytes of an alert, and of a frame's head
	settings := len(first) >= frame && first[3] == 4 && first[4] == 0 && !bytes.ContainsFunc(first[5:frame], notZero)
	switch {
	case len(first) >= record && (first[0] == 21 || first[0] == 22) && first[1] == 3 && first[2] <= 4: // alert or handshake
		return speaksTLS
	case http2 && len(first) >= frame && !settings: // HTTP/1.1, or how some servers of it reject version 2.0
		return lacksFrames
	case !http2 && settings && first[0] == 0:
		return speaksHTTP2
	}
	return nil
}

func notZero(r rune) bool { return r != 0 }

// HandshakeMismatch adds to a TLS error the mismatch that it indicates, if any.
func HandshakeMismatch(err error, offered []string) error {
	_, clear := errors.AsType[tls.RecordHeaderError](err)
	switch refused := strings.Contains(err.Error(), "no application protocol"); { // crypto/tls has no type for it
	case clear:
		return errors.Join(speaksClear, err)
	case refused && offered[0] == "h2":
		return errors.Join(lacksHTTP2, err)
	case refused:
		return errors.Join(lacksHTTP1, err)
	}
	return err
}
