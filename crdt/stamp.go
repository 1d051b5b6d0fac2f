package crdt

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// A Stamp orders writes without clocks: a Lamport version and the node that
// wrote, which decides between equal versions. The zero Stamp is older than
// every write.
type Stamp struct {
	Version uint64
	Node    string
}

// Compare orders stamps by version, then by node name.
func (s Stamp) Compare(o Stamp) int {
	if c := cmp.Compare(s.Version, o.Version); c != 0 {
		return c
	}
	return cmp.Compare(s.Node, o.Node)
}

// Less reports whether s is older than o.
func (s Stamp) Less(o Stamp) bool { return s.Compare(o) < 0 }

// IsZero reports whether s is the stamp of no write.
func (s Stamp) IsZero() bool { return s == Stamp{} }

// String returns the stamp as users see it: VERSION@NODE.
func (s Stamp) String() string {
	return strconv.FormatUint(s.Version, 10) + "@" + s.Node
}

// ParseStamp reads VERSION@NODE, or a bare VERSION, whose Node is empty.
func ParseStamp(text string) (Stamp, error) {
	version, node, _ := strings.Cut(text, "@")
	v, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		return Stamp{}, fmt.Errorf("%q is not VERSION or VERSION@NODE", text)
	}
	return Stamp{Version: v, Node: node}, nil
}
