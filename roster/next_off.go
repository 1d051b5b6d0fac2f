//go:build !nextversion

package roster

import "google.golang.org/protobuf/encoding/protowire"

// appendNext and setNext are what the next version of the wire format has besides:
// nothing but in a build for tests, see next.go.
func appendNext(b []byte) []byte { return b }

func (n *Node) setNext(protowire.Number) {}
