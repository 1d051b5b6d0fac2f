package dataplane

import (
	"bytes"
	"crypto/tls"
	"errors"
	"strings"

	"github.com/meshgw/meshgw/failover"
)

// misfit is an error that says what an endpoint seems to speak instead of its
// upstream's protocol, and what in the table would mend it.
type misfit string

const (
	speaksTLS   misfit = "it seems to speak TLS: its url should begin with https://"
	speaksClear misfit = "it seems not to speak TLS: its url should begin with http://"
	lacksFrames misfit = "it seems not to speak HTTP/2: its upstream should have protocol: http1"
	speaksHTTP2 misfit = "it seems to speak HTTP/2: its upstream should have protocol: h2c, or h2 with https://"
	lacksHTTP2  misfit = "it does not offer HTTP/2 over TLS: its upstream should have protocol: http1"
	lacksHTTP1  misfit = "it does not offer HTTP/1.1 over TLS: its upstream should have protocol: h2"
)

// Error implements error.
func (m misfit) Error() string { return string(m) }

// misfitOf is what the first bytes of an endpoint tell where an answer in HTTP/1.1,
// or with http2 a frame, should be; nil where they tell nothing.
func misfitOf(first []byte, http2 bool) error {
	const record, frame = 7, 9 // bytes of an alert, and of a frame's head
	settings := len(first) >= frame && first[3] == 4 && first[4] == 0 && !bytes.ContainsFunc(first[5:frame], notZero)
	switch {
	case len(first) >= record && (first[0] == 21 || first[0] == 22) && first[1] == 3 && first[2] <= 4: // alert or handshake
		return speaksTLS
	case http2 && len(first) >= frame && !settings: // HTTP/1.1, or what some servers of it say to a version 2.0
		return lacksFrames
	case !http2 && settings && first[0] == 0:
		return speaksHTTP2
	}
	return nil
}

func notZero(r rune) bool { return r != 0 }

// handshakeMisfit adds to an error of TLS what it tells of the endpoint.
func handshakeMisfit(err error, offered []string) error {
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

// hint notes what err tells of the protocol that e speaks, and returns it as a
// sentence for people, after a space; empty where it tells nothing.
func (s *Server) hint(e *endpoint, err error) string {
	m, ok := errors.AsType[misfit](err)
	if !ok || e.gateway != "" {
		return ""
	}
	if last := e.watched.misfit.Swap(&m); last == nil || *last != m {
		s.log.Warn().Str("endpoint", e.address.URL).Str("reason", string(m)).Msg("endpoint speaks another protocol")
	}
	return " I" + string(m[1:]) + "."
}

// reason is why e is not in use, with what is known of the protocol it speaks.
func (e *endpoint) reason(state failover.State) string {
	m := e.watched.misfit.Load()
	if m == nil || state.Status == failover.Closed || strings.Contains(state.Reason, string(*m)) {
		return state.Reason
	}
	return state.Reason + ": " + string(*m)
}
