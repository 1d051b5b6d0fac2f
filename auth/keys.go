package auth

import (
	"crypto/sha256"
	"sync/atomic"
	"time"
)

const (
	seenTokens = 4096 // per issuer
	maxTries   = 8    // keys that a token without a key's name is tried with
)

// Keys verifies the tokens of one issuer by its newest key set. The zero Keys
// has none yet, and refuses everybody.
type Keys struct {
	now    atomic.Pointer[generation]
	missed atomic.Bool
}

// generation is a key set and what was verified by it: a key that is withdrawn
// takes its tokens along.
type generation struct {
	set  *KeySet
	seen *seen[Token]
}

// Set replaces the keys by set.
func (k *Keys) Set(set *KeySet) {
	if old := k.now.Load(); old != nil && old.set.Equal(set) {
		return
	}
	k.now.Store(&generation{set: set, seen: newSeen[Token](seenTokens)})
}

// Ready reports whether there are keys.
func (k *Keys) Ready() bool { return k.now.Load() != nil }

// TakeMissed reports whether a token has named an unknown key since the last call:
// the issuer may have a new one.
func (k *Keys) TakeMissed() bool { return k.missed.Load() && k.missed.Swap(false) }

// Verify returns what a token says if it is signed by one of the keys and p
// admits it at now. For a token seen before it does not allocate.
func (k *Keys) Verify(now time.Time, token []byte, p *Policy) (*Token, error) {
	g := k.now.Load()
	switch {
	case g == nil:
		return nil, ErrNoKeys
	case len(token) > MaxToken:
		return nil, ErrMalformed
	}
	sum := sha256.Sum256(token) // what is remembered is no secret
	t := g.seen.get(sum)
	if t == nil {
		var err error
		if t, err = k.open(g, token, p); err != nil {
			return nil, err
		}
		g.seen.put(sum, t)
	}
	if err := p.admits(now, t); err != nil {
		return nil, err
	}
	return t, nil
}

// open verifies a token that was not seen before. The route's algorithms are
// looked at before any key is.
func (k *Keys) open(g *generation, token []byte, p *Policy) (*Token, error) {
	s, err := parse(token)
	if err != nil {
		return nil, err
	}
	if !p.Algorithms.Has(s.algorithm) {
		return nil, ErrAlgorithm
	}
	tries := 0
	for i := range g.set.keys {
		key := &g.set.keys[i]
		if !key.mayHaveSigned(&s) {
			continue
		}
		if s.algorithm.verify(key.public, s.message, s.signature) {
			return readClaims(s.algorithm, s.claims)
		}
		if tries++; tries == maxTries {
			break
		}
	}
	if tries == 0 {
		k.missed.Store(true)
		return nil, ErrUnknownKey
	}
	return nil, ErrSignature
}

// mayHaveSigned reports whether name, algorithm and kind of the key are those of
// the token. What is not told contradicts nothing.
func (k *key) mayHaveSigned(s *signed) bool {
	return (k.id == "" || s.keyID == "" || k.id == s.keyID) &&
		(k.algorithm == 0 || k.algorithm == s.algorithm) && s.algorithm.fits(k.public)
}
