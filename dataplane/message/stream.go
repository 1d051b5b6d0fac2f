package message

// Stream is a body in pieces.
type Stream interface {
	// Next returns the next piece, valid until the next call; io.EOF after the
	// last, and only if the body is whole.
	Next() ([]byte, error)

	// Ready reports whether Next can work without waiting for input.
	Ready() bool

	// Trailers returns the trailer fields, once the body has ended.
	Trailers() []Field
}
