package routetable

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"iter"
)

// Digest returns the Table.Digest of objects, each with its canonical JSON, by kind as
// in a route file, then by name.
func Digest(objects iter.Seq2[ID, []byte]) string {
	h := sha256.New()
	var content []byte
	for id, data := range objects {
		content = AppendContent(content[:0], id.Kind, id.Name, data)
		h.Write(content)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func canonicalJSON(objects Objects) iter.Seq2[ID, []byte] {
	return func(yield func(ID, []byte) bool) {
		for o := range objects.All {
			data, err := json.Marshal(o)
			if err != nil {
				panic("routetable: " + err.Error()) // plain data, always written
			}
			if !yield(o.ID(), data) {
				return
			}
		}
	}
}

// AppendContent appends one object as a digest takes it, unambiguously: each part
// after its length.
func AppendContent(b []byte, kind, name string, data []byte) []byte {
	b = append(binary.BigEndian.AppendUint64(b, uint64(len(kind))), kind...)
	b = append(binary.BigEndian.AppendUint64(b, uint64(len(name))), name...)
	return append(binary.BigEndian.AppendUint64(b, uint64(len(data))), data...)
}
