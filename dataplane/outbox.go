package dataplane

import (
	"errors"
	"syscall"
)

// outbox writes to a plain socket, one write at a time.
type outbox struct {
	raw   syscall.RawConn
	put   func(fd uintptr) bool
	parts [3][]byte // what is left of the write under way
	err   error
}

func newOutbox(raw syscall.RawConn) *outbox {
	o := &outbox{raw: raw}
	o.put = func(fd uintptr) bool {
		for o.left() > 0 {
			n, err := writeNow(int(fd), &o.parts)
			if err == syscall.EAGAIN { //nolint:errorlint // writeNow gives it bare
				return false
			}
			if o.err = err; err != nil {
				return true
			}
			o.drop(n)
		}
		return true
	}
	return o
}

// write writes parts. It returns how much of them it wrote.
func (o *outbox) write(parts [3][]byte) (int, error) {
	o.parts, o.err = parts, nil
	all := o.left()
	err := o.raw.Write(o.put)
	n := all - o.left()
	o.parts = [3][]byte{}
	return n, errors.Join(err, o.err)
}

func (o *outbox) left() int { return len(o.parts[0]) + len(o.parts[1]) + len(o.parts[2]) }

// drop takes away the first n bytes of what is left.
func (o *outbox) drop(n int) {
	for i, p := range o.parts {
		taken := min(n, len(p))
		o.parts[i] = p[taken:]
		n -= taken
	}
}
