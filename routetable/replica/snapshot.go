package replica

import (
	"bytes"
	"crypto/sha256"
)

// snapshotMagic begins every snapshot; its last byte is the format.
const snapshotMagic = "meshgw routes\x00\x01"

// snapshot writes s for Restore.
func (s *state) snapshot() []byte {
	b := s.appendWhole(append([]byte(snapshotMagic), messageHeader()...))
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func readSnapshot(data []byte) (message, error) {
	body, ok := bytes.CutPrefix(data, []byte(snapshotMagic))
	if !ok || len(body) < sha256.Size {
		return message{}, refuse("format", "not a snapshot of this version")
	}
	end := len(data) - sha256.Size
	if sum := sha256.Sum256(data[:end]); !bytes.Equal(sum[:], data[end:]) {
		return message{}, refuse("checksum", "the snapshot is damaged")
	}
	m, err := newState().reader().message(body[:len(body)-sha256.Size])
	if err == nil && m.part == nil {
		err = refuse("invalid", "the snapshot holds no state")
	}
	return m, err
}
