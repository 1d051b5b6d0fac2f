package crdt

import "iter"

// An Entry is what a message of Delta or Changes says of one key.
type Entry struct {
	Key     string
	Version uint64
	Gone    bool   // the key was forgotten
	Value   []byte // shared with the message
}

// Entries yields the entries of a message in its order, and an error in place of
// the first that is malformed.
func Entries(data []byte) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for r, err := range records(data) {
			if !yield(Entry{Key: r.key, Version: r.version, Gone: r.gone, Value: r.value}, err) {
				return
			}
		}
	}
}

// Append appends e to a message.
func (e Entry) Append(b []byte) []byte {
	return appendRecord(b, record{key: e.Key, version: e.Version, gone: e.Gone, value: e.Value})
}
