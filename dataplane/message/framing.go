package message

import "errors"

// Values for the length of a body that is not known in advance.
const (
	Chunked    = -1 // until the last chunk
	UntilClose = -2 // until the connection ends; answers only
)

// Errors of Framing.
var (
	ErrFraming         = errors.New("ambiguous message framing")
	ErrTransferCoding  = errors.New("transfer coding other than chunked")
	ErrContentLength   = errors.New("bad content-length")
	ErrTransferVersion = errors.New("transfer-encoding in HTTP/1.0")
)

// Framing returns the length of a message's body (RFC 9112, section 6), and refuses
// whatever another parser could interpret differently. Without Content-Length and
// Transfer-Encoding the length is 0 and declared is false.
func Framing(fields []Field, http10 bool) (length int64, declared bool, err error) {
	coding, codings := Find(fields, TransferEncoding)
	digits, lengths := Find(fields, ContentLength)
	switch {
	case codings > 0 && http10:
		return 0, false, ErrTransferVersion
	case codings > 1 || lengths > 1 || codings+lengths > 1:
		return 0, false, ErrFraming
	case codings == 1:
		if !EqualFold(coding, "chunked") {
			return 0, false, ErrTransferCoding
		}
		return Chunked, true, nil
	case lengths == 1:
		length, err = ParseLength(digits)
		return length, true, err
	}
	return 0, false, nil
}

// ParseLength reads a Content-Length: digits only, at most 18 of them.
func ParseLength(digits []byte) (int64, error) {
	if len(digits) == 0 || len(digits) > 18 {
		return 0, ErrContentLength
	}
	var n int64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, ErrContentLength
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}

// AnswerLength is framing for an answer; head says that the request was a HEAD.
func AnswerLength(fields []Field, status int, head, http10 bool) (int64, error) {
	length, declared, err := Framing(fields, http10)
	if err != nil {
		return 0, err
	}
	switch {
	case !HasBody(status) || head:
		return 0, nil
	case !declared:
		return UntilClose, nil
	}
	return length, nil
}

// HasBody reports whether an answer with status has a body.
func HasBody(status int) bool { return status >= 200 && status != 204 && status != 304 }
