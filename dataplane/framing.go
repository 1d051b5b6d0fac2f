package dataplane

import (
	"errors"
)

// Values for the length of a body that is not known in advance.
const (
	chunked    = -1 // until the last chunk
	untilClose = -2 // until the connection ends; answers only
)

var (
	errFraming         = errors.New("ambiguous message framing")
	errTransferCoding  = errors.New("transfer coding other than chunked")
	errContentLength   = errors.New("bad content-length")
	errTransferVersion = errors.New("transfer-encoding in HTTP/1.0")
)

// framing returns the length of a message's body (RFC 9112, section 6), and refuses
// whatever another parser could interpret differently. Without Content-Length and
// Transfer-Encoding the length is 0 and declared is false.
func framing(fields []Field, http10 bool) (length int64, declared bool, err error) {
	coding, codings := find(fields, fieldTransferEncoding)
	digits, lengths := find(fields, fieldContentLength)
	switch {
	case codings > 0 && http10:
		return 0, false, errTransferVersion
	case codings > 1 || lengths > 1 || codings+lengths > 1:
		return 0, false, errFraming
	case codings == 1:
		if !equalFold(coding, "chunked") {
			return 0, false, errTransferCoding
		}
		return chunked, true, nil
	case lengths == 1:
		length, err = parseLength(digits)
		return length, true, err
	}
	return 0, false, nil
}

// parseLength reads a Content-Length: digits only, at most 18 of them.
func parseLength(digits []byte) (int64, error) {
	if len(digits) == 0 || len(digits) > 18 {
		return 0, errContentLength
	}
	var n int64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, errContentLength
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}

// answerLength is framing for an answer; head says that the request was a HEAD.
func answerLength(fields []Field, status int, head, http10 bool) (int64, error) {
	length, declared, err := framing(fields, http10)
	if err != nil {
		return 0, err
	}
	switch {
	case !hasBody(status) || head:
		return 0, nil
	case !declared:
		return untilClose, nil
	}
	return length, nil
}

// hasBody reports whether an answer with status has a body.
func hasBody(status int) bool { return status >= 200 && status != 204 && status != 304 }
