package auth

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
)

const (
	// MaxToken is the length of the longest token that is looked at, in bytes.
	MaxToken = 8 << 10

	// Leeway is how far the clocks of issuer and gateway may be apart.
	Leeway = 60 * time.Second

	farthest = 253402300799 // the last second of the year 9999
)

// Token is what a token says, once its signature has verified. It never changes.
type Token struct {
	algorithm Algorithm
	issuer    string
	audience  []string
	expires   int64 // seconds since 1970
	notBefore int64
	claims    map[string][]string
}

// Claim returns the values of a claim: one for a text, number or boolean (these
// as JSON has them), each of a list of such; none for what is absent or of
// another kind.
func (t *Token) Claim(name string) []string { return t.claims[name] }

// signed is a token taken apart, of which nothing is believed yet.
type signed struct {
	algorithm Algorithm
	keyID     string
	message   []byte // what is signed
	signature []byte
	claims    []byte // JSON
}

// parse takes a compact JWS apart (RFC 7515, section 7.1) and reads its header.
func parse(token []byte) (signed, error) {
	end := bytes.LastIndexByte(token, '.')
	if end < 0 || bytes.Count(token, []byte{'.'}) != 2 {
		return signed{}, ErrMalformed
	}
	s := signed{message: token[:end]}
	head, claims, _ := bytes.Cut(s.message, []byte{'.'})
	header, err := unbase64(head)
	if err != nil {
		return signed{}, err
	}
	if s.signature, err = unbase64(token[end+1:]); err != nil {
		return signed{}, err
	}
	if s.claims, err = unbase64(claims); err != nil {
		return signed{}, err
	}
	return s, s.readHeader(header)
}

func (s *signed) readHeader(header []byte) error {
	all, err := members(header)
	if err != nil {
		return err
	}
	if _, ok := all["crit"]; ok {
		return ErrMalformed // nothing critical is understood here (RFC 7515, section 4.1.11)
	}
	name, err := textOf(all["alg"])
	if err != nil {
		return err
	}
	if s.algorithm = algorithmOf(name); s.algorithm == 0 {
		return ErrAlgorithm
	}
	if s.keyID, err = textOf(all["kid"]); err != nil {
		return err
	}
	kind, err := textOf(all["typ"])
	if err != nil {
		return err
	}
	// A token made for something else, such as a logout, lets nobody in (RFC
	// 8725, section 3.11).
	switch strings.TrimPrefix(strings.ToLower(kind), "application/") {
	case "", "jwt", "at+jwt":
		return nil
	}
	return ErrType
}

// readClaims reads what a token says (RFC 7519, section 4.1). A token without an
// end is refused.
func readClaims(a Algorithm, data []byte) (*Token, error) {
	all, err := members(data)
	if err != nil {
		return nil, err
	}
	t := &Token{algorithm: a, claims: make(map[string][]string, len(all))}
	for name, value := range all {
		t.claims[name] = values(value)
	}
	if t.issuer, err = textOf(all["iss"]); err != nil {
		return nil, err
	}
	if t.audience, err = audience(all["aud"]); err != nil {
		return nil, err
	}
	if t.expires, err = seconds(all["exp"]); err != nil {
		return nil, err
	}
	if value, ok := all["nbf"]; ok {
		t.notBefore, err = seconds(value)
	}
	return t, err
}

// values reads a claim as texts.
func values(value json.RawMessage) []string {
	var list []json.RawMessage
	if json.Unmarshal(value, &list) != nil {
		list = []json.RawMessage{value}
	}
	var all []string
	for _, v := range list {
		switch v[0] {
		case '{', '[', 'n':
		case '"':
			if text, err := textOf(v); err == nil {
				all = append(all, text)
			}
		default:
			all = append(all, string(v))
		}
	}
	return all
}

func audience(value json.RawMessage) ([]string, error) {
	var list []string
	switch {
	case value == nil:
		return nil, nil
	case json.Unmarshal(value, &list) == nil && list != nil:
		return list, nil
	}
	one, err := textOf(value)
	return []string{one}, err
}

// seconds reads a NumericDate, which may have a fraction.
func seconds(value json.RawMessage) (int64, error) {
	var n *float64
	if json.Unmarshal(value, &n) != nil || n == nil || !(*n >= 0 && *n <= farthest) { // so that NaN is out
		return 0, ErrMalformed
	}
	return int64(math.Floor(*n)), nil
}

// Policy is what a route asks of tokens.
type Policy struct {
	Issuer     string     // empty = any that the keys are of
	Audience   string     // one of the token's; empty = any
	Algorithms Algorithms // the ones that are accepted
}

// admits returns nil if t may be used at now.
func (p *Policy) admits(now time.Time, t *Token) error {
	at := now.Unix()
	const leeway = int64(Leeway / time.Second)
	switch {
	case !p.Algorithms.Has(t.algorithm):
		return ErrAlgorithm
	case at >= t.expires+leeway:
		return ErrExpired
	case at < t.notBefore-leeway:
		return ErrNotYet
	case p.Issuer != "" && t.issuer != p.Issuer:
		return ErrIssuer
	case p.Audience != "" && !slices.Contains(t.audience, p.Audience):
		return ErrAudience
	}
	return nil
}
