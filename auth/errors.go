package auth

import "errors"

// Why a client is not admitted. The errors hold nothing of what it showed.
var (
	ErrMalformed  = errors.New("malformed credentials")
	ErrAlgorithm  = errors.New("algorithm not admitted")
	ErrType       = errors.New("token of another purpose")
	ErrUnknownKey = errors.New("token signed by an unknown key")
	ErrSignature  = errors.New("signature does not verify")
	ErrExpired    = errors.New("expired")
	ErrNotYet     = errors.New("not valid yet")
	ErrIssuer     = errors.New("token of another issuer")
	ErrAudience   = errors.New("token for another audience")

	// ErrNoKeys says that nobody can be authenticated: the keys, or the password
	// file, have not been loaded yet.
	ErrNoKeys = errors.New("no keys yet")

	errNobody = errors.New("nobody in it")
	errLine   = errors.New("want NAME:HASH")
	errHash   = errors.New("want a bcrypt hash, as htpasswd -B makes it, or an argon2id one in PHC form")
	errCost   = errors.New("cost of the hash")
	errTwice  = errors.New("name is there already")
)
