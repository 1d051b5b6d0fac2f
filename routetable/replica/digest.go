package replica

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meshgw/meshgw/crdt"
)

type digest struct {
	seen  map[string]uint64
	sum   []byte
	floor crdt.Stamp
}

func (s *state) encodeDigest() []byte {
	sum := s.sum()
	b := appendSeen(messageHeader(), 2, s.seen)
	b = appendMessage(b, 3, sum[:shortSum])
	return appendStamp(b, 4, s.floor)
}

func readDigest(data []byte) (digest, error) {
	d := digest{seen: map[string]uint64{}}
	format := uint64(0)
	err := walk(data, func(num protowire.Number, value []byte, n uint64, _ []byte) error {
		switch num {
		case 1:
			format = n
		case 2:
			return readSeen(d.seen, value)
		case 3:
			d.sum = value
		case 4:
			return readStamp(&d.floor, value)
		}
		return nil
	})
	if err == nil && (format != wireFormat || len(d.sum) != shortSum) {
		err = refuse("format", "digest of format %d", format)
	}
	return d, err
}
