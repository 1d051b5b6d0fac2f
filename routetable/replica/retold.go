package replica

import (
	"sync"
	"weak"
)

// retold is the delta that was last made of a state: after a change all peers lack
// the same, and ask for it at once. The collector takes it soon after.
type retold struct {
	mu     sync.Mutex // guards the rest, and is held while a delta is made
	digest string     // of who lacks it
	delta  weak.Pointer[[]byte]
}

// to returns the delta for the owner of digest, which tell makes.
func (r *retold) to(digest []byte, tell func() []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if delta := r.delta.Value(); delta != nil && r.digest == string(digest) {
		return *delta
	}
	delta := tell()
	r.digest, r.delta = string(digest), weak.Make(&delta)
	return delta
}
