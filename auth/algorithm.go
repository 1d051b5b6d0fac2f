package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.Hash
	_ "crypto/sha512" // for crypto.Hash
	"fmt"
	"math/big"
)

// Algorithm is a way to sign tokens (RFC 7518, section 3.1; RFC 8037). There is
// none for shared secrets, and none for no signature at all.
type Algorithm uint8

// The algorithms.
const (
	RS256 Algorithm = iota + 1
	RS384
	RS512
	PS256
	PS384
	PS512
	ES256
	ES384
	ES512
	EdDSA
)

// algorithmOf returns the algorithm of that name, exactly as written, or 0.
func algorithmOf(name string) Algorithm {
	for a := RS256; a <= EdDSA; a++ {
		if a.String() == name {
			return a
		}
	}
	return 0
}

// String returns the name that tokens have it by.
func (a Algorithm) String() string {
	switch a {
	case RS256:
		return "RS256"
	case RS384:
		return "RS384"
	case RS512:
		return "RS512"
	case PS256:
		return "PS256"
	case PS384:
		return "PS384"
	case PS512:
		return "PS512"
	case ES256:
		return "ES256"
	case ES384:
		return "ES384"
	case ES512:
		return "ES512"
	case EdDSA:
		return "EdDSA"
	}
	return "unknown"
}

// Algorithms is a set of them. The zero Algorithms is empty.
type Algorithms uint16

// ParseAlgorithms makes a set of the algorithms named.
func ParseAlgorithms(names []string) (Algorithms, error) {
	var set Algorithms
	for _, name := range names {
		a := algorithmOf(name)
		if a == 0 {
			return 0, fmt.Errorf("algorithm %q: %w", name, ErrAlgorithm)
		}
		set |= 1 << a
	}
	return set, nil
}

// Has reports whether a is in the set.
func (s Algorithms) Has(a Algorithm) bool { return a != 0 && s&(1<<a) != 0 }

// hash is what the algorithm signs; 0 for EdDSA, which signs the message.
func (a Algorithm) hash() crypto.Hash {
	switch a {
	case RS256, PS256, ES256:
		return crypto.SHA256
	case RS384, PS384, ES384:
		return crypto.SHA384
	case RS512, PS512, ES512:
		return crypto.SHA512
	case EdDSA:
	}
	return 0
}

// curveBits is the size of the one curve that goes with the algorithm.
func (a Algorithm) curveBits() int {
	switch a {
	case ES256:
		return 256
	case ES384:
		return 384
	case ES512:
		return 521
	case RS256, RS384, RS512, PS256, PS384, PS512, EdDSA:
	}
	return 0
}

// fits reports whether the algorithm is one for the key.
func (a Algorithm) fits(key crypto.PublicKey) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return RS256 <= a && a <= PS512
	case *ecdsa.PublicKey:
		return a.curveBits() == k.Curve.Params().BitSize
	case ed25519.PublicKey:
		return a == EdDSA
	}
	return false
}

// verify reports whether signature is that of message under key, which fits.
func (a Algorithm) verify(key crypto.PublicKey, message, signature []byte) bool {
	if k, ok := key.(ed25519.PublicKey); ok {
		return ed25519.Verify(k, message, signature)
	}
	hash := a.hash()
	h := hash.New()
	h.Write(message)
	sum := h.Sum(nil)
	switch k := key.(type) {
	case *rsa.PublicKey:
		if PS256 <= a && a <= PS512 {
			// The salt is as long as the hash (RFC 7518, section 3.5).
			return rsa.VerifyPSS(k, hash, sum, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(k, hash, sum, signature) == nil
	case *ecdsa.PublicKey:
		// Both numbers at full length, none more (RFC 7518, section 3.4).
		size := (a.curveBits() + 7) / 8
		if len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(k, sum, r, s)
	}
	return false
}
