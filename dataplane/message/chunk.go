package message

import (
	"bytes"
	"errors"

	"github.com/meshgw/meshgw/routetable/canonical"
)

// ErrChunk says that the framing of a chunk is not valid.
var ErrChunk = errors.New("malformed chunk")

// ParseChunkSize reads the line before a chunk, without its CRLF: the size of the
// chunk, and extensions, which are ignored.
func ParseChunkSize(line []byte) (int64, error) {
	size, extension := CutByte(line, ';')
	size = bytes.TrimRight(size, " \t")
	for _, c := range extension {
		if c < ' ' && c != '\t' || c == 0x7f {
			return 0, ErrChunk
		}
	}
	if len(size) == 0 || len(size) > 15 {
		return 0, ErrChunk
	}
	var n int64
	for _, c := range size {
		digit := canonical.Unhex(c)
		if digit < 0 {
			return 0, ErrChunk
		}
		n = n<<4 | int64(digit)
	}
	return n, nil
}
