package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

const (
	// MaxKeySet is how many bytes of a key set are read.
	MaxKeySet = 1 << 20

	maxKeys      = 100
	minRSA       = 2048 // bits (RFC 7518, section 3.3)
	maxRSA       = 8192 // beyond, a check costs milliseconds
	maxExponent  = 1<<31 - 1
	longCoord    = 66 // bytes of a coordinate on P-521
	ed25519Curve = "Ed25519"
)

// KeySet is an issuer's public keys. It never changes.
type KeySet struct {
	keys    []key
	content []byte
}

// key is one key and what it may be used for.
type key struct {
	id        string    // empty: not told
	algorithm Algorithm // 0 = any that fits
	public    crypto.PublicKey
}

// Len is the number of keys.
func (s *KeySet) Len() int { return len(s.keys) }

// Equal reports whether both were read from the same bytes.
func (s *KeySet) Equal(o *KeySet) bool { return bytes.Equal(s.content, o.content) }

// ParseKeySet reads a JSON Web Key Set (RFC 7517, section 5). Keys that cannot
// verify a token are skipped, as the RFC asks for: of other kinds, for
// encryption, too short, malformed. It is an error when none is left.
func ParseKeySet(data []byte) (*KeySet, error) {
	if len(data) > MaxKeySet {
		return nil, fmt.Errorf("key set: more than %d bytes", MaxKeySet)
	}
	set, err := members(data)
	var list []json.RawMessage
	if err != nil || json.Unmarshal(set["keys"], &list) != nil {
		return nil, errors.New("key set: not a JSON Web Key Set")
	}
	if len(list) > maxKeys {
		return nil, fmt.Errorf("key set: %d keys, more than %d", len(list), maxKeys)
	}
	s := &KeySet{content: bytes.Clone(data)}
	var passed []error
	for i, text := range list {
		k, err := parseKey(text)
		if err != nil {
			passed = append(passed, fmt.Errorf("key %d: %w", i+1, err))
			continue
		}
		s.keys = append(s.keys, k)
	}
	if len(s.keys) == 0 {
		return nil, fmt.Errorf("key set: no key that can verify a token: %w", errors.Join(passed...))
	}
	return s, nil
}

// jwk is a JSON Web Key with the members that matter here.
type jwk struct {
	kty, use, alg, kid, crv string
	n, e, x, y              []byte
}

func parseKey(data []byte) (key, error) {
	j, err := readKey(data)
	if err != nil {
		return key{}, err
	}
	k := key{id: j.kid, algorithm: algorithmOf(j.alg)}
	switch {
	case j.use != "" && j.use != "sig":
		return key{}, errors.New("not for signatures")
	case j.alg != "" && k.algorithm == 0:
		return key{}, errors.New("for an algorithm that is not supported")
	}
	if k.public, err = j.public(); err != nil {
		return key{}, err
	}
	if k.algorithm != 0 && !k.algorithm.fits(k.public) {
		return key{}, errors.New("for an algorithm of another kind of key")
	}
	return k, nil
}

func readKey(data []byte) (j jwk, err error) {
	all, err := members(data)
	if err != nil {
		return j, err
	}
	for name, to := range map[string]*string{"kty": &j.kty, "use": &j.use, "alg": &j.alg, "kid": &j.kid, "crv": &j.crv} {
		if *to, err = textOf(all[name]); err != nil {
			return j, err
		}
	}
	for name, to := range map[string]*[]byte{"n": &j.n, "e": &j.e, "x": &j.x, "y": &j.y} {
		text, err := textOf(all[name])
		if err != nil {
			return j, err
		}
		if *to, err = unbase64([]byte(text)); err != nil {
			return j, err
		}
	}
	if ops, ok := all["key_ops"]; ok {
		var list []string
		if json.Unmarshal(ops, &list) != nil || !slices.Contains(list, "verify") {
			return j, errors.New("not for verifying")
		}
	}
	return j, nil
}

func (j *jwk) public() (crypto.PublicKey, error) {
	switch j.kty {
	case "RSA":
		return j.rsa()
	case "EC":
		return j.ec()
	case "OKP":
		if j.crv == ed25519Curve && len(j.x) == ed25519.PublicKeySize {
			return ed25519.PublicKey(j.x), nil
		}
	}
	return nil, errors.New("not a kind of key that is supported")
}

func (j *jwk) rsa() (crypto.PublicKey, error) {
	n, e := new(big.Int).SetBytes(j.n), new(big.Int).SetBytes(j.e)
	switch bits := n.BitLen(); {
	case bits < minRSA || bits > maxRSA:
		return nil, fmt.Errorf("RSA with %d bits, not %d to %d", bits, minRSA, maxRSA)
	case n.Bit(0) == 0, !e.IsInt64(), e.Int64() < 3, e.Int64() > maxExponent, e.Bit(0) == 0:
		return nil, ErrMalformed
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

func (j *jwk) ec() (crypto.PublicKey, error) {
	var curve elliptic.Curve
	switch j.crv {
	case "P-256":
		curve = elliptic.P256()
	case "P-384":
		curve = elliptic.P384()
	case "P-521":
		curve = elliptic.P521()
	default:
		return nil, errors.New("not a curve that is supported")
	}
	size := (curve.Params().BitSize + 7) / 8
	if len(j.x) != size || len(j.y) != size {
		return nil, ErrMalformed
	}
	point := append(append(append(make([]byte, 0, 1+2*longCoord), 4), j.x...), j.y...) // uncompressed (SEC 1, section 2.3.3)
	return ecdsa.ParseUncompressedPublicKey(curve, point)
}
