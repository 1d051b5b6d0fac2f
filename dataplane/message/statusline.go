package message

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
)

// ErrAnswer says that an answer is not valid HTTP.
var ErrAnswer = errors.New("malformed answer")

// ParseStatusLine reads the line "HTTP/1.1 200 reason" at the start of block, and
// returns what follows it.
func ParseStatusLine(block []byte) (status int, http10 bool, rest []byte, err error) {
	end := bytes.IndexByte(block, '\n')
	if end < 1 || block[end-1] != '\r' {
		return 0, false, nil, ErrAnswer
	}
	line := block[:end-1]
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) || line[7] != '0' && line[7] != '1' ||
		line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return 0, false, nil, ErrAnswer
	}
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return 0, false, nil, ErrAnswer
		}
		status = status*10 + int(c-'0')
	}
	if status < 100 || status > 599 || bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 {
		return 0, false, nil, ErrAnswer
	}
	return status, line[7] == '0', block[end+1:], nil
}

// AppendStatusLine appends the first line of an answer.
func AppendStatusLine(b []byte, status int) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = append(strconv.AppendInt(b, int64(status), 10), ' ')
	return append(append(b, http.StatusText(status)...), "\r\n"...)
}
