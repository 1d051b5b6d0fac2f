package auth

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

const argonPrefix = "$argon2id$"

// Bounds of argon2id hashes. Half of the CPUs check at once, each with so much
// memory; what is recommended (RFC 9106, OWASP) is 19 to 64 MiB.
const (
	maxArgonMemory = 64 << 10 // KiB
	minArgonMemory = 8        // a lane, by the RFC
	maxArgonPasses = 10
	maxArgonLanes  = 4
	maxArgonSize   = 64 // bytes of salt and of hash
	minArgonSize   = 8
)

// argonHash is an argon2id hash.
type argonHash struct {
	memory, passes uint32
	lanes          uint8
	salt, sum      []byte
}

// parseArgon reads the PHC form: $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH, in
// base64 without padding.
func parseArgon(text string) (*argonHash, error) {
	h := &argonHash{}
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return nil, errHash
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.lanes); n != 3 || err != nil ||
		parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", h.memory, h.passes, h.lanes) {
		return nil, errHash
	}
	var err error
	if h.salt, err = base64.RawStdEncoding.Strict().DecodeString(parts[4]); err != nil {
		return nil, errHash
	}
	if h.sum, err = base64.RawStdEncoding.Strict().DecodeString(parts[5]); err != nil {
		return nil, errHash
	}
	return h, h.check()
}

func (h *argonHash) check() error {
	switch {
	case h.passes == 0 || h.lanes == 0 || h.memory < minArgonMemory*uint32(h.lanes):
		return errHash
	case len(h.salt) < minArgonSize || len(h.salt) > maxArgonSize || len(h.sum) < minArgonSize || len(h.sum) > maxArgonSize:
		return errHash
	case h.memory > maxArgonMemory || h.passes > maxArgonPasses || h.lanes > maxArgonLanes:
		return fmt.Errorf("%w: more than m=%d,t=%d,p=%d", errCost, maxArgonMemory, maxArgonPasses, maxArgonLanes)
	}
	return nil
}

func (h *argonHash) matches(password []byte) bool {
	sum := argon2.IDKey(password, h.salt, h.passes, h.memory, h.lanes, uint32(len(h.sum))) //nolint:gosec // at most maxArgonSize
	return subtle.ConstantTimeCompare(sum, h.sum) == 1
}
